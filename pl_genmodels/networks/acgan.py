"""The networks of AC-GAN (Odena et al. 2017, appendix)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from pl_genmodels.networks.base import Discriminator, Generator, require_picture, with_activations
from pl_genmodels.networks.dcgan import init_weights
from pl_genmodels.types import ImageShape


class ACGANGenerator(Generator):
    """A linear layer to a small picture, then transposed 5x5 convolutions of stride 2 with ReLU; tanh at the end.

    Args:
        image_shape: (C, H, W) with sides that 2 divides as often as there are widths.
        latent_dim: Length of a latent, condition included.
        widths: Feature maps of the small picture and after each convolution but the last; all but the first
            normalised.

    Raises:
        ValueError: If the sides cannot be halved so often.
    """

    def __init__(self, image_shape: ImageShape, latent_dim: int = 110, widths: Sequence[int] = (384, 192, 96)) -> None:
        super().__init__(image_shape, latent_dim)
        channels, height, width = require_picture("ACGANGenerator", image_shape)
        times = 2 ** len(widths)
        if height % times or width % times:
            raise ValueError(f"ACGANGenerator: got images of {height}x{width}, allowed are multiples of {times}")
        small = (widths[0], height // times, width // times)
        layers: list[nn.Module] = [nn.Linear(latent_dim, small[0] * small[1] * small[2]), nn.ReLU()]
        layers.append(nn.Unflatten(1, small))
        for before, after in pairwise(widths):
            layers += [nn.ConvTranspose2d(before, after, 5, 2, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.ConvTranspose2d(widths[-1], channels, 5, 2, 2, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers).apply(init_weights)

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(latent)


class ACGANDiscriminator(Discriminator):
    """3x3 convolutions, every other one of stride 2, normalised but for the first, with LeakyReLU and dropout.

    Args:
        image_shape: (C, H, W), of any size.
        widths: Feature maps of the layers, from the first one of stride 2 on.
        dropout: Share of values after each layer that training sets to 0.
    """

    gives_features = True

    def __init__(
        self, image_shape: ImageShape, widths: Sequence[int] = (16, 32, 64, 128, 256, 512), dropout: float = 0.5
    ) -> None:
        super().__init__(image_shape)
        channels, height, width = require_picture("ACGANDiscriminator", image_shape)
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise((channels, *widths))):
            stride = 1 if index % 2 else 2
            layers.append(nn.Conv2d(before, after, 3, stride, 1))
            layers += [nn.BatchNorm2d(after)] if index else []
            layers += [nn.LeakyReLU(0.2), nn.Dropout(dropout)]
            height, width = -(-height // stride), -(-width // stride)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * height * width, 1))
        self.apply(init_weights)

    def forward(self, image: Tensor, with_features: bool = False) -> Any:  # noqa: D102
        if not with_features:
            return self.layers(image).squeeze(1)
        logits, features = with_activations(self.layers, image)
        return logits.squeeze(1), features
