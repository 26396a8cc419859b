"""A network that says at once where a search for an image's latents had better begin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.editing.latent_space import LatentSpace
from pl_genmodels.editing.projection import require_images
from pl_genmodels.models.optimizers import GANAdam


class Projector(nn.Module):
    """P: images to latents within a model's limits; see `fit_projector`.

    Args:
        encoder: Images to a number for each coordinate.
        limits: Lowest and highest latents, (latent_dim,) each.
    """

    low: Tensor
    high: Tensor

    def __init__(self, encoder: nn.Module, limits: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("low", limits[0])
        self.register_buffer("high", limits[1])

    def forward(self, image: Tensor) -> Tensor:
        """Latents, (B, *image_shape) to (B, latent_dim)."""
        return torch.lerp(self.low, self.high, torch.sigmoid(self.encoder(image)))


def fit_projector(
    model: Any,
    images: Tensor,
    encoder: Callable[[tuple[int, ...], int], nn.Module],
    *,
    num_steps: int = 1000,
    batch_size: int = 128,
    learning_rate: float = 2e-4,
    weight_decay: float = 1e-5,
    seed: int = 0,
    **condition: Any,
) -> Projector:
    r"""Learn $\min_\theta E |G(P_\theta(x)) - x|^2$ for a trained generator G; Zhu et al. 2016, equation 4.

    Its errors are those of pictures, not of latents: two latents far from each other may be one picture. As `start` of
    `project` it gives the paper's hybrid.

    Args:
        model: With latents.
        images: Those to learn from, of the model's shape, (N, *image_shape).
        encoder: Called with the image shape and the length of a latent, such as `MLPEncoder`.
        num_steps: Steps of Adam.
        batch_size: Images in each; the authors' is 128.
        learning_rate: The authors' is 2e-4.
        weight_decay: The authors' is 1e-5.
        seed: Of the encoder's weights and the batches.
        **condition: See `LatentSpace`.

    Returns:
        In evaluation mode.

    Raises:
        ValueError: For images of another shape, or numbers below 1.
    """
    for name, value in (("num_steps", num_steps), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, allowed is 1 or more")
    space = LatentSpace(model, **condition)
    images = require_images(space, images)
    limits = space.limits()
    draws = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU
        torch.default_generator.manual_seed(seed)
        projector = Projector(encoder(tuple(model.image_shape), len(limits[0])), limits).to(images.device)
    optimizer = GANAdam(projector.parameters(), lr=learning_rate, weight_decay=weight_decay)
    with space.searched():
        for _ in range(num_steps):
            places = torch.randint(len(images), (batch_size,), generator=draws)
            batch = images[places.to(images.device, non_blocking=True)]
            loss = (space.decode(projector(batch)) - batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return projector.eval().requires_grad_(False)
