"""Draws on top of 8-bit pictures: black or white instead of grey, and real values instead of levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pl_genmodels.data.loader import TensorSet, named
from pl_genmodels.data.seeds import item_seeds

BINARIZE = ("none", "dynamic", "static", "threshold")

CHUNK = 4096  # images of a data set that are binarised at once: 25 MB of integers at 28x28

# of splitmix64, as signed integers
STEP, FIRST, SECOND = (number - 2**64 for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def uniform(seeds: Tensor, shape: Sequence[int], bits: int = 23) -> Tensor:
    """Uniform numbers that are a function of a seed and a position alone, on every device and in any batch.

    Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014: splitmix64 at a counter.

    Args:
        seeds: One per image, int64 (B,).
        shape: Of one image.
        bits: Random bits of a number, 1 to 23; all numbers are exact in float32, and none is 0 or 1.

    Returns:
        Centres of 2 ** bits equal intervals of [0, 1], float32 (B, *shape).
    """
    mixed = torch.arange(1, math.prod(shape) + 1, device=seeds.device) * STEP + seeds[:, None]  # (B, D), wraps
    mixed.bitwise_xor_((mixed >> 30) & (2**34 - 1)).mul_(FIRST)
    mixed.bitwise_xor_((mixed >> 27) & (2**37 - 1)).mul_(SECOND)  # its last step changes no high bit
    mixed.bitwise_right_shift_(64 - bits).bitwise_and_(2**bits - 1)
    return mixed.float().add_(0.5).mul_(2.0**-bits).view(len(seeds), *shape)


def binarized(images: Tensor, seeds: Tensor | None) -> Tensor:
    """Black and white pictures out of grey ones.

    Args:
        images: uint8 (B, C, H, W).
        seeds: int64 (B,): a value v is white with probability v / 255. None: it is white from 128 on.

    Returns:
        uint8, 0 or 255, of the same shape. Black and white pictures stay as they are.
    """
    white = images > 127 if seeds is None else uniform(seeds, images.shape[1:]) < images.float() / 255
    return white.to(torch.uint8) * 255


def dequantized(images: Tensor, seeds: Tensor, num_levels: int) -> Tensor:
    """Real values out of levels: (k + u) / L, moved to [-1, 1], with u uniform in (0, 1).

    Whoever asks, `floor((x + 1) / 2 * L)` is k again.

    Args:
        images: uint8, level k as the integer next to 255 k / (L - 1), (B, C, H, W).
        seeds: int64 (B,).
        num_levels: L, 2 to 256.

    Returns:
        float32 of the same shape.
    """
    level = images.float() if num_levels == 256 else (images.float() * ((num_levels - 1) / 255)).round_()
    level += uniform(seeds, images.shape[1:], bits=15)  # with 8 bits of the level still exact in float32
    return level.mul_(2 / num_levels).sub_(1)


class BinarySet(Dataset[dict[str, Any]]):
    """A map-style data set of pictures, decoded when they are asked for and then made black and white once and for all.

    Args:
        dataset: Items are dicts or tuples with uint8 pictures (C, H, W).
        draws: Whether grey values are drawn; otherwise they are cut in the middle.
    """

    def __init__(self, dataset: Dataset[Any], draws: bool) -> None:
        self.dataset = dataset
        self.seeds = item_seeds(len(dataset)) if draws else None  # type: ignore[arg-type]
        self.name = getattr(dataset, "name", type(dataset).__name__)

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        seeds = None if self.seeds is None else self.seeds[index : index + 1]
        return {
            key: binarized(value[None], seeds)[0] if is_picture(value, 3) else value
            for key, value in named(self.dataset[index]).items()
        }


def is_picture(value: Any, dimensions: int) -> bool:
    """Whether something is pictures that are still in 8 bits, of this many dimensions or more."""
    return isinstance(value, Tensor) and value.dtype == torch.uint8 and value.ndim >= dimensions


def black_and_white(dataset: Dataset[Any], draws: bool) -> Dataset[Any]:
    """A data set whose pictures are black and white, the same at every visit.

    Args:
        dataset: With uint8 pictures; a `TensorSet` is converted at once.
        draws: Whether white is drawn with the grey value as its probability; otherwise values are cut in the middle.

    Returns:
        The data set, everything else in it as before.
    """
    if not isinstance(dataset, TensorSet):
        return BinarySet(dataset, draws)
    seeds = item_seeds(len(dataset))
    tensors = dict(dataset.tensors)
    for key, value in tensors.items():
        if is_picture(value, 4):
            parts = zip(value.split(CHUNK), seeds.split(CHUNK), strict=True)
            tensors[key] = torch.cat([binarized(part, drawn if draws else None) for part, drawn in parts])
    return TensorSet(tensors, dataset.name)
