"""Sums and differences of latents."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pl_genmodels.editing.latent_space import LatentSpace


def arithmetic(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Mean of a - mean of b + mean of c; Radford et al. 2016, section 6.3.2, with three latents each.

    Args:
        a: Latents of images with a property on something, (n, latent_dim).
        b: Latents of images without the property, on the same.
        c: Latents of what is to get the property.

    Returns:
        (latent_dim,).

    Raises:
        ValueError: If there are none, or of another length.
    """
    for name, group in (("a", a), ("b", b), ("c", c)):
        if group.ndim != 2 or not len(group) or group.shape[1] != a.shape[-1]:
            raise ValueError(f"{name}: got shape {tuple(group.shape)}, allowed is (1 or more, {a.shape[-1]})")
    return a.mean(0) - b.mean(0) + c.mean(0)


def around(latent: Tensor, num_latents: int = 8, spread: float = 0.25, seed: int = 0) -> Tensor:
    """A latent and neighbours of it; uniform noise in [-spread, spread] is the authors'.

    Args:
        latent: (latent_dim,).
        num_latents: How many neighbours.
        spread: Most that a coordinate is changed by.
        seed: Of the noise.

    Returns:
        The latent first, (1 + num_latents, latent_dim).

    Raises:
        ValueError: For a negative number or spread.
    """
    if num_latents < 0:
        raise ValueError(f"num_latents: got {num_latents}, allowed is 0 or more")
    if spread < 0:
        raise ValueError(f"spread: got {spread}, allowed is 0 or more")
    noise = torch.rand(num_latents, len(latent), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.cat([latent[None], latent + spread * noise.to(latent)])


def combine(model: Any, a: Tensor, b: Tensor, c: Tensor, **condition: Any) -> Tensor:
    """The image of mean a - mean b + mean c, (1, *image_shape); see `arithmetic`.

    Args:
        model: With latents.
        a: (n, latent_dim).
        b: (n, latent_dim).
        c: (n, latent_dim).
        **condition: See `LatentSpace`.
    """
    return LatentSpace(model, **condition).decode(arithmetic(a, b, c)[None]).detach()
