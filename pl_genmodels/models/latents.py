"""Latents of a seed: sample i of it is always the same, whoever draws it and with whom."""

from __future__ import annotations

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
    if seed is None:
        return prior.sample(num_samples, latent_dim, None, device)
    blocks = []
    for block in range(first // BLOCK, -(-(first + num_samples) // BLOCK)):
        state = np.random.SeedSequence((seed, block)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(state))
        blocks.append(prior.sample(BLOCK, latent_dim, generator, torch.device("cpu")))
    start = first % BLOCK
    return torch.cat(blocks)[start : start + num_samples].to(device)
