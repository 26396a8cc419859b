"""A part of one picture pasted into another so that no seam is seen: gradients of both, colours of a small blend."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.editing.inpainting import poisson_blend
from pl_genmodels.editing.latent_space import has_latents
from pl_genmodels.editing.projection import project

COARSEST = 64  # pixels of the shorter side at which blending begins without a model
SIGMA = 0.5  # of the Gaussian filter through which the small blend is seen, in pixels


def composite(foreground: Tensor, background: Tensor, mask: Tensor) -> Tensor:
    """Copy and paste: foreground where the mask is 1.

    Args:
        foreground: (B, C, H, W).
        background: (B, C, H, W).
        mask: In [0, 1], (B or 1, H, W).
    """
    return torch.lerp(background, foreground, mask[:, None].to(background))


def gaussian_poisson(
    foreground: Tensor, background: Tensor, mask: Tensor, guide: Tensor, colour_weight: float = 1.0
) -> Tensor:
    r"""$\min_x |\nabla x - v|^2 + \beta |g * x - c|^2$, exactly, by one cosine transform; Wu et al. 2019, equation 4.

    v are gradients of the foreground between pixels of the mask and those of the background elsewhere, also across the
    mask's border; c is a picture of which colours are taken and g a 3x3 Gaussian. With mirrored borders both terms are
    diagonal for the DCT-II: $\hat x = (-\widehat{\text{div} v} + \beta \hat g \hat c) / (\Lambda + \beta \hat g^2)$.

    Departs from the released solver, which leaves out the filter's transposition, that is $\hat g$ before $\hat c$ and
    the square; both are exact where c = g * x has a solution.

    Args:
        foreground: (B, C, H, W).
        background: (B, C, H, W).
        mask: In [0, 1], (B or 1, H, W).
        guide: c, (B, C, H, W).
        colour_weight: Beta, more than 0.

    Returns:
        (B, C, H, W); not cut to any range.

    Raises:
        ValueError: If shapes differ, or the weight is not positive.
    """
    for name, picture in (("background", background), ("guide", guide)):
        if foreground.ndim != 4 or picture.shape != foreground.shape:
            raise ValueError(
                f"{name}: got shape {tuple(picture.shape)}, allowed is that of foreground, {tuple(foreground.shape)}"
            )
    _require_mask(mask, foreground)
    if colour_weight <= 0:
        raise ValueError(f"colour_weight: got {colour_weight}, allowed is more than 0")
    mask = mask[:, None].to(foreground)
    divergence = torch.zeros_like(background)  # minus that of v
    for dim in (2, 3):
        first, second = mask.narrow(dim, 0, mask.shape[dim] - 1), mask.narrow(dim, 1, mask.shape[dim] - 1)
        slopes = torch.lerp(background.diff(dim=dim), foreground.diff(dim=dim), torch.minimum(first, second))
        before, after = ((0, 0) * (3 - dim) + pair for pair in ((1, 0), (0, 1)))
        divergence += F.pad(slopes, before) - F.pad(slopes, after)
    rows, columns = (cosine_basis(side, foreground) for side in foreground.shape[2:])
    curvature, filtered = _responses(foreground)
    wanted = rows @ divergence @ columns.T + colour_weight * filtered * (rows @ guide @ columns.T)
    return rows.T @ (wanted / (curvature + colour_weight * filtered.square())) @ columns


def smoothed(image: Tensor) -> Tensor:
    """The picture seen through g, a 3x3 Gaussian with mirrored borders, (B, C, H, W)."""
    edge, centre = _taps()
    for dim in (2, 3):
        size = image.shape[dim]
        before = torch.cat([image.narrow(dim, 0, 1), image.narrow(dim, 0, size - 1)], dim)
        after = torch.cat([image.narrow(dim, 1, size - 1), image.narrow(dim, size - 1, 1)], dim)
        image = centre * image + edge * (before + after)
    return image


def cosine_basis(size: int, like: Tensor) -> Tensor:
    """Orthonormal matrix of the DCT-II, (size, size): a row for each frequency."""
    frequencies = torch.arange(size, device=like.device, dtype=like.dtype)[:, None]
    places = torch.arange(size, device=like.device, dtype=like.dtype) + 0.5
    basis = math.sqrt(2 / size) * torch.cos(math.pi / size * frequencies * places)
    basis[0] /= math.sqrt(2)
    return basis


def _taps() -> tuple[float, float]:
    """Weights of a neighbour and of the pixel itself."""
    edge = math.exp(-0.5 / SIGMA**2)
    return edge / (1 + 2 * edge), 1 / (1 + 2 * edge)


def _responses(like: Tensor) -> tuple[Tensor, Tensor]:
    """What the Laplacian and the Gaussian do to each frequency, (H, W) each."""
    edge, centre = _taps()
    cosines = [
        torch.cos(math.pi / size * torch.arange(size, device=like.device, dtype=like.dtype)) for size in like.shape[2:]
    ]
    down, across = cosines[0][:, None], cosines[1]
    return 4 - 2 * down - 2 * across, (centre + 2 * edge * down) * (centre + 2 * edge * across)


def guide_of(model: Any, pasted: Tensor, *, num_starts: int = 8, num_steps: int = 200, **condition: Any) -> Tensor:
    """The small, realistic picture nearest to a composite: what a blending network makes of it, or a GAN can make.

    Args:
        model: That translates composites, such as GPGAN; or with latents, which are searched (the paper's unsupervised
            variant).
        pasted: The composite in the model's size, (B, C, H, W).
        num_starts: See `project`.
        num_steps: See `project`.
        **condition: See `LatentSpace`.

    Raises:
        ValueError: For another model.
    """
    if hasattr(model, "translate"):
        return model.translate(pasted)
    if not has_latents(model):
        raise ValueError(f"model: got a {type(model).__name__}, allowed are translations and models with latents")
    return project(model, pasted, num_starts=num_starts, num_steps=num_steps, **condition).images


def blend(
    foreground: Tensor,
    background: Tensor,
    mask: Tensor,
    model: Any = None,
    *,
    colour_weight: float = 1.0,
    **search: Any,
) -> Tensor:
    """Gaussian-Poisson blending from coarse to fine; Wu et al. 2019, algorithm 1.

    The colours of the coarsest size come from the model; those of each next one, twice as large, from the result before
    it. Without a model they are those of `poisson_blend`.

    Args:
        foreground: In [-1, 1], (B, C, H, W).
        background: In [-1, 1], (B, C, H, W).
        mask: 1 where the foreground is wanted, in [0, 1], (B or 1, H, W).
        model: See `guide_of`.
        colour_weight: See `gaussian_poisson`.
        **search: Of `guide_of`.

    Returns:
        In [-1, 1], (B, C, H, W).

    Raises:
        ValueError: If shapes differ, or the model does not make pictures with these channels.
    """
    if foreground.ndim != 4 or background.shape != foreground.shape:
        raise ValueError(
            f"background: got shape {tuple(background.shape)}, allowed is that of foreground, {tuple(foreground.shape)}"
        )
    _require_mask(mask, foreground)
    shape = (foreground.shape[1], COARSEST, COARSEST) if model is None else tuple(model.image_shape)
    if len(shape) != 3 or shape[0] != foreground.shape[1]:
        raise ValueError(f"foreground: got {foreground.shape[1]} channels, allowed are the model's, {shape[0]}")
    sizes = _sizes(tuple(foreground.shape[2:]), min(shape[1:]))
    if model is None:
        small = resized(
            torch.cat([foreground, background, mask[:, None].to(foreground).expand_as(foreground)], 1), sizes[0]
        )
        guide = _poisson_guide(*small.chunk(3, 1))
    else:
        pasted = resized(composite(foreground, background, mask), shape[1:]).clamp(-1, 1)
        guide = guide_of(model, pasted, **search).to(foreground)
    for size in sizes:
        front, back = resized(foreground, size), resized(background, size)
        small_mask = resized(mask[:, None].to(foreground), size)[:, 0].clamp(0, 1)
        guide = gaussian_poisson(front, back, small_mask, resized(guide, size), colour_weight).clamp(-1, 1)
    return guide


def _poisson_guide(foreground: Tensor, background: Tensor, mask: Tensor) -> Tensor:
    """Each background with the foreground's gradients where its mask is 1, (B, C, H, W)."""
    known = mask[:, 0] < 0.5
    filled = [
        poisson_blend(back[None], front[None], outside) if outside.any() else front[None]
        for front, back, outside in zip(foreground, background, known, strict=True)
    ]
    return torch.cat(filled)


def resized(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Pictures in another size, without aliasing, (B, C, H, W)."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return F.interpolate(images, tuple(size), mode="bilinear", antialias=True, align_corners=False)


def _sizes(size: tuple[int, ...], coarsest: int) -> list[tuple[int, int]]:
    """Heights and widths, each half of the next, the first one about as small as `coarsest`."""
    sizes = [(size[0], size[1])]
    while min(sizes[0]) >= 1.5 * coarsest:
        sizes.insert(0, (round(sizes[0][0] / 2), round(sizes[0][1] / 2)))
    return sizes


def _require_mask(mask: Tensor, image: Tensor) -> None:
    if mask.ndim != 3 or len(mask) not in (1, len(image)) or mask.shape[1:] != image.shape[2:]:
        allowed = ", ".join(map(str, image.shape[2:]))
        raise ValueError(f"mask: got shape {tuple(mask.shape)}, allowed is ({len(image)} or 1, {allowed})")
