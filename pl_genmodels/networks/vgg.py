"""The shape of VGG for discriminators (Simonyan, Zisserman 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from pl_genmodels.networks.base import Discriminator, require_picture
from pl_genmodels.networks.dcgan import init_weights
from pl_genmodels.types import ImageShape


class VGGDiscriminator(Discriminator):
    """Blocks of 3x3 convolutions and a maximum over 2x2 pixels each, and a linear layer on what is left.

    Batch normalisation and LeakyReLU behind every convolution. With the defaults it is configuration A of VGG without
    its fully connected layers, as Denton, Gross and Fergus 2016 have it. Start: N(0, 0.02).

    Args:
        image_shape: (C, H, W) with sides that can be halved, rounding down, as often as there are blocks.
        widths: Feature maps of each block.
        depths: Convolutions of each block.

    Raises:
        ValueError: For lists of different lengths, numbers that are not positive, or sides that are too small.
    """

    gives_features = True

    def __init__(
        self,
        image_shape: ImageShape,
        widths: Sequence[int] = (64, 128, 256, 512, 512),
        depths: Sequence[int] = (1, 1, 2, 2, 2),
    ) -> None:
        super().__init__(image_shape)
        before, height, width = require_picture("VGGDiscriminator", image_shape)
        for name, values in (("widths", widths), ("depths", depths)):
            if not values or min(values) < 1:
                raise ValueError(f"{name}: got {list(values)}, allowed are one or more positive numbers")
        if len(widths) != len(depths):
            raise ValueError(f"depths: got {list(depths)}, allowed is a number for each of {len(widths)} widths")
        if min(height, width) < 2 ** len(widths):
            raise ValueError(f"VGGDiscriminator: got images of {height}x{width}, allowed is {2 ** len(widths)} or more")
        blocks = []
        for after, depth in zip(widths, depths, strict=True):
            layers: list[nn.Module] = []
            for _ in range(depth):
                layers += [nn.Conv2d(before, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
                before = after
            blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
            height, width = height // 2, width // 2
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(before * height * width, 1)
        self.apply(init_weights)

    def forward(self, image: Tensor, with_features: bool = False) -> Any:
        """Logits, and asked for them what each block gives; see `Discriminator`."""
        features = []
        for block in self.blocks:
            image = block(image)
            features.append(image)
        logits = self.last(image.flatten(1)).squeeze(1)
        return (logits, features) if with_features else logits
