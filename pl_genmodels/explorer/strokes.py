"""What a brush has done on a picture, in the picture's own pixels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

BRUSHES = ("colour", "sketch", "warp")
MOST_POINTS = 10_000
SEGMENTS = 64  # whose distances from all pixels are held at once
GREY = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


def colour_of(text: str, channels: int) -> Tensor:
    """A colour such as #ff8000 in [-1, 1], (channels,).

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(text, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f"colour: got {text!r}, allowed are those of the form #ff8000")
    rgb = torch.tensor([int(text[place : place + 2], 16) / 127.5 - 1 for place in (1, 3, 5)])
    return rgb if channels == 3 else (rgb * torch.tensor(GREY)).sum(0, keepdim=True)


def covered(points: Tensor, radius: float, height: int, width: int) -> Tensor:
    """Pixels whose centre is within a radius of a line through points, or that hold one of these.

    Args:
        points: x to the right and y down from the upper left corner, in pixels, (P, 2).
        radius: In pixels.
        height: Of the picture.
        width: Of the picture.

    Returns:
        Booleans, (H, W).
    """
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    centres = torch.stack([x, y], -1).reshape(-1, 1, 2)
    mask = torch.zeros(height * width, dtype=torch.bool)
    starts, ends = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    for start, end in zip(starts.split(SEGMENTS), ends.split(SEGMENTS), strict=True):
        along = end - start
        share = ((centres - start) * along).sum(-1) / along.square().sum(-1).clamp_min(1e-12)  # (H W, segments)
        nearest = start + share.clamp(0, 1)[..., None] * along
        mask |= ((centres - nearest).norm(dim=-1) <= radius).any(1)
    column, row = points.floor().long().unbind(1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    mask[row[inside] * width + column[inside]] = True
    return mask.view(height, width)


def brush_of(stroke: Mapping[str, Any]) -> str:
    """Which brush a stroke is of.

    Raises:
        ValueError: For one that there is not.
    """
    brush = stroke.get("brush", "colour")
    if brush not in BRUSHES:
        raise ValueError(f"brush: got {brush!r}, allowed are {', '.join(BRUSHES)}")
    return brush


def read_stroke(stroke: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A stroke of the colour or the sketch brush, as the page tells it.

    Args:
        stroke: `colour`, `radius` in pixels, `points` as a list of [x, y]; see `covered`.
        shape: Of the picture, (C, H, W).

    Returns:
        The colour in [-1, 1], (C,), and where it is, booleans (H, W).

    Raises:
        ValueError: If it is no stroke, or lies beside the picture.
    """
    colour = colour_of(stroke.get("colour", ""), shape[0])
    points, radius = _points_of(stroke, shape)
    return colour, _some_of(covered(points, radius, *shape[1:]))


def read_drag(stroke: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Tensor, tuple[int, int]]:
    """A patch that was dragged: a square around the first point, brought to the last one.

    Args:
        stroke: `radius`, half the square's side in pixels, and `points` as a list of [x, y].
        shape: Of the picture, (C, H, W).

    Returns:
        Where the patch was, booleans (H, W), and whole pixels down and to the right.

    Raises:
        ValueError: If it is no drag, lies beside the picture, or has not left its pixels.
    """
    points, radius = _points_of(stroke, shape)
    down, right = ((points[-1] - points[0]).round().int().tolist())[::-1]
    if down == right == 0:
        raise ValueError("points: the patch has not left its place, allowed is a drag of a pixel or more")
    axes = [torch.arange(side) + 0.5 for side in shape[1:]]
    rows, columns = (
        (axis - middle).abs() <= max(radius, 0.5) for axis, middle in zip(axes, points[0].flip(0), strict=True)
    )
    return _some_of(rows[:, None] & columns), (down, right)


def _points_of(stroke: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Tensor, float]:
    """Points (P, 2) and radius of a stroke."""
    radius, points = stroke.get("radius"), stroke.get("points")
    if not isinstance(radius, (int, float)) or not 0 < radius <= max(shape[1:]):
        raise ValueError(f"radius: got {radius!r}, allowed is more than 0, up to {max(shape[1:])} pixels")
    if not isinstance(points, list) or not 1 <= len(points) <= MOST_POINTS or not all(map(_is_point, points)):
        raise ValueError(f"points: got no list of 1 to {MOST_POINTS} pairs of numbers, as a stroke has")
    return torch.tensor(points, dtype=torch.float32), float(radius)


def _some_of(mask: Tensor) -> Tensor:
    if not mask.any():
        raise ValueError("points: all of them lie beside the picture")
    return mask


def _is_point(point: Any) -> bool:
    pair = isinstance(point, (list, tuple)) and len(point) == 2
    return pair and all(isinstance(one, (int, float)) and math.isfinite(one) and abs(one) < 1e6 for one in point)
