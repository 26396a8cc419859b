"""Pictures too large to be translated at once, in overlapping tiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor


def check_tiles(tile: int, overlap: int) -> None:
    """Whether tiles can cover anything.

    Raises:
        ValueError: For a negative overlap, or one of half a tile or more; 0 stands for no tiles.
    """
    if tile < 0:
        raise ValueError(f"tile: got {tile}, allowed is 1 or more, or 0 for no tiles")
    if tile and not 0 <= 2 * overlap < tile:
        raise ValueError(f"overlap: got {overlap} for tiles of {tile}, allowed is 0 to {(tile - 1) // 2}")


def starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side, evenly spread.

    Args:
        side: Pixels to cover.
        tile: Pixels of a tile.
        overlap: Pixels that neighbours share, at least.
    """
    if side <= tile:
        return [0]
    number = math.ceil((side - overlap) / (tile - overlap))
    return [round(index * (side - tile) / (number - 1)) for index in range(number)]


def windows(side: int, tile: int, overlap: int) -> tuple[list[int], Tensor]:
    """Places of tiles along a side and weights of their pixels, of which those of one pixel sum to 1.

    Of the `overlap` pixels at a tile's inner end the outermost quarter has no weight, since a network knows least about
    the border of what it sees; then the weight rises along a raised cosine, over half of them.

    Args:
        side: Pixels to cover.
        tile: Pixels of a tile.
        overlap: See `starts`.

    Returns:
        Where tiles begin, and weights (number of tiles, pixels of a tile).
    """
    begins = starts(side, tile, overlap)
    length = min(tile, side)
    ramp = torch.ones(length)
    places = (torch.arange(overlap) + 0.5) / max(overlap, 1)
    ramp[:overlap] = 0.5 - 0.5 * torch.cos(math.pi * (2 * places - 0.5).clamp(0, 1))
    weights = torch.ones(len(begins), length)
    weights[1:] *= ramp
    weights[:-1] *= ramp.flip(0)
    total = torch.zeros(side)
    for begin, weight in zip(begins, weights, strict=True):
        total[begin : begin + length] += weight
    return begins, torch.stack([w / total[b : b + length] for b, w in zip(begins, weights, strict=True)])


def by_tiles(
    translate: Callable[[Tensor], Tensor], image: Tensor, tile: int, overlap: int = 64, batch_size: int = 1
) -> Tensor:
    """Translate one picture tile by tile and blend where tiles overlap.

    Args:
        translate: Maps (B, C, h, w) to (B, C', h, w), of any height and width.
        image: (C, H, W).
        tile: Height and width of a tile; 0 translates the whole at once.
        overlap: Pixels that neighbouring tiles share, at least.
        batch_size: Tiles translated at a time.

    Returns:
        (C', H, W).

    Raises:
        ValueError: If tiles of this size cannot overlap so.
    """
    check_tiles(tile, overlap)
    height, width = image.shape[-2:]
    if not tile or (height <= tile and width <= tile):
        return translate(image[None])[0]
    (rows, row_weights), (columns, column_weights) = (windows(side, tile, overlap) for side in (height, width))
    places = list(product(range(len(rows)), range(len(columns))))
    whole: Tensor | None = None
    for first in range(0, len(places), batch_size):
        chosen = places[first : first + batch_size]
        tiles = torch.stack([image[:, rows[i] : rows[i] + tile, columns[j] : columns[j] + tile] for i, j in chosen])
        for (i, j), done in zip(chosen, translate(tiles), strict=True):
            if whole is None:
                whole = done.new_zeros(len(done), height, width)
            weight = (row_weights[i][:, None] * column_weights[j]).to(done)
            part = whole[:, rows[i] : rows[i] + tile, columns[j] : columns[j] + tile]
            part += done * weight
    assert whole is not None
    return whole
