"""Linear layers without some of their connections, so that a network reads its inputs in an order."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def spread_degrees(num_units: int, low: int, high: int) -> Tensor:
    """Degrees from low to high, each as often as any other but for one.

    Args:
        num_units: How many.
        low: Least degree.
        high: Greatest degree; where it lies below `low` all units have `low`.

    Returns:
        int64 (num_units,), ascending.
    """
    return low + torch.arange(num_units) * max(high - low + 1, 1) // num_units


class MaskedLinear(nn.Linear):
    r"""A linear layer whose units read only units of lower or equal degree (Germain et al. 2015, equations 12 and 13).

    A degree says up to which input of the network, counted from 1 in the order, a unit may know. A hidden unit reads
    units of at most its own degree, $m(k) \ge m(d)$; an output, which must not see its own input, those of a degree
    below its own (`strict`). Units of degree 0 know no input: of their kind are biases, and what a context adds.

    Args:
        in_degrees: int64 (in_features,).
        out_degrees: int64 (out_features,); where an input has several outputs, their degrees repeat.
        strict: Whether equal degrees are left out.
    """

    mask: Tensor  # (out_features, in_features), of the weights' type

    def __init__(self, in_degrees: Tensor, out_degrees: Tensor, strict: bool = False) -> None:
        super().__init__(len(in_degrees), len(out_degrees))
        self.strict = strict
        self.register_buffer("mask", torch.empty_like(self.weight, requires_grad=False), persistent=False)
        self.connect(in_degrees, out_degrees)

    def connect(self, in_degrees: Tensor, out_degrees: Tensor) -> None:
        """Give the units other degrees, for another order of the inputs or another network with the same weights."""
        later = out_degrees[:, None] > in_degrees if self.strict else out_degrees[:, None] >= in_degrees
        self.mask.copy_(later)

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return F.linear(input, self.weight * self.mask, self.bias)
