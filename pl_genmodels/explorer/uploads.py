"""Pictures that a visitor brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps
from torch import Tensor

from pl_genmodels.data.pictures import fit, opened, to_float, to_mode, to_tensor


def read_upload(path: Path, shape: Sequence[int]) -> tuple[Tensor, str]:
    """A picture file in a model's size, the middle of it where its sides have another ratio, and what was done to it.

    Args:
        path: Of the file; only its name is told.
        shape: (C, H, W).

    Returns:
        In [-1, 1], (1, C, H, W), and a sentence.

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
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), path.name)) from error
    note = f"{path.name} has {given[1]}x{given[0]} pixels (height x width)"
    note += "." if given == (width, height) else f", resized to {height}x{width}."
    return to_float(pixels[None]), note
