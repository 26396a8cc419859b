import copy
from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.losses import DRAGAN, R1, R2, GradientPenalty, SpectralNorm, Wasserstein, WeightClipping
from pl_genmodels.losses.penalties import gradient_norm, input_gradient
from pl_genmodels.networks import (
    DCGANDiscriminator,
    MLPDiscriminator,
    PackedDiscriminator,
    R3GANDiscriminator,
    ResNetDiscriminator,
)

SHAPE = (1, 16, 16)
PENALTIES = [GradientPenalty(3.0), R1(2.0), R2(2.0), DRAGAN(3.0)]
CRITICS = {
    "mlp": lambda: MLPDiscriminator(SHAPE, hidden_dim=8),
    "dcgan": lambda: DCGANDiscriminator(SHAPE, channels=2, batch_norm=False),
    "resnet": lambda: ResNetDiscriminator(SHAPE, channels=4),
    "resnet-sum": lambda: ResNetDiscriminator(SHAPE, channels=4, pooling="sum"),
    "r3gan": lambda: R3GANDiscriminator(SHAPE, channels=4, blocks_per_stage=1, cardinality=2),
}


def name(penalty):
    return type(penalty).__name__ + "-".join(str(value) for value in penalty.init_args.values())


def critic_of(kind):
    """A small critic in which no weight is exactly zero, as after a few steps."""
    torch.manual_seed(3)
    critic = CRITICS[kind]()
    with torch.no_grad():
        for weight in critic.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return critic


class LinearCritic(nn.Module):
    """D(x) = w . x."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, points):
        return points.flatten(1) @ self.weight


class QuadraticCritic(nn.Module):
    """D(x) = s ||x||^2 / 2, whose gradient is s x, and which keeps the points that it saw."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, points):
        self.seen = points.detach()
        return self.scale * points.flatten(1).square().sum(1) / 2


def pictures(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("penalty", [GradientPenalty(3.0), DRAGAN(3.0)], ids=name)
@pytest.mark.parametrize("weight", [[3.0, 0.0, -4.0], [0.1, 0.2, 0.2], [0.6, 0.0, 0.8]])
def test_one_centred_penalty_of_a_linear_critic(penalty, weight):
    critic = LinearCritic(weight)
    value = penalty(critic, pictures(4, 3), pictures(4, 3))
    w = critic.weight.detach()
    assert value.shape == (4,)
    torch.testing.assert_close(value, torch.full((4,), 3.0 * (w.norm().item() - 1) ** 2, dtype=torch.float64))
    value.mean().backward()
    torch.testing.assert_close(critic.weight.grad, 3.0 * 2 * (w.norm() - 1) * w / w.norm())


def test_one_sided_penalty_leaves_small_slopes_alone():
    penalty = GradientPenalty(3.0, one_sided=True)
    flat, steep = LinearCritic([0.3, 0.4]), LinearCritic([3.0, 4.0])
    assert penalty(flat, pictures(4, 2), pictures(4, 2)).tolist() == [0.0] * 4
    torch.testing.assert_close(
        penalty(steep, pictures(4, 2), pictures(4, 2)), torch.full((4,), 3 * 16.0, dtype=torch.float64)
    )


@pytest.mark.parametrize("penalty", [R1(0.7), R2(0.7)], ids=name)
def test_zero_centred_penalty_of_a_linear_critic(penalty):
    critic = LinearCritic([3.0, 0.0, -4.0])
    value = penalty(critic, pictures(4, 3), pictures(4, 3))
    torch.testing.assert_close(value, torch.full((4,), 0.7 / 2 * 25, dtype=torch.float64))
    value.mean().backward()
    torch.testing.assert_close(critic.weight.grad, 0.7 * critic.weight.detach())


def test_each_penalty_looks_where_it_should():
    critic, real, fake = QuadraticCritic(), pictures(4, 2, 3), pictures(4, 2, 3)
    squared = [points.flatten(1).square().sum(1) for points in (real, fake)]
    torch.testing.assert_close(R1(2.0)(critic, real, fake), squared[0])
    torch.testing.assert_close(R2(2.0)(critic, real, fake), squared[1])
    value = GradientPenalty(1.0)(critic, real, fake)
    torch.testing.assert_close(value, (critic.seen.flatten(1).norm(dim=1) - 1) ** 2)
    value = DRAGAN(1.0)(critic, real, fake)
    torch.testing.assert_close(value, (critic.seen.flatten(1).norm(dim=1) - 1) ** 2)


def test_gradient_penalty_mixes_with_one_number_per_sample():
    critic, batch = QuadraticCritic(), 200
    real, fake = torch.ones(batch, 3, 4, 4, dtype=torch.float64), torch.zeros(batch, 3, 4, 4, dtype=torch.float64)
    GradientPenalty()(critic, real, fake)
    mixed = critic.seen.flatten(1)
    assert mixed.amin() >= 0
    assert mixed.amax() <= 1
    assert torch.equal(mixed.amin(1), mixed.amax(1))
    assert len(mixed[:, 0].unique()) == batch
    assert mixed[:, 0].mean() == pytest.approx(0.5, abs=0.1)
    assert mixed[:, 0].std() == pytest.approx(12**-0.5, abs=0.05)  # that of U(0, 1)


def test_gradient_penalty_mixes_samples_that_are_judged_as_one_alike():
    critic = PackedDiscriminator((3,), partial(MLPDiscriminator, hidden_dim=8), num_packed=2).double()
    seen, batch = [], 8
    critic.judge.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    value = GradientPenalty()(critic, torch.ones(batch, 3).double(), torch.zeros(batch, 3).double())
    (mixed,) = seen
    assert mixed.shape == (batch // 2, 6)
    assert torch.equal(mixed, mixed[:, :1].expand_as(mixed))
    assert len(mixed[:, 0].unique()) == batch // 2
    assert value.shape == (batch // 2,)


def test_gradient_penalty_mixes_pairs():
    critic, real, fake = QuadraticCritic(), pictures(5, 3), pictures(5, 3)
    GradientPenalty()(critic, real, fake)
    share = (critic.seen - fake) / (real - fake)
    torch.testing.assert_close(share, share[:, :1].expand_as(share))


def test_dragan_perturbs_every_pixel_of_real_samples_by_a_share_of_their_spread():
    critic, real = QuadraticCritic(), pictures(50, 3, 4, 4)
    DRAGAN(scale=0.5)(critic, real, pictures(50, 3, 4, 4))
    noise = (critic.seen - real) / (0.5 * real.std())
    assert noise.amin() >= 0
    assert noise.amax() <= 1 + 1e-9
    assert noise.mean() == pytest.approx(0.5, abs=0.05)
    assert noise.flatten(1).std(1).amin() > 0.1


def test_gradient_norm_is_differentiable_at_zero():
    gradient = torch.zeros(2, 3, requires_grad=True)
    gradient_norm(gradient).sum().backward()
    assert gradient.grad.tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("penalty", PENALTIES, ids=name)
def test_penalties_do_not_train_the_generator(penalty):
    fake = torch.randn(3, *SHAPE, requires_grad=True)
    penalty(critic_of("mlp"), torch.randn(3, *SHAPE), fake).sum().backward()
    assert fake.grad is None


@pytest.mark.parametrize("spectral_norm", [False, True], ids=["plain", "spectral_norm"])
@pytest.mark.parametrize("kind", CRITICS)
@pytest.mark.parametrize("penalty", PENALTIES, ids=name)
def test_second_derivative_equals_finite_differences(penalty, kind, spectral_norm):
    critic = critic_of(kind).double()
    if spectral_norm:
        SpectralNorm().attach(critic)
    critic.eval()  # u and v stay
    real, fake = pictures(3, *SHAPE), pictures(3, *SHAPE)

    def total():
        torch.manual_seed(0)
        values = penalty(critic, real, fake)
        assert values.shape == (3,)
        return values.sum()

    weights = list(critic.parameters())
    gradients = torch.autograd.grad(total(), weights, allow_unused=True)
    directions = [torch.randn_like(weight) for weight in weights]
    slope = sum(
        (gradient * direction).sum()
        for gradient, direction in zip(gradients, directions, strict=True)
        if gradient is not None
    )
    step, values = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            torch._foreach_add_(weights, directions, alpha=sign * step)
        values.append(total().item())
        with torch.no_grad():
            torch._foreach_add_(weights, directions, alpha=-sign * step)
    assert slope.item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-3, abs=1e-6)
    assert abs(slope.item()) > 1e-4


@pytest.mark.parametrize("penalty", PENALTIES, ids=name)
@pytest.mark.parametrize("kind", CRITICS)
def test_autocast_does_not_reach_the_penalty(kind, penalty):
    real, fake, results = torch.randn(3, *SHAPE), torch.randn(3, *SHAPE).bfloat16(), []
    for enabled in (False, True):
        critic = critic_of(kind)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            assert critic(real).dtype == (torch.bfloat16 if enabled else torch.float32)
            torch.manual_seed(0)
            value = penalty(critic, real, fake)
        value.sum().backward()
        results.append([value.detach(), *(weight.grad for weight in critic.parameters() if weight.grad is not None)])
    for without, within in zip(*results, strict=True):
        assert within.dtype == torch.float32
        assert torch.equal(without, within)
    if not isinstance(penalty, (GradientPenalty, DRAGAN)):  # these draw other points in double precision
        exact = penalty(critic.double(), real.double(), fake.double())
        torch.testing.assert_close(results[1][0].double(), exact, rtol=1e-4, atol=0)


def test_input_gradient_leaves_no_gradient_behind():
    critic, points = LinearCritic([1.0, 2.0]), pictures(3, 2).requires_grad_()
    with torch.no_grad():
        gradient = input_gradient(critic, points)
    assert gradient.requires_grad
    assert critic.weight.grad is None
    assert points.grad is None


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: GradientPenalty(-1.0), "weight: got -1.0, allowed is 0 or more"),
        (lambda: R1(-1.0), "gamma: got -1.0"),
        (lambda: R2(-1.0), "gamma: got -1.0"),
        (lambda: DRAGAN(-1.0), "weight: got -1.0"),
        (lambda: WeightClipping(0.0), "bound: got 0.0, allowed is more than 0"),
        (lambda: SpectralNorm(0), "num_power_iterations: got 0"),
    ],
)
def test_error_sentences(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()


@pytest.mark.parametrize("method", ["attach", "project"])
def test_clipping_reaches_every_parameter_and_no_statistic(method):
    critic = DCGANDiscriminator(SHAPE, channels=2)  # with batch normalisation, whose gains start near 1
    before = copy.deepcopy(critic)
    getattr(WeightClipping(0.005), method)(critic)
    for weight, old in zip(critic.parameters(), before.parameters(), strict=True):
        assert torch.equal(weight, old.clamp(-0.005, 0.005))
    for statistic, old in zip(critic.buffers(), before.buffers(), strict=True):
        assert torch.equal(statistic, old)
    norms = [module for module in critic.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(norm.weight.eq(0.005).all() for norm in norms)


def test_clipped_linear_critic_measures_the_shift():
    critic, constraint, shift = LinearCritic([0.004]), WeightClipping(0.01), 3.0
    real = pictures(64, 1)
    optimizer = torch.optim.RMSprop(critic.parameters(), lr=1e-3)
    for _ in range(50):
        optimizer.zero_grad()
        loss = Wasserstein().discriminator(critic(real), critic(real + shift)).mean()
        loss.backward()
        optimizer.step()
        constraint.project(critic)
    assert -loss.item() == pytest.approx(0.01 * shift, rel=1e-6)


@pytest.mark.parametrize("kind", CRITICS)
def test_spectral_norm_brings_every_matrix_to_norm_one(kind):
    critic = critic_of(kind)
    SpectralNorm().attach(critic)
    images = torch.randn(2, *SHAPE)
    for _ in range(200):  # one iteration each; close singular values take long to tell apart
        critic(images)
    layers = [layer for layer in critic.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    assert len(layers) >= 3
    for layer in layers:
        largest = torch.linalg.svdvals(layer.weight.flatten(1)).max().item()
        assert largest == pytest.approx(1, abs=1e-3)


def test_spectral_norm_bounds_the_slope_by_the_gain():
    torch.manual_seed(0)
    critic = MLPDiscriminator((2,), hidden_dim=32, gain=7.0)
    SpectralNorm(num_power_iterations=5).attach(critic)
    for _ in range(50):
        critic(torch.randn(2, 2))
    left, right = 10 * torch.randn(500, 2), 10 * torch.randn(500, 2)
    slopes = (critic(left) - critic(right)).abs() / (left - right).norm(dim=1)
    assert slopes.max() <= 7 * 1.001
    assert slopes.max() > 0.1


def test_spectral_norm_differentiates_sigma_but_not_its_vectors():
    layer = nn.Sequential(nn.Linear(4, 3, bias=False).double())
    SpectralNorm().attach(layer)
    layer.eval()
    parametrization = layer[0].parametrizations.weight
    u, v = parametrization[0]._u, parametrization[0]._v
    matrix, probe = parametrization.original, pictures(3, 4)
    (gradient,) = torch.autograd.grad((probe * layer[0].weight).sum(), matrix)
    sigma = u @ matrix @ v
    expected = probe / sigma - (probe * matrix).sum() / sigma**2 * torch.outer(u, v)
    torch.testing.assert_close(gradient, expected)


def test_spectral_norm_keeps_its_vectors_in_the_checkpoint_and_still_at_evaluation():
    critic = critic_of("resnet")
    SpectralNorm().attach(critic)
    assert sum(key.endswith("._u") for key in critic.state_dict()) == sum(
        isinstance(layer, (nn.Linear, nn.Conv2d)) for layer in critic.modules()
    )
    images = torch.randn(2, *SHAPE)

    def vectors():
        return [buffer.clone() for buffer in critic.buffers()]

    before = vectors()
    critic(images)
    assert not all(map(torch.equal, before, vectors()))
    before = vectors()
    critic.eval()(images)
    assert all(map(torch.equal, before, vectors()))
