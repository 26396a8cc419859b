"""How far an image is from everything that a model makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.editing.latent_space import LatentSpace
from pl_genmodels.editing.projection import descend, require_images, starts_for


@dataclass(frozen=True)
class Anomalies:
    """Scores of images and where they come from.

    Attributes:
        scores: The larger the stranger, (B,).
        residuals: |x - G(z)|, (B, *image_shape).
        images: The nearest that the model makes, G(z), (B, *image_shape).
        latents: z, (B, latent_dim).
    """

    scores: Tensor
    residuals: Tensor
    images: Tensor
    latents: Tensor


def anomaly_scores(
    model: Any,
    image: Tensor,
    *,
    discrimination_weight: float = 0.1,
    num_starts: int = 4,
    num_steps: int = 200,
    learning_rate: float = 0.1,
    seed: int = 0,
    **condition: Any,
) -> Anomalies:
    r"""$A(x) = \min_z (1 - \lambda) \sum |x - G(z)| + \lambda \sum |f(x) - f(G(z))|$; Schlegl et al. 2017, AnoGAN.

    Equations 1 to 6, with f the last hidden layer of the discriminator in evaluation mode; where the model has no
    discriminator of images alone that gives its layers, the first sum is all.

    Args:
        model: With latents.
        image: x, (B, *image_shape).
        discrimination_weight: Lambda, in [0, 1]; 0.1 is the authors'.
        num_starts: Random latents from which each image is searched; the authors' is 1.
        num_steps: Steps of the search from each.
        learning_rate: See `descend`.
        seed: Of the random latents.
        **condition: See `LatentSpace`.

    Raises:
        ValueError: For a weight outside of [0, 1], images of another shape or an argument out of range.
    """
    if not 0 <= discrimination_weight <= 1:
        raise ValueError(f"discrimination_weight: got {discrimination_weight}, allowed are values in [0, 1]")
    space = LatentSpace(model, **condition)
    image = require_images(space, image)
    features = space.features() if discrimination_weight else None
    share = 0.0 if features is None else discrimination_weight
    with torch.no_grad(), space.searched(), torch.no_grad():
        wanted = None if features is None else features(image)

    def loss(images: Tensor, latents: Tensor, rows: Tensor) -> Tensor:
        values = (1 - share) * (image[rows] - images).abs().flatten(1).sum(1)
        if features is None or wanted is None:
            return values
        return values + share * (wanted[rows] - features(images)).abs().flatten(1).sum(1)

    starts = starts_for(space, image, num_starts, "random", seed)
    found = descend(space, loss, starts, num_steps, learning_rate)
    return Anomalies(found.losses, (image - found.images).abs(), found.images, found.latents)
