"""Pictures that a visitor brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps
from torch import Tensor

from pl_genmodels.data.pictures import fit, opened, to_float, to_mode, to_tensor

MOST_PIXELS = 16_000_000  # of a picture to which edits are carried over; in colour that takes 2 GB for a moment


def read_upload(path: Path, shape: Sequence[int]) -> tuple[Tensor, Tensor | None, str]:
    """A picture file in a model's size, the middle of it where its sides have another ratio, and what was done to it.

    Args:
        path: Of the file; only its name is told.
        shape: (C, H, W).

    Returns:
        In [-1, 1], (1, C, H, W); as it is, uint8 (C, H', W'), None if it has too many pixels; and a sentence.

    Raises:
        ValueError: If the file is no picture.
    """
    channels, height, width = shape
    try:
        with opened(path) as picture:
            given = picture.size
            picture = to_mode(picture, channels)
            square = height == width
            fitted = (
                fit(picture, height) if square else ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
            )
            pixels = to_tensor(fitted)
            whole = to_tensor(picture) if given[0] * given[1] <= MOST_PIXELS else None
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), path.name)) from error
    note = f"{path.name} has {given[1]}x{given[0]} pixels (height x width)"
    note += "." if given == (width, height) else f", resized to {height}x{width}."
    if whole is None:
        note += f" Edits of it stay in that size: it has more than {MOST_PIXELS // 10**6} million pixels."
    return to_float(pixels[None]), whole, note
