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


def total_variation(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, across plus along, (B, C, H, W) to (B,)."""
    return per_sample(image.diff(dim=3).abs()) + per_sample(image.diff(dim=2).abs())


def asymmetry(image: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of pixels from their mirror images, left to right, where a mask says so.

    Args:
        image: (B, C, H, W).
        mask: Which pixels count, (B, 1, H, W).

    Returns:
        (B,), 0 where no pixel counts.
    """
    counted = mask.to(image.dtype)
    differences = (counted * (image - image.flip(3)).abs()).flatten(1).sum(1)
    return differences / (image.shape[1] * counted.flatten(1).sum(1)).clamp(min=1)


def squared_distance(image: Tensor, other: Tensor) -> Tensor:
    """Sum of squared differences of each sample, (B, ...) and (B, ...) to (B,)."""
    return (image - other).square().flatten(1).sum(1)
