"""A convolutional generator without transposed convolutions and without zero gradients (Chintala et al. 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from pl_genmodels.networks.base import Generator
from pl_genmodels.networks.dcgan import init_weights
from pl_genmodels.networks.sizes import num_doublings
from pl_genmodels.types import ImageShape


class PixelShuffleGenerator(Generator):
    """3x3 convolutions whose channels become pixels, with batch normalisation and LeakyReLU; tanh at the end.

    Each doubling of the size is one convolution of four times the feature maps and a pixel shuffle (Shi et al. 2016).
    Chintala et al. 2016 (ganhacks), item 5.

    Args:
        image_shape: (C, H, W) with H = W a power of two of at least 8.
        latent_dim: Length of a latent.
        channels: Feature maps before the last layer; doubled at each coarser stage.
    """

    def __init__(self, image_shape: ImageShape, latent_dim: int = 100, channels: int = 64) -> None:
        super().__init__(image_shape, latent_dim)
        stages = num_doublings("PixelShuffleGenerator", image_shape, smallest=8)
        width = channels * 2 ** (stages - 1)
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, width, 4, 1, 0, bias=False)]  # from 1x1 to 4x4
        for stage in range(stages):
            after = width // 2 if stage < stages - 1 else image_shape[0]
            layers += [nn.BatchNorm2d(width), nn.LeakyReLU(0.2, inplace=True)]
            layers += [nn.Conv2d(width, 4 * after, 3, 1, 1, bias=False), nn.PixelShuffle(2)]
            width = after
        self.layers = nn.Sequential(*layers, nn.Tanh()).apply(init_weights)

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(latent[:, :, None, None])
