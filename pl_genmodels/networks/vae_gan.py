"""VAE-GAN's networks: 5x5 convolutions, three of stride 2 (Larsen et al. 2016, the authors' code)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from pl_genmodels.networks.base import Discriminator, Encoder, Generator, require_picture
from pl_genmodels.types import ImageShape

STAGES = 3


def coarsest(network: str, image_shape: ImageShape, widths: Sequence[int], count: int) -> tuple[int, int, int]:
    """Channels of a picture, and its height and width after three halvings.

    Raises:
        ValueError: If it cannot be halved so often, or there are not so many widths.
    """
    channels, height, width = require_picture(network, image_shape)
    if height % 2**STAGES or width % 2**STAGES:
        raise ValueError(f"{network}: got images of {height}x{width}, allowed are sides that 8 divides")
    if len(widths) != count or min(widths) < 1:
        raise ValueError(f"widths: got {list(widths)}, allowed for {network} are {count} positive numbers")
    return channels, height // 2**STAGES, width // 2**STAGES


def halving(before: int, after: int) -> nn.Conv2d:
    """A 5x5 convolution of stride 2 for batch normalisation to follow."""
    return nn.Conv2d(before, after, 5, 2, 2, bias=False)


class VAEGANEncoder(Encoder):
    """5x5 convolutions of stride 2 and a hidden layer, each with batch normalisation and ReLU.

    Args:
        image_shape: (C, H, W) with sides that 8 divides.
        num_features: Length of what it gives.
        widths: Feature maps of the three convolutions.
        hidden_dim: Units of the hidden layer.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_features: int,
        widths: Sequence[int] = (64, 128, 256),
        hidden_dim: int = 1024,
    ) -> None:
        super().__init__(image_shape, num_features)
        channels, height, width = coarsest("VAEGANEncoder", image_shape, widths, STAGES)
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, *widths)):
            layers += [halving(before, after), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(widths[-1] * height * width, hidden_dim, bias=False)]
        layers += [nn.BatchNorm1d(hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, num_features)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image)


class VAEGANGenerator(Generator):
    """A linear layer and transposed 5x5 convolutions of stride 2 with batch normalisation and ReLU; tanh at the end.

    Args:
        image_shape: (C, H, W) with sides that 8 divides.
        latent_dim: Length of a latent.
        widths: Feature maps of the linear layer and of the three convolutions; a fourth one makes the picture.
    """

    def __init__(
        self, image_shape: ImageShape, latent_dim: int = 128, widths: Sequence[int] = (256, 256, 128, 32)
    ) -> None:
        super().__init__(image_shape, latent_dim)
        channels, height, width = coarsest("VAEGANGenerator", image_shape, widths, STAGES + 1)
        units = widths[0] * height * width
        layers: list[nn.Module] = [nn.Linear(latent_dim, units, bias=False), nn.BatchNorm1d(units), nn.ReLU()]
        layers.append(nn.Unflatten(1, (widths[0], height, width)))
        for before, after in pairwise(widths):
            layers.append(nn.ConvTranspose2d(before, after, 5, 2, 2, output_padding=1, bias=False))
            layers += [nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 5, 1, 2), nn.Tanh())

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(latent)


class VAEGANDiscriminator(Discriminator):
    """A 5x5 convolution, three of stride 2, and a hidden layer; batch normalisation on all but the first, and ReLU.

    Its one layer of features is what the third convolution of stride 2 gives, before normalisation.

    Args:
        image_shape: (C, H, W) with sides that 8 divides.
        widths: Feature maps of the four convolutions.
        hidden_dim: Units of the hidden layer.
    """

    gives_features = True

    def __init__(
        self, image_shape: ImageShape, widths: Sequence[int] = (32, 128, 256, 256), hidden_dim: int = 512
    ) -> None:
        super().__init__(image_shape)
        channels, height, width = coarsest("VAEGANDiscriminator", image_shape, widths, STAGES + 1)
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 5, 1, 2), nn.ReLU()]
        for before, after in pairwise(widths[:-1]):
            layers += [halving(before, after), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, halving(widths[-2], widths[-1]))
        self.last = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(widths[-1] * height * width, hidden_dim, bias=False),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, 1),
        )

    def forward(self, image: Tensor, with_features: bool = False) -> Any:  # noqa: D102
        features = self.layers(image)
        logits = self.last(features).squeeze(1)
        return (logits, [features]) if with_features else logits
