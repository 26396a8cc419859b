"""Nearest neighbours of samples among real images: does a model know its training images by heart?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 256  # real images whose distances to all queries are held at once


@dataclass(frozen=True)
class Neighbours:
    """The nearest real images of each query, nearest first; of equally near ones the earlier.

    Attributes:
        distances: Euclidean, (Q, n).
        indices: Places among the real images, (Q, n).
        images: (Q, n, *image_shape).
    """

    distances: Tensor
    indices: Tensor
    images: Tensor


def nearest_neighbours(
    queries: Tensor,
    real: Iterable[Tensor],
    num_neighbours: int = 5,
    features: Callable[[Tensor], Tensor] | None = None,
) -> Neighbours:
    """Search all real images, exactly, holding a few of them at a time.

    Memory grows with queries and neighbours, not with the number of real images.

    Args:
        queries: (Q, *image_shape).
        real: Batches of images, (B, *image_shape) each, read once.
        num_neighbours: How many of each query.
        features: Maps images (B, *image_shape) to the (B, d) in which distances are taken; pixels by default.

    Raises:
        ValueError: For a number below 1 or above that of the real images, or images of another shape.
    """
    if num_neighbours < 1:
        raise ValueError(f"num_neighbours: got {num_neighbours}, allowed is 1 or more")
    asked, shape = _vectors(queries, features), tuple(queries.shape[1:])
    here = torch.arange(len(asked))[:, None]
    found = Neighbours(
        torch.full((len(asked), num_neighbours), torch.inf),
        torch.full((len(asked), num_neighbours), -1),
        torch.zeros(len(asked), num_neighbours, *shape),
    )
    seen = 0
    for part in (part for batch in real for part in batch.split(ROWS)):
        if tuple(part.shape[1:]) != shape:
            raise ValueError(f"real: got shape {tuple(part.shape[1:])}, allowed is that of the queries, {shape}")
        # not as |a|^2 - 2ab + |b|^2, which cancels where a sample equals a real image
        new = torch.cdist(asked, _vectors(part, features), compute_mode="donot_use_mm_for_euclid_dist")
        distances, order = torch.cat([found.distances, new], 1).sort(dim=1, stable=True)
        order = order[:, :num_neighbours]
        kept, fresh = order.clamp(max=num_neighbours - 1), (order - num_neighbours).clamp(min=0)
        old = order < num_neighbours
        images = found.images[here, kept]
        images[~old] = part.cpu().float()[fresh[~old]]
        places = torch.where(old, found.indices[here, kept], seen + fresh)
        found = Neighbours(distances[:, :num_neighbours], places, images)
        seen += len(part)
    if seen < num_neighbours:
        raise ValueError(f"num_neighbours: got {num_neighbours}, allowed is 1 to {seen}, the number of real images")
    return found


def _vectors(images: Tensor, features: Callable[[Tensor], Tensor] | None) -> Tensor:
    with torch.no_grad():
        return (images if features is None else features(images)).flatten(1).float().cpu()
