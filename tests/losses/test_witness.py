"""The penalty on a witness's gradient, where it can be written down."""

from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.losses import Kernel, RationalQuadratic, witness_penalty

DOUBLE = partial(torch.tensor, dtype=torch.float64)


class Product(Kernel):
    """The inner product, whose discrepancy is the squared distance of means."""

    constant = 0.0

    def varying(self, left, right):
        return left @ right.T


def line(slope):
    """f(t) = slope t."""
    layer = nn.Linear(1, 1, bias=False).double()
    layer.weight.data.fill_(slope)
    return layer


def test_of_means_on_a_line():
    """W(t) = a^2 t (E x - E y), whose slope has the derivative 2 a (E x - E y): half of it by the batches' codes."""
    real, fake = DOUBLE([[1.0], [2.0]]), DOUBLE([[0.0], [-1.0]])  # means 1.5 and -0.5
    encoder = line(1.5)
    values = witness_penalty(encoder, Product(), real, fake)
    torch.testing.assert_close(values, DOUBLE([(2.25 * 2 - 1) ** 2] * 2))
    (gradient,) = torch.autograd.grad(values.mean(), encoder.weight)
    assert gradient.item() == pytest.approx(2 * (2.25 * 2 - 1) * 2 * 1.5 * 2)


def test_of_a_kernel_on_a_line():
    """Against the derivative of the witness by hand, at points that the seed decides."""
    kernel, real, fake = RationalQuadratic((1.0,)), DOUBLE([[1.0], [2.0]]), DOUBLE([[0.0], [-1.0]])
    encoder = line(1.0)
    torch.manual_seed(3)
    values = witness_penalty(encoder, kernel, real, fake)
    torch.manual_seed(3)
    points = fake + torch.rand(2, 1, dtype=torch.float64) * (real - fake)

    def slope(others):  # d/dt 1 / (1 + (t - s)^2 / 2)
        apart = points - others.T
        return (-apart / (1 + apart.square() / 2).square()).mean(1)

    torch.testing.assert_close(values, ((slope(real) - slope(fake)).abs() - 1) ** 2)


def test_gradient_against_finite_differences():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    real, fake = torch.randn(6, 2).double(), torch.randn(6, 2).double() + 1

    def value(*weights):
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter, weight in zip(encoder.parameters(), weights, strict=True):
                parameter.copy_(weight)
        return witness_penalty(encoder, RationalQuadratic(), real, fake).mean()

    weights = [parameter.detach().clone() for parameter in encoder.parameters()]
    gradients = torch.autograd.grad(value(*weights), list(encoder.parameters()))
    for index, gradient in enumerate(gradients[:3]):
        step = torch.zeros_like(gradient)
        step.view(-1)[0] = 1e-5
        ends = [value(*[w + sign * step if i == index else w for i, w in enumerate(weights)]) for sign in (1, -1)]
        assert gradient.view(-1)[0].item() == pytest.approx((ends[0] - ends[1]).item() / 2e-5, rel=1e-5, abs=1e-8)


def test_points_lie_between_the_samples_each_at_a_share_of_its_own():
    seen = []

    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

        def forward(self, points):
            seen.append(points.detach())
            return self.scale * points

    real, fake = torch.ones(200, 3, dtype=torch.float64), torch.zeros(200, 3, dtype=torch.float64)
    witness_penalty(Keeping(), Product(), real, fake)
    points = seen[-1][:200]
    assert torch.equal(points, points[:, :1].expand(-1, 3))
    assert 0 <= points.min() < 0.05
    assert 0.95 < points.max() <= 1
    assert len(points[:, 0].unique()) == 200
