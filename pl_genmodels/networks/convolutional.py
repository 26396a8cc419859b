"""Encoders and decoders of convolutions for sides of 8, 16, 32, ... or 14, 28, 56, ..., discriminators for any."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from pl_genmodels.networks.base import Decoder, Discriminator, Encoder, require_picture
from pl_genmodels.networks.mlp import activation_of
from pl_genmodels.types import ImageShape

COARSEST = (4, 7)  # sides at which a picture is flattened


def halvings(network: str, image_shape: ImageShape) -> tuple[int, int]:
    """How often a picture can be halved, and the side that is left, 4 or 7.

    Raises:
        ValueError: If it is not square, or its side is neither 4 nor 7 times 2, 4, 8, ...
    """
    _, height, width = require_picture(network, image_shape)
    for side in COARSEST:
        stages = (height // side).bit_length() - 1
        if height == width and stages >= 1 and height == side << stages:
            return stages, side
    raise ValueError(
        f"{network}: got images of {height}x{width}, allowed are squares of side 8, 16, 32, ... and 14, 28, 56, ..."
    )


class ConvEncoder(Encoder):
    """4x4 convolutions of stride 2 down to 4x4 or 7x7, a hidden layer, and a linear last one.

    At 28x28 with the defaults: 32 and 64 feature maps; at 32x32: 32, 64 and 128.

    Args:
        image_shape: (C, H, W) with H = W one of 8, 16, 32, ... or 14, 28, 56, ...
        num_features: Length of what it gives.
        channels: Feature maps of the first layer; doubled at each coarser one.
        hidden_dim: Units of the hidden layer.
        activation: `relu`, `leaky_relu`, `softplus` or `tanh`.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_features: int,
        channels: int = 32,
        hidden_dim: int = 256,
        activation: str = "relu",
    ) -> None:
        super().__init__(image_shape, num_features)
        stages, side = halvings("ConvEncoder", image_shape)
        activate = activation_of("ConvEncoder", activation)
        widths = [image_shape[0], *(channels * 2**stage for stage in range(stages))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, 2, 1), activate()]
        layers += [nn.Flatten(), nn.Linear(widths[-1] * side**2, hidden_dim), activate()]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden_dim, num_features))

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image)


class ConvDecoder(Decoder):
    """The mirror image of `ConvEncoder`: a hidden layer, 4x4 or 7x7 maps, transposed 4x4 convolutions of stride 2.

    Args:
        parameter_shape: (C, H, W) with H = W one of 8, 16, 32, ... or 14, 28, 56, ...
        latent_dim: Length of a latent.
        channels: Feature maps before the last layer; doubled at each coarser one.
        hidden_dim: Units of the hidden layer.
    """

    def __init__(self, parameter_shape: ImageShape, latent_dim: int, channels: int = 32, hidden_dim: int = 256) -> None:
        super().__init__(parameter_shape, latent_dim)
        stages, side = halvings("ConvDecoder", parameter_shape)
        widths = [*(channels * 2**stage for stage in reversed(range(stages))), parameter_shape[0]]
        layers: list[nn.Module] = [nn.Linear(latent_dim, hidden_dim), nn.ReLU()]
        layers += [nn.Linear(hidden_dim, widths[0] * side**2), nn.Unflatten(1, (widths[0], side, side))]
        for before, after in pairwise(widths):
            layers += [nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(latent)


class ConvDiscriminator(Discriminator):
    """3x3 convolutions of stride 2 with LeakyReLU and a linear layer, without normalisation (Royer et al. 2017).

    With the defaults on 64x64 RGB: 24,097 parameters.

    Args:
        image_shape: (C, H, W), of any size.
        widths: Feature maps of the layers.

    Raises:
        ValueError: If there is a layer without feature maps, or none at all.
    """

    def __init__(self, image_shape: ImageShape, widths: Sequence[int] = (16, 32, 32, 32)) -> None:
        super().__init__(image_shape)
        inputs, height, width = require_picture("ConvDiscriminator", image_shape)
        if not widths or min(widths) < 1:
            raise ValueError(f"widths: got {list(widths)}, allowed are one or more positive numbers")
        layers: list[nn.Module] = []
        for before, after in pairwise((inputs, *widths)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.LeakyReLU(0.2)]
            height, width = -(-height // 2), -(-width // 2)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * height * width, 1))

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image).squeeze(1)
