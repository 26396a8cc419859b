"""Latents on regular grids: what a model has learnt, seen along one or two of its coordinates."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.layers import Labels
from pl_genmodels.models.latents import draw_latents
from pl_genmodels.types import Batch

NUM_DRAWS = 4096  # latents, where only draws tell how they are distributed


def latent_quantiles(model: Any, shares: Tensor, codes: Tensor | None = None) -> Tensor:
    """Values below which given shares of each coordinate of a model's latents lie.

    Exact where latents come from the model's prior as they are, and this has an inverse distribution function; else
    those of normal coordinates with the mean and deviation of 4,096 draws, or of codes for a model that draws none.

    Args:
        model: With `draw_latents`, or else given codes.
        shares: In (0, 1), (S,).
        codes: Of some images, (N, latent_dim).

    Returns:
        (S, latent_dim).

    Raises:
        ValueError: If there are neither draws nor codes.
    """
    if hasattr(model, "draw_latents"):
        few, prior = model.draw_latents(64, seed=0), getattr(model, "prior", None)
        if prior is not None and (values := prior.quantiles(shares)) is not None:
            plain = draw_latents(prior, 64, few.shape[1], few.device, seed=0)
            if torch.equal(plain, few):
                return values.to(few)[:, None].expand(-1, few.shape[1])
        codes = model.draw_latents(NUM_DRAWS, seed=0)
    if codes is None:
        raise ValueError(f"codes: not given, but a {type(model).__name__} draws no latents")
    return codes.mean(0) + codes.std(0) * torch.special.ndtri(shares).to(codes)[:, None]


def manifold(model: Any, num_steps: int, codes: Tensor | None = None) -> Tensor:
    """A grid of latents of two coordinates, evenly spaced in probability (Kingma, Welling 2014, figure 4).

    Args:
        model: See `latent_quantiles`.
        num_steps: Latents along each side, evenly from the 5th to the 95th percentile.
        codes: See `latent_quantiles`.

    Returns:
        (num_steps ** 2, 2), row by row from the top: the first coordinate grows to the right, the second one upwards.
    """
    first, second = latent_quantiles(model, torch.linspace(0.05, 0.95, num_steps), codes).unbind(1)
    return torch.stack(torch.meshgrid(second.flip(0), first, indexing="ij")[::-1], -1).flatten(0, 1)


def traversals(
    model: Any, start: Tensor, num_steps: int, num_dims: int, span: float = 2.0, codes: Tensor | None = None
) -> Tensor:
    """Latents that differ from one in a single coordinate each.

    Args:
        model: See `latent_quantiles`.
        start: The latent, (latent_dim,).
        num_steps: Values of a coordinate.
        num_dims: How many coordinates, the first ones; at most all.
        span: How far to each side, in standard deviations of a normal coordinate.
        codes: See `latent_quantiles`.

    Returns:
        (coordinates, num_steps, latent_dim).
    """
    shares = torch.special.ndtr(torch.linspace(-span, span, num_steps))
    values = latent_quantiles(model, shares, codes)  # (S, latent_dim)
    dims = range(min(num_dims, len(start)))
    latents = start.expand(len(dims), num_steps, -1).clone()
    for dim in dims:
        latents[dim, :, dim] = values[:, dim]
    return latents


def given_label(function: Any, model: Any, batch: Batch) -> dict[str, Tensor]:
    """Labels as an argument of one of a model's functions, where the model is conditional on them.

    Args:
        function: Of the model, which may take `label`.
        model: Whose `condition`, if it has one, says whether it is conditional on labels.
        batch: Which may hold `label`, (B,).

    Returns:
        `label` on the model's device, or nothing.
    """
    condition = getattr(model, "condition", None)
    conditional = "label" in inspect.signature(function).parameters and isinstance(condition, Labels)
    return {"label": batch["label"].to(model.device)} if conditional and "label" in batch else {}


def decoded(model: Any, latents: Tensor, label: Tensor | None = None) -> Tensor:
    """Expected images of latents, all of one label where the model is conditional on labels.

    Args:
        model: With `decode`.
        latents: (N, latent_dim).
        label: One label; 0 by default.

    Returns:
        (N, *image_shape).
    """
    one = torch.zeros((), dtype=torch.long) if label is None else label
    return model.decode(latents, **given_label(model.decode, model, {"label": one.expand(len(latents))}))
