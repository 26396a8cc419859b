"""The networks of InfoGAN on MNIST (Chen et al. 2016, appendix C.1)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pl_genmodels.networks.base import Discriminator, Generator, require_picture, with_activations
from pl_genmodels.types import ImageShape


def quarter(network: str, image_shape: ImageShape) -> tuple[int, int, int]:
    """Channels, and a quarter of height and width.

    Raises:
        ValueError: If these are no whole numbers.
    """
    channels, height, width = require_picture(network, image_shape)
    if height % 4 or width % 4:
        raise ValueError(f"{network}: got images of {height}x{width}, allowed are sides that 4 divides")
    return channels, height // 4, width // 4


class InfoGANGenerator(Generator):
    """Two linear layers and two transposed 4x4 convolutions of stride 2, batch-normalised with ReLU; tanh at the end.

    At 28x28 with a latent of 74: 6,652,481 parameters.

    Args:
        image_shape: (C, H, W) with sides that 4 divides.
        latent_dim: Length of a latent, codes included.
        channels: Feature maps before the last layer; twice as many before that.
        hidden_dim: Units of the first layer.
    """

    def __init__(
        self, image_shape: ImageShape, latent_dim: int = 74, channels: int = 64, hidden_dim: int = 1024
    ) -> None:
        super().__init__(image_shape, latent_dim)
        colours, height, width = quarter("InfoGANGenerator", image_shape)
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, 2 * channels * height * width),
            nn.BatchNorm1d(2 * channels * height * width),
            nn.ReLU(),
            nn.Unflatten(1, (2 * channels, height, width)),
            nn.ConvTranspose2d(2 * channels, channels, 4, 2, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, colours, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(latent)


class InfoGANDiscriminator(Discriminator):
    """Two 4x4 convolutions of stride 2 and a linear layer with LeakyReLU, normalised but for the first; then a logit.

    At 28x28: 6,558,144 parameters before the logit's 1,025.

    Args:
        image_shape: (C, H, W) with sides that 4 divides.
        channels: Feature maps of the first layer; twice as many of the second.
        hidden_dim: Units of the linear layer.
        negative_slope: Of LeakyReLU: 0.1 in the paper, 0.01 in the authors' code.
    """

    gives_features = True

    def __init__(
        self, image_shape: ImageShape, channels: int = 64, hidden_dim: int = 1024, negative_slope: float = 0.1
    ) -> None:
        super().__init__(image_shape)
        colours, height, width = quarter("InfoGANDiscriminator", image_shape)
        self.layers = nn.Sequential(
            nn.Conv2d(colours, channels, 4, 2, 1),
            nn.LeakyReLU(negative_slope),
            nn.Conv2d(channels, 2 * channels, 4, 2, 1),
            nn.BatchNorm2d(2 * channels),
            nn.LeakyReLU(negative_slope),
            nn.Flatten(),
            nn.Linear(2 * channels * height * width, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.LeakyReLU(negative_slope),
            nn.Linear(hidden_dim, 1),
        )

    def forward(self, image: Tensor, with_features: bool = False) -> Any:  # noqa: D102
        if not with_features:
            return self.layers(image).squeeze(1)
        logits, features = with_activations(self.layers, image)
        return logits.squeeze(1), features
