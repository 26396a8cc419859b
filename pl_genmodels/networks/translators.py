"""Generators of image translation: the residual network and the U-Net, with the authors' shapes and layer order.

Modules are registered in the order of the authors' PyTorch code, and both kinds of names differ only in `model` and
`conv_block`, which are `layers` here.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from pl_genmodels.layers.noise import NoiseDropout
from pl_genmodels.layers.norm import norm_layers
from pl_genmodels.networks.base import Translator, require_same_sides
from pl_genmodels.networks.dcgan import init_weights
from pl_genmodels.types import ImageShape


class _ResidualBlock(nn.Module):
    """Two reflected 3x3 convolutions around a ReLU, added to their input; no ReLU after the sum."""

    def __init__(self, channels: int, norm: str, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for half in range(2):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=norm != "batch")]
            layers += norm_layers(norm, channels, at_hand=True)
            if half == 0:
                layers += [nn.ReLU(), *([NoiseDropout(dropout)] if dropout else [])]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features)


class ResNetTranslator(Translator):
    """Two halvings, residual blocks, two doublings (Johnson et al. 2016, as Zhu et al. 2017 set it).

    Reflected 7x7 convolutions at both ends, tanh. With the defaults on RGB: 11,378,179 parameters with 9 blocks (for
    256x256), 7,837,699 with 6 (for 128x128). Start: N(0, 0.02).

    Args:
        source_shape: Shape of one input, (C, H, W).
        target_shape: Shape of one output, of the same height and width.
        channels: Feature maps of the first layer, doubled at each halving.
        num_blocks: Residual blocks.
        num_halvings: Convolutions of stride 2.
        norm: `instance`, `batch` (by the statistics of the batch at hand, in evaluation of each picture) or `none`.
        dropout: In every residual block, on in evaluation too; 0 for none.

    Raises:
        ValueError: For counts that are not positive (blocks and halvings: negative) or shapes of different sizes.
    """

    def __init__(
        self,
        source_shape: ImageShape,
        target_shape: ImageShape,
        channels: int = 64,
        num_blocks: int = 9,
        num_halvings: int = 2,
        norm: str = "instance",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(source_shape, target_shape)
        inputs, outputs = require_same_sides("ResNetTranslator", source_shape, target_shape)
        for name, value, least in (
            ("channels", channels, 1),
            ("num_blocks", num_blocks, 0),
            ("num_halvings", num_halvings, 0),
        ):
            if value < least:
                raise ValueError(f"{name}: got {value}, allowed is {least} or more")
        bias = norm != "batch"

        def normed(width: int) -> list[nn.Module]:
            return [*norm_layers(norm, width, at_hand=True), nn.ReLU()]

        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, channels, 7, bias=bias), *normed(channels)]
        width = channels
        for _ in range(num_halvings):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1, bias=bias), *normed(2 * width)]
            width *= 2
        layers += [_ResidualBlock(width, norm, dropout) for _ in range(num_blocks)]
        for _ in range(num_halvings):
            layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1, bias=bias), *normed(width // 2)]
            width //= 2
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers).apply(init_weights)
        self.multiple = 2**num_halvings

    def convert(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image)


class EncoderDecoderTranslator(Translator):
    """4x4 convolutions of stride 2 down and up again, with batch normalisation (Kim et al. 2017, section 3.1).

    With the defaults on RGB: 5,513,856 parameters, and 7,153,480 with a bottleneck of 100 features. No biases; no
    normalisation at the end; tanh. Start: N(0, 0.02).

    Args:
        source_shape: Shape of one input, (C, H, W).
        target_shape: Shape of one output, of the same height and width.
        channels: Feature maps of the first layer, doubled at each of the next.
        num_halvings: Convolutions of stride 2.
        bottleneck: Features of every 4x4 window at the bottom, for 64x64 those of the whole picture; 0 for none.
        negative_slope: Of LeakyReLU on the way down; 0 for ReLU.
        normalise_first: Whether the first layer is normalised too.

    Raises:
        ValueError: For fewer than 2 halvings, channels that are not positive, a negative bottleneck or one that
            pictures are too small for, or shapes of different sizes.
    """

    def __init__(
        self,
        source_shape: ImageShape,
        target_shape: ImageShape,
        channels: int = 64,
        num_halvings: int = 4,
        bottleneck: int = 0,
        negative_slope: float = 0.2,
        normalise_first: bool = False,
    ) -> None:
        super().__init__(source_shape, target_shape)
        inputs, outputs = require_same_sides("EncoderDecoderTranslator", source_shape, target_shape)
        for name, value, least in (("channels", channels, 1), ("num_halvings", num_halvings, 2)):
            if value < least:
                raise ValueError(f"{name}: got {value}, allowed is {least} or more")
        if bottleneck < 0 or (bottleneck and min(source_shape[1:]) < 4 * 2**num_halvings):
            raise ValueError(
                f"bottleneck: got {bottleneck}, allowed is 0 or more, and 0 for sides below {4 * 2**num_halvings}"
            )
        widths = [channels * 2**level for level in range(num_halvings)]

        def down(before: int, after: int, stride: int = 2, normalise: bool = True) -> list[nn.Module]:
            norm = [nn.BatchNorm2d(after)] if normalise else []
            return [nn.Conv2d(before, after, 4, stride, stride - 1, bias=False), *norm, nn.LeakyReLU(negative_slope)]

        layers = down(inputs, channels, normalise=normalise_first)
        for before, after in pairwise(widths):
            layers += down(before, after)
        if bottleneck:
            layers += down(widths[-1], bottleneck, stride=1)
            layers += [nn.ConvTranspose2d(bottleneck, widths[-1], 4, bias=False), nn.BatchNorm2d(widths[-1]), nn.ReLU()]
        for before, after in pairwise(reversed(widths)):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.ConvTranspose2d(channels, outputs, 4, 2, 1, bias=False), nn.Tanh()]
        self.layers = nn.Sequential(*layers).apply(init_weights)
        self.multiple = 2**num_halvings * (4 if bottleneck else 1)

    def convert(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image)


class _SkipBlock(nn.Module):
    """One level of a U-Net: halve, whatever lies below, double, beside what came in."""

    def __init__(
        self,
        outer: int,
        inner: int,
        below: nn.Module | None,
        norm: str,
        dropout: float,
    ) -> None:
        super().__init__()
        bias = norm != "batch"
        # no normalisation at the bottom: a single pixel would become 0
        down = [] if below is None else [*norm_layers(norm, inner, at_hand=True), below]
        width = inner if below is None else 2 * inner
        self.layers = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.Conv2d(outer, inner, 4, 2, 1, bias=bias),
            *down,
            nn.ReLU(),
            nn.ConvTranspose2d(width, outer, 4, 2, 1, bias=bias),
            *norm_layers(norm, outer, at_hand=True),
            *([NoiseDropout(dropout)] if dropout else []),
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([features, self.layers(features)], 1)


class _UNet(nn.Module):
    """All levels; the outermost has no normalisation and ends in tanh."""

    def __init__(self, inputs: int, outputs: int, widths: list[int], norm: str, dropouts: list[float]) -> None:
        super().__init__()
        below: nn.Module | None = None
        for level in reversed(range(1, len(widths))):
            below = _SkipBlock(widths[level - 1], widths[level], below, norm, dropouts[level])
        assert below is not None
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, widths[0], 4, 2, 1, bias=norm != "batch"),
            below,
            nn.ReLU(),
            nn.ConvTranspose2d(2 * widths[0], outputs, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)


class UNetTranslator(Translator):
    """An encoder of halvings down to one pixel and a decoder that sees each level of it (Isola et al. 2017, 6.1.1).

    With the defaults on RGB: 54,413,955 parameters at 256x256 (8 halvings), 41,828,995 at 128x128. Start: N(0, 0.02).

    Args:
        source_shape: Shape of one input, (C, H, W).
        target_shape: Shape of one output, of the same height and width.
        channels: Feature maps of the first layer, doubled at each of the next three.
        num_halvings: Convolutions of stride 2; None takes as many as the smaller side allows, up to 8.
        norm: `batch` (by the statistics of the batch at hand, in evaluation of each picture), `instance` or `none`.
        dropout: The network's noise, on in evaluation too; 0 for none.
        num_dropouts: Decoder levels with dropout, from the second lowest upwards; None takes `num_halvings` - 5 as in
            the authors' PyTorch code, which leaves none below 64x64.

    Raises:
        ValueError: For fewer than 2 halvings, more dropouts than levels between the lowest and the outermost, channels
            that are not positive, or shapes of different sizes.
    """

    def __init__(
        self,
        source_shape: ImageShape,
        target_shape: ImageShape,
        channels: int = 64,
        num_halvings: int | None = None,
        norm: str = "batch",
        dropout: float = 0.5,
        num_dropouts: int | None = None,
    ) -> None:
        super().__init__(source_shape, target_shape)
        inputs, outputs = require_same_sides("UNetTranslator", source_shape, target_shape)
        if num_halvings is None:
            num_halvings = min(8, min(source_shape[1:]).bit_length() - 1)
        if channels < 1:
            raise ValueError(f"channels: got {channels}, allowed is 1 or more")
        if num_halvings < 2:
            raise ValueError(f"num_halvings: got {num_halvings}, allowed is 2 or more")
        if num_dropouts is None:
            num_dropouts = max(0, num_halvings - 5)
        if not 0 <= num_dropouts <= num_halvings - 2:
            raise ValueError(f"num_dropouts: got {num_dropouts}, allowed are 0 to {num_halvings - 2}")
        widths = [channels * min(2**level, 8) for level in range(num_halvings)]
        lowest = num_halvings - 1  # level of the block without dropout at the bottom
        dropouts = [dropout if lowest - num_dropouts <= level < lowest else 0.0 for level in range(num_halvings)]
        self.layers = _UNet(inputs, outputs, widths, norm, dropouts).apply(init_weights)
        self.multiple = 2**num_halvings

    def convert(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image)
