"""Masked linear layers: what a unit sees is what its degree says."""

from __future__ import annotations

import pytest
import torch

from pl_genmodels.layers import MaskedLinear, spread_degrees


def network(order, hidden, num_outputs=2):
    """Two hidden layers of tanh between inputs of the given degrees and outputs, several an input."""
    torch.manual_seed(0)
    first, second = MaskedLinear(order, hidden), MaskedLinear(hidden, hidden)
    last = MaskedLinear(hidden, order.repeat(num_outputs), strict=True)
    return torch.nn.Sequential(first, torch.nn.Tanh(), second, torch.nn.Tanh(), last).double()


@pytest.mark.parametrize("order", [[1, 2, 3, 4, 5], [3, 1, 5, 2, 4]])
def test_outputs_depend_on_all_inputs_before_and_on_no_other(order):
    order = torch.tensor(order)
    layers = network(order, spread_degrees(12, 1, len(order) - 1))
    jacobian = torch.autograd.functional.jacobian(layers, torch.randn(5, dtype=torch.float64))  # (10, 5)
    assert torch.equal(jacobian != 0, order.repeat(2)[:, None] > order)


def test_other_degrees_reuse_the_weights():
    forward, backward = torch.arange(1, 4), torch.arange(3, 0, -1)
    hidden = spread_degrees(8, 0, 2)
    layers = network(forward, hidden)
    weights = [parameter.clone() for parameter in layers.parameters()]
    layers[0].connect(backward, hidden)
    layers[-1].connect(hidden, backward.repeat(2))
    jacobian = torch.autograd.functional.jacobian(layers, torch.randn(3, dtype=torch.float64))
    assert torch.equal(jacobian != 0, backward.repeat(2)[:, None] > backward)
    assert all(torch.equal(*pair) for pair in zip(weights, layers.parameters(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "degrees"),
    [((6, 1, 3), [1, 1, 2, 2, 3, 3]), ((5, 0, 1), [0, 0, 0, 1, 1]), ((2, 1, 4), [1, 3]), ((3, 1, 0), [1, 1, 1])],
)
def test_degrees_are_spread_evenly(arguments, degrees):
    assert spread_degrees(*arguments).tolist() == degrees
