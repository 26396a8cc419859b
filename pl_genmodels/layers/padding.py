"""Pictures of any size for networks that halve them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def reflect(image: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """Extend a picture by its mirror image, as often as it takes.

    Args:
        image: (B, C, H, W).
        before: Rows and columns to add above and to the left.
        after: Rows and columns to add below and to the right.

    Returns:
        (B, C, H + rows, W + columns).
    """
    sides = image.shape[-2:]
    if all(max(more) < side for *more, side in zip(before, after, sides, strict=True)):
        return F.pad(image, (before[1], after[1], before[0], after[0]), mode="reflect")
    for axis, (first, last, side) in enumerate(zip(before, after, sides, strict=True)):
        period = max(2 * (side - 1), 1)
        places = torch.arange(-first, side + last, device=image.device).remainder(period)
        image = image.index_select(axis - 2, torch.minimum(places, (period - places).abs()).clamp(max=side - 1))
    return image


def on_multiples(network: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    """Apply a network to a picture whose sides it cannot take: reflect up to the next multiple, crop back.

    Args:
        network: Keeps the sides of a picture.
        image: (B, C, H, W).
        multiple: What both sides have to be multiples of.
    """
    height, width = image.shape[-2:]
    rows, columns = -height % multiple, -width % multiple
    if not rows and not columns:
        return network(image)
    top, left = rows // 2, columns // 2
    padded = reflect(image, (top, left), (rows - top, columns - left))
    return network(padded)[..., top : top + height, left : left + width]
