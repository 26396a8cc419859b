"""Latents of a seed: sample i of it is always the same, whoever draws it and with whom."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pl_genmodels.networks import Prior

BLOCK = 64  # drawn in blocks of this many, so that latent i depends on neither the batch nor the number of ranks


def draw_latents(
    prior: Prior, num_samples: int, latent_dim: int, device: torch.device, *, seed: int | None = None, first: int = 0
) -> Tensor:
    """Latents from a prior.

    Args:
        prior: Their distribution.
        num_samples: How many.
        latent_dim: Length of each.
        device: Where they are wanted.
        seed: Without one they come from torch's global state.
        first: Index of the first latent of the seed.

    Returns:
        (num_samples, latent_dim).
    """

    def draw(count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        return prior.sample(count, latent_dim, generator, device)

    return draw_of_seed(draw, num_samples, device, seed=seed, first=first)


def draw_of_seed(
    draw: Callable[[int, torch.Generator | None, torch.device], Tensor],
    num_samples: int,
    device: torch.device,
    *,
    seed: int | None = None,
    first: int = 0,
) -> Tensor:
    """Random numbers of which number i of a seed is always the same.

    Args:
        draw: Draws (n, ...) numbers, given n, a generator (None for torch's global state) and a device.
        num_samples: How many are wanted.
        device: Where they are wanted.
        seed: Without one they come from torch's global state.
        first: Index of the first one of the seed.

    Returns:
        (num_samples, ...).

    Raises:
        ValueError: For a negative seed.
    """
    if seed is None:
        return draw(num_samples, None, device)
    if seed < 0:
        raise ValueError(f"seed: got {seed}, allowed is 0 or more")
    blocks = []
    for block in range(first // BLOCK, -(-(first + num_samples) // BLOCK)):
        state = np.random.SeedSequence((seed, block)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(state))
        blocks.append(draw(BLOCK, generator, torch.device("cpu")))
    start = first % BLOCK
    return torch.cat(blocks)[start : start + num_samples].to(device)
