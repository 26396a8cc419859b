"""From files and arrays to uint8 pictures of one size, and from those to what models read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

CROPS = ("center", "random", "stretch")


def to_float(images: Tensor) -> Tensor:
    """Pictures as models read them.

    Args:
        images: uint8, any shape.

    Returns:
        x / 127.5 - 1, float32 in [-1, 1].
    """
    return images.float().div_(127.5).sub_(1)


def unit_to_uint8(images: Tensor) -> Tensor:
    """Round to the nearest of 256 intensities.

    Args:
        images: float in [0, 1], any shape; what lies outside is clamped.

    Returns:
        uint8 of the same shape.
    """
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def resize(images: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Resize pictures held as a tensor, bicubic with antialiasing, as Pillow does (but for rounding).

    Args:
        images: uint8 (N, C, H, W).
        size: New height and width; one number for a square.

    Returns:
        uint8 (N, C, size, size).
    """
    size = (size, size) if isinstance(size, int) else size
    if images.shape[2:] == size:
        return images
    return F.interpolate(images, size=size, mode="bicubic", antialias=True)


def cut(images: Tensor, size: int, places: Tensor | None, flip: Tensor | None) -> Tensor:
    """Squares out of pictures, some of them mirrored, by one index operation.

    Args:
        images: (B, C, L, L).
        size: Side of the squares, at most L.
        places: Of the square along height and width, in [0, 1), (B, 2); None for pictures that have the size already.
        flip: Whether to mirror left to right, bool (B,), or None.

    Returns:
        (B, C, size, size).
    """
    steps = torch.arange(size, device=images.device)
    number = len(images)
    slack = images.shape[-1] - size + 1  # places a crop can have
    starts = torch.zeros(number, 2, 1, dtype=torch.long, device=images.device)
    if places is not None:
        starts = (places * slack).long().clamp(max=slack - 1)[..., None]
    rows, columns = (starts + steps).unbind(1)  # (B, size) each
    if flip is not None:
        columns = torch.where(flip[:, None], columns.flip(1), columns)
    batch = torch.arange(number, device=images.device)[:, None, None]
    # around the slice the indices come first: (B, size, size, C)
    return images[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def centred(value: Any, size: int) -> Any:
    """The central square of pictures (B, C, H, W); anything else as it is."""
    if not isinstance(value, Tensor) or value.ndim != 4 or value.shape[-1] == size:
        return value
    place = (value.shape[-1] - size) // 2
    return value[:, :, place : place + size, place : place + size]


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Grey pictures as grey or, repeated, as RGB.

    Args:
        images: (N, 1, H, W).
        channels: 1 or 3.

    Returns:
        (N, channels, H, W).
    """
    return images.expand(-1, channels, -1, -1).contiguous()


def luminance(images: Tensor) -> Tensor:
    """Grey of colour pictures, as Pillow makes it (ITU-R BT.601).

    Args:
        images: RGB, uint8 (N, 3, H, W).

    Returns:
        uint8 (N, 1, H, W).
    """
    weights = torch.tensor([0.299, 0.587, 0.114])
    return unit_to_uint8(torch.einsum("c,nchw->nhw", weights, images.float() / 255))[:, None]


def check_picture(size: int, channels: int) -> tuple[int, int, int]:
    """Shape of the pictures that a data module's arguments ask for.

    Args:
        size: Height and width.
        channels: 1 or 3.

    Returns:
        (channels, size, size).

    Raises:
        ValueError: If an argument is out of range.
    """
    if size < 1:
        raise ValueError(f"size: got {size}, allowed is 1 or more")
    if channels not in (1, 3):
        raise ValueError(f"channels: got {channels}, allowed are 1 (grey) and 3 (RGB)")
    return (channels, size, size)


def to_mode(picture: Image.Image, channels: int) -> Image.Image:
    """Any PIL picture as 8-bit grey or RGB.

    16-bit greys are scaled to 8 bits, transparent parts lie on white.

    Args:
        picture: In any mode but floating point.
        channels: 1 or 3.

    Returns:
        The picture in mode L or RGB.

    Raises:
        ValueError: If the pixels are floating-point numbers, whose range nothing tells.
    """
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers, allowed are integers")
    if picture.mode.startswith("I"):  # I;16 and its byte orders, or I: 16 bits in 32
        values = np.asarray(picture).astype(np.float64)
        picture = Image.fromarray(np.clip(np.rint(values / 257), 0, 255).astype(np.uint8))
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    if picture.mode == "P":  # a palette's greys come from its colours
        picture = picture.convert("RGB")
    return picture.convert("L" if channels == 1 else "RGB")


def fit(picture: Image.Image, size: int, crop: str = "center", where: float = 0.5) -> Image.Image:
    """Make a picture square: the shorter side is resized to `size` (bicubic, antialiased), the longer one cropped.

    Args:
        picture: In mode L or RGB.
        size: Height and width of the result.
        crop: "center"; "random", at the place that `where` says; "stretch", both sides are resized and none cropped.
        where: Place of the crop along the longer side, in [0, 1].

    Returns:
        The square picture.
    """
    width, height = picture.size
    if crop == "stretch":
        return picture.resize((size, size), Image.Resampling.BICUBIC)
    scale = size / min(width, height)
    width, height = max(size, round(width * scale)), max(size, round(height * scale))
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    place = where if crop == "random" else 0.5
    left, top = round((width - size) * place), round((height - size) * place)
    return picture.crop((left, top, left + size, top + size))


def to_tensor(picture: Image.Image) -> Tensor:
    """A picture's pixels.

    Args:
        picture: In mode L or RGB.

    Returns:
        uint8 (C, H, W).
    """
    pixels = torch.from_numpy(np.array(picture))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """One picture file, upright by its EXIF orientation; whatever fails while it is open is told with its path.

    Args:
        path: Of a picture in a format that Pillow reads; of several frames the first one.

    Yields:
        The picture.

    Raises:
        ValueError: If the file is no picture, is broken, or holds floating-point pixels.
    """
    try:
        with Image.open(path) as picture:
            yield ImageOps.exif_transpose(picture)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{os.fspath(path)}: cannot be read as a picture ({error})") from error


def read_picture(path: str | os.PathLike[str], channels: int, **fitting: Any) -> Tensor:
    """Decode one file.

    Args:
        path: See `opened`.
        channels: 1 or 3.
        **fitting: Arguments of `fit`.

    Returns:
        uint8 (channels, size, size).

    Raises:
        ValueError: If the file is no picture, is broken, or holds floating-point pixels.
    """
    with opened(path) as picture:
        return to_tensor(fit(to_mode(picture, channels), **fitting))
