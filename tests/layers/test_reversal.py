"""The reversal of gradients: an identity with the opposite derivative."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pl_genmodels.layers import GradientReversal


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_identity_with_the_gradient_times_minus_scale(scale, dtype):
    features = torch.randn(3, 4, 2, dtype=dtype, requires_grad=True)
    passed = GradientReversal(scale)(features)
    assert torch.equal(passed, features)
    given = torch.randn_like(features)
    (found,) = torch.autograd.grad(passed, features, given)
    assert found.dtype == dtype
    assert torch.equal(found, -scale * given)


def test_what_follows_minimises_and_what_precedes_maximises():
    """Behind the layer gradients are those of plain layers, in front of it they are the opposite."""
    torch.manual_seed(0)
    encoder, classifier = nn.Linear(3, 4), nn.Linear(4, 1)
    rows = torch.randn(5, 3)
    classifier(encoder(rows)).square().sum().backward()
    plain = [p.grad.clone() for p in (*encoder.parameters(), *classifier.parameters())]
    encoder.zero_grad()
    classifier.zero_grad()
    nn.Sequential(encoder, GradientReversal(0.5), classifier)(rows).square().sum().backward()
    for parameter, gradient in zip(encoder.parameters(), plain[:2], strict=True):
        assert torch.equal(parameter.grad, -0.5 * gradient)
    for parameter, gradient in zip(classifier.parameters(), plain[2:], strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_gradients_of_gradients_pass_it():
    """x^3 behind it: the gradient is -s 3 x^2, and differentiated through the layer again it is s^2 6 x."""
    scale, points = 0.7, torch.randn(6, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(GradientReversal(scale)(points).pow(3).sum(), points, create_graph=True)
    torch.testing.assert_close(first, -scale * 3 * points.square())
    (second,) = torch.autograd.grad(first.sum(), points)
    torch.testing.assert_close(second, scale**2 * 6 * points)


def test_autocast_leaves_it_as_it_is():
    torch.manual_seed(0)
    layer, rows = nn.Linear(3, 4), torch.randn(5, 3)
    gradients = []
    for turn in (nn.Identity(), GradientReversal()):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            features = turn(layer(rows))
        assert features.dtype == torch.bfloat16
        features.float().square().sum().backward()
        gradients.append(layer.weight.grad.clone())
    assert torch.equal(gradients[1], -gradients[0])


def test_a_negative_scale_is_refused():
    with pytest.raises(ValueError, match=r"scale: got -1\.0, allowed is 0 or more$"):
        GradientReversal(-1.0)
