"""Holes in pictures, filled by what a model knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.editing.latent_space import LatentSpace
from pl_genmodels.editing.projection import descend, require_images, starts_for


@dataclass(frozen=True)
class Filled:
    """Pictures whose holes are filled.

    Attributes:
        images: Known pixels as they were, the rest blended, (B, C, H, W).
        generated: What the model made of the best latents, (B, C, H, W).
        latents: (B, latent_dim).
        losses: (B,).
    """

    images: Tensor
    generated: Tensor
    latents: Tensor
    losses: Tensor


def importance_weights(mask: Tensor, window: int = 7) -> Tensor:
    r"""Known pixels weigh the more the more of what is around them is missing; Yeh et al. 2017, equation 2.

    $W_i = \sum_{j \in N(i)} (1 - M_j) / |N(i)|$ where $M_i = 1$, and 0 in the hole. Beyond the border all counts as
    known.

    Args:
        mask: M, true where a pixel is known, booleans (H, W).
        window: Side of N, odd.

    Returns:
        W, (H, W).

    Raises:
        ValueError: For an even window, or one below 3.
    """
    if window < 3 or window % 2 == 0:
        raise ValueError(f"window: got {window}, allowed are odd numbers from 3 on")
    missing = (~mask).float()[None, None]
    return F.avg_pool2d(missing, window, 1, window // 2, count_include_pad=True)[0, 0] * mask


def poisson_blend(image: Tensor, generated: Tensor, mask: Tensor) -> Tensor:
    r"""Fill a hole with gradients of what was generated, so that it joins what is known; Yeh et al. 2017, equation 7.

    On pixels of the hole $n_i x_i - \sum_j x_j = n_i g_i - \sum_j g_j$ over the n_i of 4 neighbours that exist, with
    known pixels as they are: a sparse system, solved exactly.

    Args:
        image: Read where it is known, (B, C, H, W).
        generated: g, (B, C, H, W).
        mask: True where a pixel is known, booleans (H, W).

    Returns:
        (B, C, H, W); not cut to any range.

    Raises:
        ValueError: If no pixel is known.
    """
    import numpy as np
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import splu

    if not mask.any():
        raise ValueError("mask: got no known pixel, allowed is one or more")
    known = mask.cpu().numpy()
    if known.all():
        return image.clone()
    height, width = known.shape
    number = np.arange(height * width).reshape(height, width)
    pairs = np.concatenate(
        [
            np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()]),
            np.stack([number[:-1].ravel(), number[1:].ravel()]),
        ],
        1,
    )
    ends = np.concatenate([pairs, pairs[::-1]], 1)  # both ways, (2, edges)
    graph = csr_matrix((np.ones(ends.shape[1]), (ends[0], ends[1])), shape=(number.size, number.size))
    laplacian = csr_matrix((np.asarray(graph.sum(1)).ravel(), (number.ravel(), number.ravel()))) - graph
    hole = np.flatnonzero(~known.ravel())
    rest = np.flatnonzero(known.ravel())
    rows = laplacian[hole]
    given, made = (part.detach().cpu().double().flatten(2).flatten(0, 1).numpy().T for part in (image, generated))
    wanted = rows @ made - rows[:, rest] @ given[rest]  # (hole, B C)
    filled = given.copy()
    filled[hole] = splu(rows[:, hole].tocsc()).solve(wanted)
    return torch.from_numpy(filled.T.copy()).view_as(image).to(image)


def inpaint(
    model: Any,
    image: Tensor,
    mask: Tensor,
    *,
    perceptual_weight: float = 0.003,
    window: int = 7,
    num_starts: int = 16,
    num_steps: int = 200,
    learning_rate: float = 0.1,
    blend: bool = True,
    seed: int = 0,
    **condition: Any,
) -> Filled:
    r"""Fill holes with the image of $\arg\min_z |W (G(z) - y)|_1 + \lambda \log(1 - D(G(z)))$; Yeh et al. 2017.

    Sums over pixels, equations 3 to 6. The second term is there where the model has a discriminator of images alone.

    Args:
        model: With latents; of pictures.
        image: y, anything where it is not known, (B, C, H, W).
        mask: True where a pixel is known, booleans (H, W).
        perceptual_weight: Lambda; 0.003 is the authors'.
        window: See `importance_weights`.
        num_starts: Random latents from which each picture is searched.
        num_steps: Steps of the search from each.
        learning_rate: See `descend`.
        blend: Join with `poisson_blend`; else generated pixels are pasted.
        seed: Of the random latents.
        **condition: See `LatentSpace`.

    Raises:
        ValueError: For a mask of another shape or type, or without known pixels, or an argument out of range.
    """
    space = LatentSpace(model, **condition)
    image = require_images(space, image)
    if image.ndim != 4 or mask.dtype != torch.bool or tuple(mask.shape) != tuple(image.shape[2:]):
        raise ValueError(
            f"mask: got {mask.dtype} of shape {tuple(mask.shape)}, allowed are booleans of shape "
            f"{tuple(image.shape[2:])}, true where a pixel is known"
        )
    if not mask.any():
        raise ValueError("mask: got no known pixel, allowed is one or more")
    mask = mask.to(image.device)
    weights, critic = importance_weights(mask, window), space.critic()

    def loss(images: Tensor, latents: Tensor, rows: Tensor) -> Tensor:
        contextual = (weights * (images - image[rows]).abs()).flatten(1).sum(1)
        if critic is None or not perceptual_weight:
            return contextual
        return contextual - perceptual_weight * F.softplus(critic(images)).reshape(len(images), -1).mean(1)

    starts = starts_for(space, image, num_starts, "random", seed)
    found = descend(space, loss, starts, num_steps, learning_rate)
    filled = poisson_blend(image, found.images, mask).clamp(-1, 1) if blend else found.images
    return Filled(torch.where(mask, image, filled), found.images, found.latents, found.losses)
