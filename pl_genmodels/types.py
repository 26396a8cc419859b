"""The few words that every part of the package shares: batches, terms, shapes and papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

Batch: TypeAlias = dict[str, Tensor]
"""One mini-batch by name. `image` is what a model learns, float32 in [-1, 1], (B, C, H, W); points are (B, 2)."""

Terms: TypeAlias = dict[str, Tensor]
"""Named terms of one player's loss, each with one value per sample, (B,). Their sum is what the player minimises."""

ImageShape: TypeAlias = tuple[int, ...]
"""Shape of one `image` without the batch: (C, H, W) for pictures, (2,) for points in the plane."""

IMAGE_KEYS = ("image", "label")
"""What the entries of a plain tuple batch mean to a model of images."""


@dataclass(frozen=True)
class Paper:
    """Where a system comes from.

    Args:
        title: As printed.
        authors: Surnames, with "et al." for more than three.
        year: Of first publication.
        url: Of the paper.
        new: What it brought, in one line for the catalogue.
    """

    title: str
    authors: str
    year: int
    url: str
    new: str


def as_batch(batch: Any, keys: Sequence[str] = IMAGE_KEYS) -> Batch:
    """Name the parts of whatever a data loader yields.

    Args:
        batch: A tensor, a tuple or list of tensors, or a mapping.
        keys: Names of the entries of a tuple, in order; a lone tensor gets the first.

    Returns:
        The batch as a dict.

    Raises:
        ValueError: If the batch is none of these, or misses the first key.
    """
    if isinstance(batch, Tensor):
        return {keys[0]: batch}
    if isinstance(batch, Mapping):
        if keys[0] not in batch:
            raise ValueError(f"batch: has keys {sorted(map(str, batch))}, but this model needs {keys[0]!r}")
        return dict(batch)
    if isinstance(batch, Sequence) and batch and isinstance(batch[0], Tensor):
        return dict(zip(keys, batch, strict=False))
    raise ValueError(
        f"batch: got {type(batch).__name__}, allowed are a tensor, a tuple {tuple(keys)} or a dict with {keys[0]!r}"
    )
