"""The networks of R3GAN (Huang et al. 2024): residual blocks without normalisation, at any size 4 * 2^k."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pl_genmodels.layers.resample import FIRDownsample, FIRUpsample
from pl_genmodels.layers.residual import FixupBottleneck, scaled_normal_
from pl_genmodels.networks.base import Discriminator, Generator
from pl_genmodels.networks.sizes import num_doublings
from pl_genmodels.types import ImageShape


def per_stage(name: str, value: int | list[int], num_stages: int) -> list[int]:
    """One positive number for every stage.

    Raises:
        ValueError: If a list has another length, or a number is not positive.
    """
    values = [value] * num_stages if isinstance(value, int) else list(value)
    if len(values) != num_stages or min(values) < 1:
        raise ValueError(f"{name}: got {value}, allowed is 1 or more, or a list of such for {num_stages} stages")
    return values


def require_positive(**values: int) -> None:
    """Check arguments that count something.

    Raises:
        ValueError: If one of them is not positive.
    """
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name}: got {value}, allowed is 1 or more")


def conv1x1(in_channels: int, out_channels: int) -> nn.Module:
    """A 1x1 convolution without bias that keeps the variance."""
    layer = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    scaled_normal_(layer.weight)
    return layer


def change_width(in_channels: int, out_channels: int) -> list[nn.Module]:
    """A 1x1 convolution where the width changes, otherwise nothing."""
    return [] if in_channels == out_channels else [conv1x1(in_channels, out_channels)]


class R3GANGenerator(Generator):
    """A learned 4x4 basis scaled by a linear map of z, then residual blocks and linear up-sampling; no tanh.

    Every stage is `blocks_per_stage` times `FixupBottleneck`; between stages a 1x1 convolution where the width changes
    and then `FIRUpsample`; a last 1x1 convolution makes the channels of the picture. The defaults are those of the
    paper's CIFAR-10 networks: at 32x32, 4 stages of 768 channels and 2 blocks, 20,732,160 parameters.

    Start: the basis is N(0, 1); linear and 1x1 layers are N(0, 1 / fan_in); the first two convolutions of a block are
    N(0, g^2 / fan_in), g = sqrt(2 / 1.04) L^(-1/4), where L is the number of blocks in the network; the last one is 0,
    so that the network starts linear in z. Only the activations have biases. The output is not bounded.

    Departs from the authors' code: no class embedding, and precision is the Trainer's matter.

    Args:
        image_shape: (C, H, W) with H = W = 4 * 2^k.
        latent_dim: Length of a latent.
        channels: Width of all stages, or a list from the 4x4 stage to the finest.
        blocks_per_stage: Residual blocks of each stage.
        cardinality: Groups of the 3x3 convolutions in all stages, or a list from the 4x4 stage to the finest.
        expansion: Width inside a block as a multiple of the stage's.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int = 64,
        channels: int | list[int] = 768,
        blocks_per_stage: int = 2,
        cardinality: int | list[int] = 96,
        expansion: int = 2,
    ) -> None:
        super().__init__(image_shape, latent_dim)
        require_positive(blocks_per_stage=blocks_per_stage, expansion=expansion)
        stages = num_doublings("R3GANGenerator", image_shape, smallest=4) + 1
        widths, groups = per_stage("channels", channels, stages), per_stage("cardinality", cardinality, stages)
        self.basis = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.start = nn.Linear(latent_dim, widths[0], bias=False)
        scaled_normal_(self.start.weight)
        layers: list[nn.Module] = []
        for stage in range(stages):
            if stage:
                layers += [*change_width(widths[stage - 1], widths[stage]), FIRUpsample()]
            for _ in range(blocks_per_stage):
                layers.append(FixupBottleneck(widths[stage], groups[stage], expansion, stages * blocks_per_stage))
        self.layers = nn.Sequential(*layers, conv1x1(widths[-1], image_shape[0]))

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(self.basis * self.start(latent)[:, :, None, None])  # (B, channels, 4, 4) inside


class R3GANDiscriminator(Discriminator):
    """The generator in reverse: residual blocks, linear down-sampling, a 4x4 depthwise convolution and a linear map.

    A first 1x1 convolution takes the picture to the finest stage's width; after each stage comes `FIRDownsample` and
    then a 1x1 convolution where the width changes. The start is the generator's, so it begins as a linear function of
    the picture. Only the activations have biases; the logit has none.

    Args:
        image_shape: (C, H, W) with H = W = 4 * 2^k.
        channels: Width of all stages, or a list from the 4x4 stage to the finest: the generator's list serves as it is.
        blocks_per_stage: Residual blocks of each stage.
        cardinality: Groups of the 3x3 convolutions in all stages, or a list from the 4x4 stage to the finest.
        expansion: Width inside a block as a multiple of the stage's.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        channels: int | list[int] = 768,
        blocks_per_stage: int = 2,
        cardinality: int | list[int] = 96,
        expansion: int = 2,
    ) -> None:
        super().__init__(image_shape)
        require_positive(blocks_per_stage=blocks_per_stage, expansion=expansion)
        stages = num_doublings("R3GANDiscriminator", image_shape, smallest=4) + 1
        widths, groups = per_stage("channels", channels, stages), per_stage("cardinality", cardinality, stages)
        layers: list[nn.Module] = [conv1x1(image_shape[0], widths[-1])]
        for stage in reversed(range(stages)):
            for _ in range(blocks_per_stage):
                layers.append(FixupBottleneck(widths[stage], groups[stage], expansion, stages * blocks_per_stage))
            if stage:
                layers += [FIRDownsample(), *change_width(widths[stage], widths[stage - 1])]
        basis = nn.Conv2d(widths[0], widths[0], 4, groups=widths[0], bias=False)
        self.end = nn.Linear(widths[0], 1, bias=False)
        scaled_normal_(basis.weight)
        scaled_normal_(self.end.weight)
        self.layers = nn.Sequential(*layers, basis, nn.Flatten())

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.end(self.layers(image)).squeeze(1)  # (B, channels) to (B,)
