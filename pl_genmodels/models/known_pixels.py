"""Pictures of which a part is known: what is asked of them, and where drawing starts."""

from __future__ import annotations

import torch
from torch import Tensor

from pl_genmodels.losses import PixelLikelihood

HALVES = ("top", "bottom", "left", "right")


def start_pictures(
    known: Tensor | None, mask: Tensor | None, empty: Tensor, likelihood: PixelLikelihood
) -> tuple[Tensor, Tensor | None]:
    """Pictures before anything is drawn, and where they stay as they are.

    Args:
        known: Pictures in [-1, 1], (N, C, H, W) or one (C, H, W) for all; None, with no mask, where nothing is known.
        mask: Where they are known, booleans (N, 1, H, W) or one (H, W) for all.
        empty: Pictures of which nothing is known, (N, C, H, W).
        likelihood: To whose values the known pixels are rounded.

    Returns:
        (N, C, H, W), and booleans (N, 1, H, W) or None.

    Raises:
        ValueError: For one without the other, or a wrong shape, type or value.
    """
    if (known is None) != (mask is None):
        raise ValueError("known: allowed is together with mask, which says where the pictures are known")
    if known is None or mask is None:
        return empty, None
    shape = tuple(empty.shape)
    number, _, height, width = shape
    if tuple(known.shape) not in (shape, shape[1:]):
        raise ValueError(f"known: got shape {tuple(known.shape)}, allowed are {shape} and {shape[1:]}")
    allowed = ((number, 1, height, width), (height, width))
    if tuple(mask.shape) not in allowed:
        raise ValueError(f"mask: got shape {tuple(mask.shape)}, allowed are {allowed[0]} and {allowed[1]}")
    if mask.dtype != torch.bool:
        raise ValueError(f"mask: got {mask.dtype}, allowed are booleans, true where a pixel is known")
    require_range("known", known)
    fixed = mask.to(empty.device).expand(number, 1, height, width)
    return torch.where(fixed, likelihood.quantize(known.to(empty)).expand(shape), empty), fixed


def require_range(name: str, image: Tensor) -> None:
    """Refuse pictures that no likelihood of pixels takes.

    Raises:
        ValueError: For values outside [-1, 1], or none at all.
    """
    low, high = (float(value) for value in image.aminmax())
    if not (low >= -1 and high <= 1):
        raise ValueError(f"{name}: got values from {low:.3g} to {high:.3g}, allowed are values in [-1, 1]")


def known_half(side: str, height: int, width: int) -> Tensor:
    """A mask that is true in one half of a picture, booleans (H, W).

    Args:
        side: Which half is known: top, bottom, left or right.
        height: Of the picture.
        width: Of the picture.

    Raises:
        ValueError: For another side.
    """
    if side not in HALVES:
        raise ValueError(f"side: got {side!r}, allowed are {', '.join(HALVES)}")
    mask = torch.zeros(height, width, dtype=torch.bool)
    if side in ("top", "bottom"):
        mask[: height // 2] = True
        return mask if side == "top" else ~mask
    mask[:, : width // 2] = True
    return mask if side == "left" else ~mask


def square_holes(shares: Tensor, smallest: int, largest: int, height: int, width: int) -> Tensor:
    """Masks that are false in one square each, of a side and at a place that are drawn evenly.

    Args:
        shares: Uniform in [0, 1): of the side, from top to bottom, from left to right, (B, 3).
        smallest: Least side in pixels.
        largest: Greatest side in pixels, at most height and width.
        height: Of a picture.
        width: Of a picture.

    Returns:
        True where a picture is known, booleans (B, 1, H, W).
    """
    side, top, left = shares.unbind(1)
    side = smallest + (side * (largest - smallest + 1)).floor()
    top, left = (top * (height - side + 1)).floor(), (left * (width - side + 1)).floor()

    def within(start: Tensor, length: int) -> Tensor:
        steps = torch.arange(length, device=shares.device)
        return (steps >= start[:, None]) & (steps < (start + side)[:, None])

    return ~(within(top, height)[:, None, :, None] & within(left, width)[:, None, None, :])
