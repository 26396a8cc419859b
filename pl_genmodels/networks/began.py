"""BEGAN's encoder and decoder: ELU, no normalisation, nearest neighbours (Berthelot et al. 2017, figure 1)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from pl_genmodels.networks.base import Decoder, Encoder, require_picture
from pl_genmodels.types import ImageShape

COARSEST = 8  # the side at which a picture is flattened


def stages(network: str, image_shape: ImageShape) -> int:
    """Sizes that a picture passes from its own down to 8x8.

    Raises:
        ValueError: If it is not a square of side 8, 16, 32, ...
    """
    _, height, width = require_picture(network, image_shape)
    number = (height // COARSEST).bit_length()
    if height != width or number < 1 or height != COARSEST << (number - 1):
        raise ValueError(f"{network}: got images of {height}x{width}, allowed are squares of side 8, 16, 32, ...")
    return number


class BEGANEncoder(Encoder):
    """3x3 convolutions with ELU, two at each size, as many more feature maps at each; linear at the end.

    Args:
        image_shape: (C, H, W) with H = W one of 8, 16, 32, ...
        num_features: Length of a code.
        channels: The paper's n: feature maps at the first size, twice as many at the second, and so on.
    """

    def __init__(self, image_shape: ImageShape, num_features: int, channels: int = 64) -> None:
        super().__init__(image_shape, num_features)
        layers: list[nn.Module] = [nn.Conv2d(image_shape[0], channels, 3, 1, 1), nn.ELU()]
        width, number = channels, stages("BEGANEncoder", image_shape)
        for stage in range(1, number + 1):
            layers += [nn.Conv2d(width, width, 3, 1, 1), nn.ELU()]
            after = channels * stage if stage == number else channels * (stage + 1)
            stride = 1 if stage == number else 2
            layers += [nn.Conv2d(width, after, 3, stride, 1), nn.ELU()]
            width = after
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * COARSEST**2, num_features))

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image)


class BEGANDecoder(Decoder):
    """A linear layer to 8x8, then 3x3 convolutions with ELU, two at each size, and nearest neighbours between sizes.

    `DecoderGenerator` makes the paper's generator of it.

    Args:
        parameter_shape: (C, H, W) with H = W one of 8, 16, 32, ...
        latent_dim: Length of a latent or code.
        channels: Feature maps of every layer.
    """

    def __init__(self, parameter_shape: ImageShape, latent_dim: int, channels: int = 64) -> None:
        super().__init__(parameter_shape, latent_dim)
        number = stages("BEGANDecoder", parameter_shape)
        shape = (channels, COARSEST, COARSEST)
        layers: list[nn.Module] = [nn.Linear(latent_dim, math.prod(shape)), nn.Unflatten(1, shape)]
        for stage in range(number):
            layers += [] if stage == 0 else [nn.Upsample(scale_factor=2, mode="nearest")]
            for _ in range(2):
                layers += [nn.Conv2d(channels, channels, 3, 1, 1), nn.ELU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, parameter_shape[0], 3, 1, 1))

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(latent)
