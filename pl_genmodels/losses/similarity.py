"""How far pictures are from each other: one value per sample."""

from __future__ import annotations

from torch import Tensor


def per_sample(values: Tensor) -> Tensor:
    """Mean of all entries of each sample (pixels, patches, features), (B, ...) to (B,)."""
    return values if values.ndim == 1 else values.flatten(1).mean(1)


def absolute_error(image: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference of each sample, (B, ...) and (B, ...) to (B,)."""
    return per_sample((image - other).abs())


def squared_error(image: Tensor, other: Tensor) -> Tensor:
    """Mean squared difference of each sample, (B, ...) and (B, ...) to (B,)."""
    return per_sample((image - other).square())
