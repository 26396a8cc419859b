"""Pictures edited by brushes, and kept among those that a generator makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.editing.edges import cell_of, gradient_histograms, pool_cells
from pl_genmodels.editing.flow import compose, estimate_flow, follow
from pl_genmodels.editing.interpolation import lerp
from pl_genmodels.editing.latent_space import LatentSpace
from pl_genmodels.editing.projection import APART, Found, descend

EDGE_WEIGHT = 0.2  # the authors', of the strokes' term
SPREAD = 0.5  # the authors', of the candidates around z0
SMOOTHNESS = 0.3  # of edits with colours: digits of three GANs follow, and what is not painted changes half as much
EDGE_SMOOTHNESS = 0.03  # of strokes alone, whose term is a tenth as large: at 0.3 nothing moves


def edit(
    model: Any,
    latents: Tensor,
    *,
    colour: Tensor | None = None,
    colour_mask: Tensor | None = None,
    sketch: Tensor | None = None,
    sketch_mask: Tensor | None = None,
    smoothness_weight: float | None = None,
    num_candidates: int = 8,
    num_steps: int = 25,
    learning_rate: float = 0.1,
    seed: int = 0,
    **condition: Any,
) -> Found:
    r"""The image nearest to a painting that is still one of the model's; Zhu et al. 2016, equation 6.

    $$\min_z \frac{\sum m |G(z) - c|^2}{C \sum m} + 0.2\, \frac{\sum m' |H(G(z)) - H(s)|^2}{8 \sum m'}
    + \lambda \overline{(z - z_0)^2}$$

    with c the colours painted where m is, s the strokes, H the histograms of `gradient_histograms`, and m' the strokes'
    mask in cells. Either of the first two terms may be missing.

    Args:
        model: With latents; of pictures.
        latents: z0, of the picture that is edited: drawn, encoded or found by `project`, (B, latent_dim).
        colour: c, in [-1, 1], anything where it is not painted, (B or 1, C, H, W).
        colour_mask: m, in [0, 1], (B or 1, H, W); everywhere by default.
        sketch: s, 1 on strokes and 0 elsewhere, or a grey picture in [0, 1], (B or 1, H, W).
        sketch_mask: Where strokes are compared, in [0, 1], (B or 1, H, W); around strokes by default.
        smoothness_weight: Lambda, which holds the rest of the picture; by default 0.3, or 0.03 for strokes alone.
        num_candidates: Latents from which each is searched: z0, and others at most 0.5 from it in each coordinate.
        num_steps: Steps of the search.
        learning_rate: See `descend`.
        seed: Of the candidates.
        **condition: See `LatentSpace`.

    Returns:
        The best of the candidates, its image, and the value of the sum above, (B,).

    Raises:
        ValueError: Without colours and strokes, for another shape, an empty mask or an argument out of range.
    """
    space = LatentSpace(model, **condition)
    if colour is None and sketch is None:
        raise ValueError("colour, sketch: got neither, allowed are one of them or both")
    if num_candidates < 1:
        raise ValueError(f"num_candidates: got {num_candidates}, allowed is 1 or more")
    if smoothness_weight is None:
        smoothness_weight = EDGE_SMOOTHNESS if colour is None else SMOOTHNESS
    if smoothness_weight < 0:
        raise ValueError(f"smoothness_weight: got {smoothness_weight}, allowed is 0 or more")
    if latents.ndim != 2 or latents.shape[1] != space.limits()[0].numel() or not len(latents):
        raise ValueError(f"latents: got shape {tuple(latents.shape)}, allowed is (B, {space.limits()[0].numel()})")
    latents = latents.detach().to(model.device)
    terms: list[Callable[[Tensor, Tensor], Tensor]] = []
    if colour is not None:
        terms.append(_ColourTerm(space, len(latents), colour, colour_mask))
    if sketch is not None:
        terms.append(_EdgeTerm(space, len(latents), sketch, sketch_mask))

    def loss(images: Tensor, moved: Tensor, rows: Tensor) -> Tensor:
        values = smoothness_weight * (moved - latents[rows]).square().mean(1)
        return values + sum(term(images, rows) for term in terms)

    return descend(space, loss, candidates(space, latents, num_candidates, seed), num_steps, learning_rate)


def candidates(space: LatentSpace, latents: Tensor, number: int, seed: int) -> Tensor:
    """Each latent, and others around it within the model's limits, (B, number, latent_dim)."""
    noise = torch.rand(number - 1, latents.shape[1], generator=torch.Generator().manual_seed(seed + APART)) * 2 - 1
    around = latents[:, None] + SPREAD * noise.to(latents)
    low, high = space.limits()
    return torch.cat([latents[:, None], around.clamp(low, high)], 1)


class _ColourTerm:
    def __init__(self, space: LatentSpace, number: int, colour: Tensor, mask: Tensor | None) -> None:
        shape = tuple(space.model.image_shape)
        self.colour = _rows_of("colour", colour, number, shape).to(space.model.device)
        mask = torch.ones(1, *shape[1:]) if mask is None else mask
        self.mask = _rows_of("colour_mask", mask, number, shape[1:]).to(self.colour)[:, None]  # (B, 1, H, W)
        self.total = self.mask.sum((1, 2, 3))
        _require_some("colour_mask", self.total)

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        error = (self.mask[rows] * (images - self.colour[rows]).square()).sum((2, 3)).mean(1)
        return error / self.total[rows]


class _EdgeTerm:
    def __init__(self, space: LatentSpace, number: int, sketch: Tensor, mask: Tensor | None) -> None:
        shape = tuple(space.model.image_shape[1:])
        strokes = _rows_of("sketch", sketch, number, shape).to(space.model.device).float()[:, None]
        self.cell = cell_of(*shape)
        self.wanted = gradient_histograms(2 * strokes - 1, self.cell)
        where = (strokes > 0).float() if mask is None else _rows_of("sketch_mask", mask, number, shape)[:, None]
        self.mask = pool_cells(where.to(strokes), self.cell)  # (B, 1, H', W')
        self.total = self.mask.sum((1, 2, 3))
        _require_some("sketch" if mask is None else "sketch_mask", self.total)

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        error = (gradient_histograms(images, self.cell) - self.wanted[rows]).square()
        return EDGE_WEIGHT * (self.mask[rows] * error).sum((2, 3)).mean(1) / self.total[rows]


def warped(image: Tensor, region: Tensor | tuple[int, int, int, int], shift: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Constraints of the warp brush: a patch of a picture is to stand elsewhere; Zhu et al. 2016, section 4.2.

    `edit(model, z, colour=colour, colour_mask=mask, sketch=grey_of(colour), sketch_mask=mask)` asks for its colours
    and its edges.

    Args:
        image: In [-1, 1], (B, C, H, W).
        region: The patch: top, left, bottom and right in pixels, the last two outside of it; or a mask in [0, 1],
            (B or 1, H, W).
        shift: Pixels down and to the right.

    Returns:
        colour (B, C, H, W), the picture with the patch on it, and its mask (B, H, W). What leaves the picture is lost.

    Raises:
        ValueError: For a region that is empty or of another shape, or a patch that leaves the picture.
    """
    number, _, height, width = image.shape
    if isinstance(region, Tensor):
        mask = _rows_of("region", region, number, (height, width)).to(image)
    else:
        top, left, bottom, right = region
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise ValueError(
                f"region: got {tuple(region)}, allowed are top < bottom within 0 and {height}, and left < right within "
                f"0 and {width}"
            )
        mask = image.new_zeros(number, height, width)
        mask[:, top:bottom, left:right] = 1
    moved = _shifted(mask, shift)
    if not (mask.sum((1, 2)) > 0).all() or not (moved.sum((1, 2)) > 0).all():
        raise ValueError(f"shift: got {tuple(shift)}, allowed are those that leave some of the region in the picture")
    return torch.lerp(image, _shifted(image, shift), moved[:, None]), moved


def grey_of(image: Tensor) -> Tensor:
    """A picture as `edit`'s sketch: mean of its colours, [-1, 1] to [0, 1], (B, C, H, W) to (B, H, W)."""
    return (image.mean(1) + 1) / 2


def morph(model: Any, start: Tensor, end: Tensor, num_steps: int = 8, **condition: Any) -> Tensor:
    """Images on the straight line between latents, both ends included.

    Args:
        model: With latents.
        start: z0, (B, latent_dim).
        end: z1, (B, latent_dim).
        num_steps: Images on each path.
        **condition: See `LatentSpace`.

    Returns:
        (B, num_steps, *image_shape).

    Raises:
        ValueError: For fewer than two steps, or ends of different shapes.
    """
    if num_steps < 2:
        raise ValueError(f"num_steps: got {num_steps}, allowed is 2 or more")
    if start.ndim != 2 or start.shape != end.shape:
        raise ValueError(f"end: got shape {tuple(end.shape)}, allowed is that of start, {tuple(start.shape)}")
    shares = torch.linspace(0, 1, num_steps, device=start.device)[None, :, None]  # (1, steps, 1)
    path = lerp(start[:, None], end[:, None], shares)
    return LatentSpace(model, **condition).decode(path.flatten(0, 1)).detach().unflatten(0, path.shape[:2])


def transfer(original: Tensor, path_images: Tensor) -> Tensor:
    """Carry an edit over to the picture that it was made on, in full resolution; Zhu et al. 2016, section 4.3.

    Motion and change of colour between consecutive images of the path, which `estimate_flow` finds, are concatenated
    and applied to the picture: it keeps details that the generator cannot make.

    Args:
        original: In [-1, 1], (B, C, H', W').
        path_images: Of the generator, from before the edit to after it, (B, num_steps, C, H, W); see `morph`.

    Returns:
        (B, C, H', W').

    Raises:
        ValueError: If they do not belong together.
    """
    if path_images.ndim != 5 or path_images.shape[1] < 2 or len(path_images) != len(original):
        raise ValueError(
            f"path_images: got shape {tuple(path_images.shape)}, allowed is ({len(original)}, 2 or more, C, H, W)"
        )
    if original.ndim != 4 or original.shape[1] != path_images.shape[2]:
        raise ValueError(
            f"original: got shape {tuple(original.shape)}, allowed is ({len(path_images)}, {path_images.shape[2]}, "
            "H, W)"
        )
    steps = path_images.shape[1] - 1
    flows = estimate_flow(path_images[:, :-1].flatten(0, 1), path_images[:, 1:].flatten(0, 1))
    whole = [part.unflatten(0, (len(original), steps)) for part in flows]
    motion, colour = (part[:, 0] for part in whole)
    for step in range(1, steps):
        motion, colour = compose((motion, colour), (whole[0][:, step], whole[1][:, step]))
    return follow(original, motion, colour).clamp(-1, 1)


def _shifted(values: Tensor, shift: tuple[int, int]) -> Tensor:
    """Moved down and to the right; zeros come in."""
    height, width = values.shape[-2:]
    down, right = shift
    out = torch.zeros_like(values)
    if abs(down) < height and abs(right) < width:
        rows, columns = (slice(max(step, 0), side + min(step, 0)) for step, side in ((down, height), (right, width)))
        out[..., rows, columns] = values[
            ..., max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
        ]
    return out


def _rows_of(argument: str, values: Tensor, number: int, shape: tuple[int, ...]) -> Tensor:
    """Values of each row.

    Raises:
        ValueError: If they are neither for one row nor for each, or of another shape.
    """
    if tuple(values.shape[1:]) != shape or len(values) not in (1, number):
        allowed = ", ".join(map(str, shape))
        raise ValueError(f"{argument}: got shape {tuple(values.shape)}, allowed is ({number} or 1, {allowed})")
    return values.expand(number, *shape)


def _require_some(argument: str, totals: Tensor) -> None:
    if not (totals > 0).all():
        raise ValueError(f"{argument}: got nothing but zeros, allowed are masks and sketches with something on them")
