"""A layer that turns gradients around."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _Reverse(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a negative number; that product has a derivative again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(features: Tensor, scale: float) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.scale = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * gradient, None


class GradientReversal(nn.Module):
    """The identity, behind which the gradient is multiplied by -scale.

    What comes after it minimises a loss that what comes before it maximises, in one backward pass. Ganin, Lempitsky
    2015, section 3.1.

    Args:
        scale: The paper's lambda.

    Raises:
        ValueError: If it is negative, which would turn nothing around.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        if scale < 0:
            raise ValueError(f"scale: got {scale}, allowed is 0 or more")
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """Of any shape, kept."""
        return _Reverse.apply(features, self.scale)

    def extra_repr(self) -> str:  # noqa: D102
        return f"scale={self.scale}"
