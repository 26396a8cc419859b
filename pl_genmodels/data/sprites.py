"""White shapes on black whose shape, scale, orientation and place are known: rendered, and the published set."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pl_genmodels.data.factors import FactorData
from pl_genmodels.data.pictures import check_picture

FACTORS = ("shape", "scale", "orientation", "x", "y")
SHAPES = ("square", "ellipse", "heart")

# Sizes at scale 1, as shares of the picture: at no angle does anything reach further than 0.25 from the centre
HALF_SIDE = 0.17
HALF_AXES = (0.24, 0.12)
HEART, HEART_LIFT = 0.19, 0.2935  # of the unit of its equation, and its centre of mass in that unit

CHUNK = 4096  # pictures of a file that are held unpacked at once, 16 MB


def render(shape: Tensor, scale: Tensor, angle: Tensor, centre: Tensor, size: int) -> Tensor:
    """Shapes, white where the centre of a pixel lies within.

    Args:
        shape: Position in `SHAPES`, int64 (B,).
        scale: 1 for the largest, (B,).
        angle: In radians, counter-clockwise, (B,).
        centre: Along x, to the right, and y, downwards, in shares of the picture, (B, 2).
        size: Height and width in pixels.

    Returns:
        uint8, 0 or 255, (B, 1, size, size).
    """
    pixels = (torch.arange(size, device=centre.device) + 0.5) / size
    right = pixels - centre[:, :1]  # (B, W)
    up = (centre[:, 1:] - pixels)[:, :, None]  # (B, H, 1)
    cosine, sine = ((f(angle) / scale)[:, None] for f in (torch.cos, torch.sin))
    u = (cosine * right)[:, None] + sine[:, None] * up  # (B, H, W): along the shape's own axes
    v = (-sine * right)[:, None] + cosine[:, None] * up
    square = torch.maximum(u.abs(), v.abs()) <= HALF_SIDE
    ellipse = (u / HALF_AXES[0]).square() + (v / HALF_AXES[1]).square() <= 1
    x2, y = (u / HEART).square(), v / HEART + HEART_LIFT
    heart = (x2 + y.square() - 1).pow(3) <= x2 * y.pow(3)
    number = shape[:, None, None]
    inside = torch.where(number == 0, square, torch.where(number == 1, ellipse, heart))
    return (inside.to(torch.uint8) * 255)[:, None]


class Sprites(FactorData):
    """Squares, ellipses and hearts in all scales, orientations and places, rendered on the fly after dSprites.

    With the defaults there are 737,280 pictures, in the order of the published file (Matthey et al., 2017), whose
    factors and counts these are; the rendering is our own. Scales are evenly spaced from 0.5 to 1, orientations over a
    full turn without its end, places over the middle half of the picture. Squares and ellipses look the same after a
    quarter and half a turn. Sets of a few thousand pictures, for minutes of a CPU, are made by smaller counts, such as
    `size: 32, num_scales: 3, num_orientations: 1, num_x: 16, num_y: 16`.

    Args:
        size: Height and width.
        shapes: Some of `square`, `ellipse`, `heart`, each once.
        num_scales: Number of scales; a single one is 1.
        num_orientations: Number of angles; a single one is 0.
        num_x: Number of places from left to right.
        num_y: Number of places from top to bottom.
        **kwargs: Of `FactorData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    factor_names = FACTORS
    categorical = ("shape",)

    def __init__(
        self,
        size: int = 64,
        shapes: Sequence[str] = SHAPES,
        num_scales: int = 6,
        num_orientations: int = 40,
        num_x: int = 32,
        num_y: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_shape = check_picture(size, 1)
        if not shapes or len(set(shapes)) < len(shapes) or not set(shapes) <= set(SHAPES):
            raise ValueError(f"shapes: got {list(shapes)}, allowed are some of {', '.join(SHAPES)}, each once")
        counts = {"num_scales": num_scales, "num_orientations": num_orientations, "num_x": num_x, "num_y": num_y}
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name}: got {count}, allowed is 1 or more")
        self.shapes = tuple(shapes)
        self._sizes = (len(self.shapes), *counts.values())
        self.save_hyperparameters()
        self.hparams["shapes"] = list(shapes)  # a tuple would come back from YAML as a list

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Number of shapes, scales, orientations, and places along x and y."""
        return self._sizes

    def details(self) -> list[str]:
        """The counts: sets of one size can differ in them."""
        return [",".join(self.shapes), "x".join(map(str, self.factor_sizes))]

    def images_of(self, indices: Tensor) -> Tensor:
        """Pictures of combinations, int64 (B,) to uint8 (B, 1, size, size)."""
        factors = self.factors_of(indices)
        number = torch.tensor([SHAPES.index(name) for name in self.shapes], device=indices.device)
        shape, *rest = factors.unbind(-1)
        _, scales, angles, *places = self.factor_sizes
        scale = 1 - 0.5 * (scales - 1 - rest[0]) / max(scales - 1, 1)
        angle = rest[1] * (2 * math.pi / angles)
        centre = 0.25 + 0.5 * (factors[:, 3:] + 0.5) / torch.tensor(places, device=indices.device)
        return render(number[shape], scale, angle, centre, self.image_shape[-1])


class DSprites(FactorData):
    """The published dSprites, 737,280 pictures of 64x64 pixels: Matthey, Higgins, Hassabis, Lerchner, 2017.

    The pictures are read once, a bit a pixel: 380 MB.

    Args:
        path: Of `dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz`; download it by hand. Nothing pickled in it is read.
        **kwargs: Of `FactorData`.
    """

    factor_names = FACTORS
    categorical = ("shape",)
    image_shape = (1, 64, 64)

    def __init__(self, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = os.fspath(path)
        self.save_hyperparameters()

    def details(self) -> list[str]:
        """The counts."""
        return ["x".join(map(str, self.factor_sizes))]

    @cached_property
    def _file(self) -> tuple[tuple[int, ...], np.ndarray]:
        """Sizes of the factors, and the pictures in bits, (N, 512)."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return read_dsprites(archive)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"path: got {self.path!r}, allowed is the .npz file of dSprites ({reason})") from error

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Number of shapes, scales, orientations, and places along x and y, as the file says."""
        return self._file[0]

    def images_of(self, indices: Tensor) -> Tensor:
        """Pictures of combinations, int64 (B,) to uint8 (B, 1, 64, 64)."""
        pixels = np.unpackbits(self._file[1][indices.cpu().numpy()], axis=1)
        return torch.from_numpy(pixels).to(indices.device).view(-1, *self.image_shape) * 255


def read_dsprites(archive: zipfile.ZipFile) -> tuple[tuple[int, ...], np.ndarray]:
    """Contents of the file of dSprites.

    Args:
        archive: With `imgs.npy`, 0 or 1, (N, 64, 64), and `latents_classes.npy`, (N, 6), of which the first is the
            only colour.

    Returns:
        Sizes of the five factors, and the pictures in bits, (N, 512).

    Raises:
        ValueError: If the arrays are not such.
        KeyError: If one is missing.
    """
    with archive.open("latents_classes.npy") as file:
        classes = np.lib.format.read_array(file, allow_pickle=False)
    sizes = tuple(int(size) for size in classes.max(0)[1:] + 1)
    number = len(classes)
    in_order = math.prod(sizes) == number and classes.shape == (number, 6)
    if not in_order or (np.stack(np.unravel_index(np.arange(number), sizes), 1) != classes[:, 1:]).any():
        raise ValueError("latents_classes does not count all combinations of five factors in order")
    with archive.open("imgs.npy") as file:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, by_columns, kind = read_header[version](file)
        if shape != (number, 64, 64) or by_columns or kind != np.uint8:
            raise ValueError(f"imgs has shape {shape} of {kind}, not {(number, 64, 64)} of uint8")
        packed = np.empty((number, 512), np.uint8)
        for start in range(0, number, CHUNK):
            count = min(CHUNK, number - start)
            pixels = np.frombuffer(file.read(count * 4096), np.uint8).reshape(count, 4096)
            packed[start : start + count] = np.packbits(pixels, axis=1)
    return sizes, packed
