"""The latents whose images are nearest to given ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.editing.latent_space import LatentSpace

ROWS = 256  # latents that are searched at once
APART = 1 << 32  # between a search's seeds and those of samples, lest it start from the latents that it is to find
STARTS = ("random", "encoder", "both")


@dataclass(frozen=True)
class Found:
    """The best latents of a search.

    Attributes:
        latents: (B, latent_dim).
        images: What they are decoded to, (B, *image_shape).
        losses: What was minimised, (B,).
    """

    latents: Tensor
    images: Tensor
    losses: Tensor


def descend(
    space: LatentSpace,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    starts: Tensor,
    num_steps: int = 200,
    learning_rate: float = 0.2,
) -> Found:
    """Minimise a loss over latents, from several starts each, by Adam with a learning rate that falls as a cosine.

    Rows do not influence each other: one alone or among others, a search finds the same. Of all that a search passes
    the best is kept, the start included.

    Args:
        space: Whose latents.
        loss: Called with images (R, *image_shape), latents (R, latent_dim) and the query of each row, (R,); says the
            loss of each, (R,).
        starts: (B, S, latent_dim): S for each of B queries.
        num_steps: Gradients taken; 0 compares the starts.
        learning_rate: The first one, in units of the latents.

    Raises:
        ValueError: For a negative number, or a rate of 0.
    """
    if num_steps < 0:
        raise ValueError(f"num_steps: got {num_steps}, allowed is 0 or more")
    if learning_rate <= 0:
        raise ValueError(f"learning_rate: got {learning_rate}, allowed is more than 0")
    low, high = space.limits()
    number, each = starts.shape[:2]
    rows = torch.arange(number, device=starts.device).repeat_interleave(each)
    with space.searched():
        parts = [
            _search(space, loss, part, of, num_steps, learning_rate, (low, high))
            for part, of in zip(starts.flatten(0, 1).split(ROWS), rows.split(ROWS), strict=True)
        ]
    latents = torch.cat([part[0] for part in parts]).unflatten(0, (number, each))
    losses = torch.cat([part[1] for part in parts]).unflatten(0, (number, each))
    best = losses.argmin(1)
    chosen = latents[torch.arange(number), best]
    with torch.no_grad():
        return Found(chosen, space.decode(chosen), losses[torch.arange(number), best])


def best_of(found: Sequence[Found]) -> Found:
    """For each query the best of several searches, of equally good ones the first."""
    losses = torch.stack([each.losses for each in found])
    place = losses.argmin(0), torch.arange(losses.shape[1], device=losses.device)
    latents, images = (torch.stack([getattr(each, name) for each in found])[place] for name in ("latents", "images"))
    return Found(latents, images, losses[place])


def _search(
    space: LatentSpace,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    start: Tensor,
    rows: Tensor,
    num_steps: int,
    learning_rate: float,
    limits: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    latents = start.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([latents], lr=learning_rate)
    best, least = start.detach().clone(), torch.full((len(start),), torch.inf, device=start.device)
    for step in range(num_steps + 1):
        values = loss(space.decode(latents), latents, rows)
        better = values.detach() < least
        best = torch.where(better[:, None], latents.detach(), best)
        least = torch.where(better, values.detach(), least)
        if step == num_steps:
            break
        optimizer.param_groups[0]["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * step / num_steps))
        (latents.grad,) = torch.autograd.grad(values.sum(), latents)
        optimizer.step()
        with torch.no_grad():
            latents.clamp_(*limits)
    return best, least


def starts_for(
    space: LatentSpace, image: Tensor, num_starts: int, start: str | Callable[[Tensor], Tensor], seed: int
) -> Tensor:
    """Where to search for the latents of images, (B, S, latent_dim).

    Args:
        space: Whose latents.
        image: (B, *image_shape).
        num_starts: Random ones, the same for all images.
        start: random; encoder for what the model's encoder says; both for all of these; or what maps images to
            latents, such as a `Projector`, and no random ones.
        seed: Of the random ones.

    Raises:
        ValueError: For another kind of start, no starts, or a model without encoder.
    """
    if callable(start):
        with torch.no_grad():
            return start(image)[:, None]
    if start not in STARTS:
        raise ValueError(f"start: got {start!r}, allowed are {', '.join(STARTS)}")
    if num_starts < 1:
        raise ValueError(f"num_starts: got {num_starts}, allowed is 1 or more")
    if start != "random" and not space.has_encoder:
        raise ValueError(
            f"start: got {start!r}, allowed for a {type(space.model).__name__}, without encoder, is random"
        )
    found = []
    if start != "random":
        found.append(space.encode(image)[:, None])
    if start != "encoder":
        found.append(space.draw(num_starts, seed=seed + APART).expand(len(image), -1, -1))
    return torch.cat(found, 1)


def project(
    model: Any,
    image: Tensor,
    *,
    num_starts: int = 8,
    num_steps: int = 200,
    learning_rate: float = 0.2,
    start: str | Callable[[Tensor], Tensor] | None = None,
    features: Callable[[Tensor], Tensor] | None = None,
    feature_weight: float = 0.002,
    seed: int = 0,
    **condition: Any,
) -> Found:
    r"""Latents $z^* = \arg\min_z |G(z) - x|^2 + \alpha |C(G(z)) - C(x)|^2$, means; Zhu et al. 2016, equation 3.

    Args:
        model: With latents.
        image: x, (B, *image_shape).
        num_starts: Random latents from which each image is searched.
        num_steps: Steps of the search from each.
        learning_rate: See `descend`.
        start: See `starts_for`; by default both where the model has an encoder, else random.
        features: C, which maps images to (B, n) with gradient; pixels alone by default.
        feature_weight: Alpha; 0.002 is the authors'.
        seed: Of the random starts.
        **condition: See `LatentSpace`.

    Returns:
        With `losses` as above, (B,).

    Raises:
        ValueError: For images of another shape, or an argument out of range.
    """
    space = LatentSpace(model, **condition)
    image = require_images(space, image)
    start = start or ("both" if space.has_encoder else "random")
    starts = starts_for(space, image, num_starts, start, seed)
    with torch.no_grad(), space.searched():
        wanted = None if features is None else features(image).detach()

    def loss(images: Tensor, latents: Tensor, rows: Tensor) -> Tensor:
        values = (images - image[rows]).square().flatten(1).mean(1)
        if features is None or wanted is None:
            return values
        return values + feature_weight * (features(images) - wanted[rows]).square().flatten(1).mean(1)

    return descend(space, loss, starts, num_steps, learning_rate)


def require_images(space: LatentSpace, image: Tensor) -> Tensor:
    """Images on the model's device.

    Raises:
        ValueError: If there are none, or their shape is not the model's.
    """
    shape = tuple(space.model.image_shape)
    if tuple(image.shape[1:]) != shape or not len(image):
        raise ValueError(f"image: got shape {tuple(image.shape)}, allowed is (B, {', '.join(map(str, shape))})")
    return image.to(space.model.device)
