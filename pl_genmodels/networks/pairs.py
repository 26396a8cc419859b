"""Networks of GANs that infer: encoders that draw, and discriminators of samples with latents."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from pl_genmodels.networks.base import Encoder
from pl_genmodels.networks.conditional import ConditionalDiscriminator
from pl_genmodels.networks.mlp import MLPEncoder
from pl_genmodels.types import ImageShape


class NormalEncoder(Encoder):
    """Draws from a normal law whose mean and log deviations another encoder gives, in training and evaluation.

    Args:
        image_shape: Shape of one sample.
        num_features: Length of what it draws.
        encoder: Called with the image shape and twice that.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_features: int,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
    ) -> None:
        super().__init__(image_shape, num_features)
        self.of_law = encoder(self.image_shape, 2 * num_features)

    def law(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log deviations, (B, num_features) each."""
        mean, log_deviation = self.of_law(image).chunk(2, 1)
        return mean, log_deviation

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        mean, log_deviation = self.law(image)
        return mean + log_deviation.exp() * torch.randn_like(mean)

    def centre(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.law(image)[0]


class PairDiscriminator(ConditionalDiscriminator):
    """Linear layers with LeakyReLU, each of which sees the latent again, as in BiGAN's code for MNIST.

    Args:
        image_shape: Shape of one sample.
        condition_dim: Length of a latent.
        hidden_dim: Units of each hidden layer.
        num_layers: Number of hidden layers.
        batch_norm: Normalise the hidden layers over the batch, the pairs of either kind by themselves; no penalty on
            gradients goes with it.
        negative_slope: Of LeakyReLU.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        condition_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 2,
        batch_norm: bool = False,
        negative_slope: float = 0.2,
    ) -> None:
        super().__init__(image_shape, condition_dim)
        widths = [math.prod(self.image_shape)] + [hidden_dim] * num_layers
        self.hidden = nn.ModuleList(
            nn.Sequential(
                nn.Linear(before + condition_dim, after),
                *([nn.BatchNorm1d(after)] if batch_norm else []),
                nn.LeakyReLU(negative_slope),
            )
            for before, after in pairwise(widths)
        )
        self.last = nn.Linear(widths[-1] + condition_dim, 1)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:  # noqa: D102
        features, condition = image.flatten(1), condition.to(image.dtype)
        for layer in self.hidden:
            features = layer(torch.cat([features, condition], 1))
        return self.last(torch.cat([features, condition], 1)).squeeze(1)
