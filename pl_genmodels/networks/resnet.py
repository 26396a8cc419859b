"""The residual networks of WGAN-GP and SNGAN at any power-of-two size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.layers.residual import InputDownBlock, ResidualBlock, glorot_uniform_
from pl_genmodels.networks.base import Discriminator, Generator
from pl_genmodels.networks.sizes import num_doublings
from pl_genmodels.types import ImageShape

POOLINGS = ("mean", "sum")


class ResNetGenerator(Generator):
    """A 4x4 start, one residual block a doubling, batch normalisation, ReLU, a 3x3 convolution and tanh.

    At 32x32 RGB: the CIFAR-10 generator of Gulrajani et al. 2017 with 128 channels (1,204,483 parameters) and that of
    Miyato et al. 2018 with 256 (4,276,739). Weights are Glorot uniform, with gain sqrt(2) in the
    residual branches and 1 in the shortcuts, the first and the last layer; every stage has the same width.

    Args:
        image_shape: (C, H, W) with H = W a power of two of at least 16.
        latent_dim: Length of a latent.
        channels: Width of every stage: 128 for WGAN-GP, 256 for SNGAN.
    """

    def __init__(self, image_shape: ImageShape, latent_dim: int = 128, channels: int = 128) -> None:
        super().__init__(image_shape, latent_dim)
        doublings = num_doublings("ResNetGenerator", image_shape, smallest=16)
        self.start = glorot_uniform_(nn.Linear(latent_dim, channels * 4 * 4))
        self.blocks = nn.Sequential(*(ResidualBlock(channels, channels, "up", True) for _ in range(doublings)))
        self.norm = nn.BatchNorm2d(channels)
        self.end = glorot_uniform_(nn.Conv2d(channels, image_shape[0], 3, padding=1))

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        features = self.start(latent).unflatten(1, (-1, 4, 4))  # (B, channels, 4, 4)
        return self.end(F.relu(self.norm(self.blocks(features)))).tanh()


class ResNetDiscriminator(Discriminator):
    """Halving residual blocks down to 8x8, two plain ones, ReLU, pooling and a linear layer; no normalisation.

    At 32x32 RGB with 128 channels: the critic of Gulrajani et al. 2017 (`pooling="mean"`, 1,053,825 parameters) and
    the discriminator of Miyato et al. 2018 (`pooling="sum"`, `output_bias=False`, to be constrained by
    `SpectralNorm`). Weights as in `ResNetGenerator`.

    Args:
        image_shape: (C, H, W) with H = W a power of two of at least 16.
        channels: Width of every stage.
        pooling: Over the last 8x8 features, `mean` for WGAN-GP or `sum` for SNGAN.
        output_bias: Give the last linear layer a bias.

    Raises:
        ValueError: If `pooling` is neither.
    """

    def __init__(
        self, image_shape: ImageShape, channels: int = 128, pooling: str = "mean", output_bias: bool = True
    ) -> None:
        super().__init__(image_shape)
        if pooling not in POOLINGS:
            raise ValueError(f"pooling: got {pooling!r}, allowed are {', '.join(map(repr, POOLINGS))}")
        self.pooling = pooling
        halvings = num_doublings("ResNetDiscriminator", image_shape, smallest=16) - 1
        self.blocks = nn.Sequential(
            InputDownBlock(image_shape[0], channels),
            *(ResidualBlock(channels, channels, "down") for _ in range(halvings - 1)),
            ResidualBlock(channels, channels),
            ResidualBlock(channels, channels),
        )
        self.end = glorot_uniform_(nn.Linear(channels, 1, bias=output_bias))

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        features = F.relu(self.blocks(image))  # (B, channels, 8, 8)
        pooled = features.mean((2, 3)) if self.pooling == "mean" else features.sum((2, 3))
        return self.end(pooled).squeeze(1)
