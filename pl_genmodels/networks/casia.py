"""CASIA-Net (Yi et al. 2014) and its mirror image, as DR-GAN has them (Tran, Yin, Liu 2017, table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from pl_genmodels.networks.base import Encoder, Generator, require_picture
from pl_genmodels.networks.dcgan import init_weights
from pl_genmodels.types import ImageShape

Stages = Sequence[Sequence[int]]
STAGES = ((32, 64), (64, 64, 128), (128, 96, 192), (192, 128, 256), (256, 160))
TOP = 320  # feature maps of the last layer, whose means are the features


def _stages(network: str, stages: Stages) -> list[list[int]]:
    """Feature maps of the layers of each resolution.

    Raises:
        ValueError: If there is no stage, or one without layers or with a layer without feature maps.
    """
    found = [list(stage) for stage in stages]
    if not found or any(not stage or min(stage) < 1 for stage in found):
        raise ValueError(f"{network}: got stages {found}, allowed are lists of positive numbers, one or more")
    return found


def _start(module: nn.Module) -> None:
    """Weights N(0, 0.02) of linear layers too."""
    init_weights(module)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)


class _Crop(nn.Module):
    """Without the last row and the last column, (B, C, H + 1, W + 1) to (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :-1, :-1]


class CASIAEncoder(Encoder):
    """3x3 convolutions with batch normalisation and ELU, and means of the last one's feature maps.

    A stage begins with a convolution of stride 2, but for the first one. Start: N(0, 0.02). With the defaults,
    RGB and 320 features: 2,861,984 parameters.

    Args:
        image_shape: (C, H, W) with sides that can be halved once less than there are stages.
        num_features: Length of what it gives: the feature maps of the last layer, or the outputs of `linear`.
        stages: Feature maps of the layers of each resolution; the last layer comes after these.
        linear: Feature maps of the last layer, if a linear layer makes the features out of their means, as in a
            discriminator; 0 for none.

    Raises:
        ValueError: For stages that are empty, or pictures that are too small.
    """

    def __init__(self, image_shape: ImageShape, num_features: int, stages: Stages = STAGES, linear: int = 0) -> None:
        super().__init__(image_shape, num_features)
        before, height, width = require_picture("CASIAEncoder", image_shape)
        found = _stages("CASIAEncoder", stages)
        if min(height, width) < 2 ** (len(found) - 1) or linear < 0:
            least = 2 ** (len(found) - 1)
            raise ValueError(
                f"CASIAEncoder: got images of {height}x{width} and linear={linear}, allowed are sides of {least} or "
                "more and 0 or more"
            )
        found[-1].append(linear or num_features)
        layers: list[nn.Module] = []
        for number, stage in enumerate(found):
            for place, after in enumerate(stage):
                halves = number > 0 and place == 0
                layers += [nn.ZeroPad2d((0, 1, 0, 1))] if halves else []
                layers.append(nn.Conv2d(before, after, 3, 2 if halves else 1, 0 if halves else 1, bias=False))
                layers += [nn.BatchNorm2d(after), nn.ELU()]
                before = after
        self.layers = nn.Sequential(*layers).apply(_start)
        self.last = nn.Linear(linear, num_features).apply(_start) if linear else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.last(self.layers(image).mean((2, 3)))


class CASIAGenerator(Generator):
    """The mirror image of `CASIAEncoder`: a linear layer to a small picture, 3x3 convolutions up; tanh at the end.

    Start: N(0, 0.02).

    Args:
        image_shape: (C, H, W) with sides that 2 divides once less often than there are stages.
        latent_dim: Length of its input.
        stages: Of the encoder.
        top: Feature maps of the small picture.

    Raises:
        ValueError: For stages that are empty, or sides that cannot be halved so often.
    """

    def __init__(self, image_shape: ImageShape, latent_dim: int = TOP, stages: Stages = STAGES, top: int = TOP) -> None:
        super().__init__(image_shape, latent_dim)
        channels, height, width = require_picture("CASIAGenerator", image_shape)
        found = _stages("CASIAGenerator", stages)
        times = 2 ** (len(found) - 1)
        if height % times or width % times:
            raise ValueError(f"CASIAGenerator: got images of {height}x{width}, allowed are multiples of {times}")
        small = (top, height // times, width // times)
        self.start = nn.Linear(latent_dim, top * small[1] * small[2]).apply(_start)
        mirrored = [stage[::-1] for stage in reversed(found)]
        widths = [top, *(after for stage in mirrored for after in stage)]
        doubling = {sum(map(len, mirrored[:number])) for number in range(1, len(mirrored))}  # each stage's first
        layers: list[nn.Module] = [nn.Unflatten(1, small)]
        for place, (before, after) in enumerate(pairwise(widths)):
            if place in doubling:
                layers += [nn.ConvTranspose2d(before, after, 3, 2, bias=False), _Crop()]
            else:
                layers.append(nn.ConvTranspose2d(before, after, 3, 1, 1, bias=False))
            layers += [nn.BatchNorm2d(after), nn.ELU()]
        layers += [nn.ConvTranspose2d(widths[-1], channels, 3, 1, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers).apply(_start)

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(self.start(latent))
