"""Seeds that belong to something: a name, an epoch, an item of a data set."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def stable_seed(*parts: int | str) -> int:
    """Seed that is the same in every process, on every machine and in every Python.

    Args:
        *parts: What the random numbers belong to, such as a seed, an epoch or a name.

    Returns:
        63 bits, which is what `torch.Generator.manual_seed` takes.
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def seeds(number: int, generator: torch.Generator) -> Tensor:
    """One seed for each of some items, int64 (number,)."""
    return torch.randint(2**62, (number,), generator=generator)


def item_seeds(number: int) -> Tensor:
    """The seed that each item of a data set keeps for ever: fixed draws are the same in every run, int64 (number,)."""
    return seeds(number, torch.Generator().manual_seed(stable_seed("item")))
