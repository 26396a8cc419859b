"""Pictures of which some quadrants are seen and the others are not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

QUADRANTS = ("top_left", "top_right", "bottom_left", "bottom_right")


def check_quadrants(quadrants: Sequence[str]) -> tuple[str, ...]:
    """Names of seen quadrants.

    Raises:
        ValueError: If one is unknown, or all or none are named.
    """
    if not set(quadrants) <= set(QUADRANTS) or not 0 < len(set(quadrants)) < len(QUADRANTS):
        raise ValueError(f"quadrants: got {list(quadrants)}, allowed are one to three of {list(QUADRANTS)}")
    return tuple(quadrants)


class SeenQuadrants(nn.Module):
    """Takes pictures apart and puts them together again.

    Args:
        height: Of a picture; with an odd one the bottom is larger.
        width: Of a picture; with an odd one the right side is larger.
        quadrants: The seen ones, of `top_left`, `top_right`, `bottom_left`, `bottom_right`.

    Raises:
        ValueError: See `check_quadrants`.
    """

    mask: Tensor  # (H, W) bool, true where a picture is seen
    index: Tensor  # of the unseen pixels, row by row
    seen_index: Tensor

    def __init__(self, height: int, width: int, quadrants: Sequence[str]) -> None:
        super().__init__()
        mask = torch.zeros(height, width, dtype=torch.bool)
        rows = {"top": slice(height // 2), "bottom": slice(height // 2, None)}
        columns = {"left": slice(width // 2), "right": slice(width // 2, None)}
        for quadrant in check_quadrants(quadrants):
            row, column = quadrant.split("_")
            mask[rows[row], columns[column]] = True
        self.num_seen = int(mask.sum())
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("index", (~mask).flatten().nonzero()[:, 0], persistent=False)
        self.register_buffer("seen_index", mask.flatten().nonzero()[:, 0], persistent=False)

    def blank(self, image: Tensor) -> Tensor:
        """Grey (0) where nothing is seen, (B, C, H, W) to the same."""
        return image * self.mask

    def seen(self, image: Tensor) -> Tensor:
        """Seen values, (B, C, H, W) to (B, C * num_seen)."""
        return image.flatten(2).index_select(2, self.seen_index).flatten(1)

    def unseen(self, values: Tensor) -> Tensor:
        """Values of unseen pixels, (B, C, H, W) to (B, C, pixels)."""
        return values.flatten(2).index_select(2, self.index)

    def complete(self, image: Tensor, predicted: Tensor) -> Tensor:
        """The picture where it is seen and the prediction elsewhere, (B, C, H, W) each."""
        return torch.where(self.mask, image, predicted)
