"""The DCGAN networks at any power-of-two size (Radford et al. 2016).

Activations overwrite their input, which no backward pass needs: an eighth less memory, the same results.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pl_genmodels.networks.base import Discriminator, Encoder, Generator, with_activations
from pl_genmodels.networks.sizes import num_doublings
from pl_genmodels.types import ImageShape


def init_weights(module: nn.Module) -> None:
    """Weights N(0, 0.02), normalisation gains N(1, 0.02), biases 0, as in the authors' code."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


UPSAMPLINGS = ("transposed", "nearest")


class DCGANGenerator(Generator):
    """Transposed 4x4 convolutions of stride 2 with batch normalisation and ReLU from a 4x4 start; tanh at the end.

    At 64x64 RGB with the defaults it has 3,576,704 parameters. The paper's own kernels are 5x5; the 4x4 ones here,
    divisible by the stride, are those of the widespread PyTorch version.

    Args:
        image_shape: (C, H, W) with H = W a power of two of at least 8.
        latent_dim: Length of a latent.
        channels: Feature maps before the last layer; doubled at each coarser stage.
        upsampling: `transposed`, or `nearest` for nearest neighbours and 3x3 convolutions in place of the transposed
            ones, whose neighbouring pixels come from different weights: speckle, where pictures are flat (Odena,
            Dumoulin, Olah 2016, Deconvolution and checkerboard artifacts).

    Raises:
        ValueError: For a picture of another size, or another way of upsampling.
    """

    def __init__(
        self, image_shape: ImageShape, latent_dim: int = 100, channels: int = 64, upsampling: str = "transposed"
    ) -> None:
        super().__init__(image_shape, latent_dim)
        if upsampling not in UPSAMPLINGS:
            raise ValueError(f"upsampling: got {upsampling!r}, allowed are {', '.join(map(repr, UPSAMPLINGS))}")
        stages = num_doublings("DCGANGenerator", image_shape, smallest=8)
        width = channels * 2 ** (stages - 1)
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, width, 4, 1, 0, bias=False)]  # from 1x1 to 4x4
        for stage in range(stages):
            after = width // 2 if stage < stages - 1 else image_shape[0]
            layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True), *doubling(width, after, upsampling)]
            width = after
        self.layers = nn.Sequential(*layers, nn.Tanh()).apply(init_weights)

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(latent[:, :, None, None])


def doubling(width: int, after: int, upsampling: str) -> list[nn.Module]:
    """Layers from (B, width, H, W) to (B, after, 2 H, 2 W)."""
    if upsampling == "transposed":
        return [nn.ConvTranspose2d(width, after, 4, 2, 1, bias=False)]
    return [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(width, after, 3, 1, 1, bias=False)]


class DCGANDiscriminator(Discriminator):
    """4x4 convolutions of stride 2 with batch normalisation (not on the input layer) and LeakyReLU.

    At 64x64 RGB with the defaults it has 2,765,568 parameters.

    Args:
        image_shape: (C, H, W) with H = W a power of two of at least 8.
        channels: Feature maps after the first layer; doubled at each coarser stage.
        batch_norm: Off for penalties on the gradient and for spectral normalisation; convolutions then have biases.
    """

    gives_features = True

    def __init__(self, image_shape: ImageShape, channels: int = 64, batch_norm: bool = True) -> None:
        super().__init__(image_shape)
        self.layers = halving("DCGANDiscriminator", image_shape, channels, batch_norm, 1).apply(init_weights)

    def forward(self, image: Tensor, with_features: bool = False) -> Any:  # noqa: D102
        if not with_features:
            return self.layers(image).flatten()  # (B, 1, 1, 1) to (B,)
        logits, features = with_activations(self.layers, image)
        return logits.flatten(), features


class DCGANEncoder(Encoder):
    """The discriminator's layers with features in place of the logit, as encoders of a generator's samples have them.

    At 64x64 RGB with the defaults and 100 features it has 3,576,576 parameters.

    Args:
        image_shape: (C, H, W) with H = W a power of two of at least 8.
        num_features: Length of what it gives.
        channels: Feature maps after the first layer; doubled at each coarser stage.
    """

    def __init__(self, image_shape: ImageShape, num_features: int, channels: int = 64) -> None:
        super().__init__(image_shape, num_features)
        self.layers = halving("DCGANEncoder", image_shape, channels, True, num_features).apply(init_weights)

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image).flatten(1)


def halving(network: str, image_shape: ImageShape, channels: int, batch_norm: bool, outputs: int) -> nn.Sequential:
    """Layers of stride 2 down to 4x4, and one over all of it that gives (B, outputs, 1, 1)."""
    stages = num_doublings(network, image_shape, smallest=8)
    layers: list[nn.Module] = [nn.Conv2d(image_shape[0], channels, 4, 2, 1, bias=not batch_norm)]
    width = channels
    for _ in range(stages - 1):
        layers += [nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(width, 2 * width, 4, 2, 1, bias=not batch_norm)]
        width *= 2
        if batch_norm:
            layers.append(nn.BatchNorm2d(width))
    layers.append(nn.LeakyReLU(0.2, inplace=True))
    layers.append(nn.Conv2d(width, outputs, 4, 1, 0, bias=not batch_norm))
    return nn.Sequential(*layers)
