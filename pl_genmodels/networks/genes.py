"""The networks of GeneGAN: a code with a part for an object, and a critic of four convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pl_genmodels.layers.norm import norm_layers
from pl_genmodels.networks.base import Discriminator, Translator, require_picture, require_same_sides
from pl_genmodels.networks.dcgan import init_weights
from pl_genmodels.types import ImageShape


class GeneTranslator(Translator):
    """An encoder whose last channels are an object's, and a decoder of both parts (Zhou et al. 2017, authors' code).

    4x4 convolutions of stride 2 with LeakyReLU; transposed ones with ReLU, of which the first keeps the number of
    channels; tanh. No biases next to a normalisation, none at either end. With the defaults on RGB: 8,934,400
    parameters. Start: N(0, 0.02). As a translator it leaves the object out.

    Args:
        source_shape: Shape of a picture with an object, (C, H, W).
        target_shape: Shape of one without, the same.
        channels: Feature maps of the first layer, doubled at each of the next.
        num_halvings: Convolutions of stride 2.
        object_share: Share of a code's channels that are the object's; at least one is, and one is not.
        norm: `batch`, `instance` or `none`; not at either end.

    Raises:
        ValueError: For counts that are not positive, a share outside of (0, 1), or two shapes.
    """

    def __init__(
        self,
        source_shape: ImageShape,
        target_shape: ImageShape,
        channels: int = 128,
        num_halvings: int = 3,
        object_share: float = 0.25,
        norm: str = "batch",
    ) -> None:
        super().__init__(source_shape, target_shape)
        inputs, outputs = require_same_sides("GeneTranslator", source_shape, target_shape)
        if inputs != outputs:
            raise ValueError(f"target_shape: got {outputs} channels, allowed are those of the source, {inputs}")
        for name, value in (("channels", channels), ("num_halvings", num_halvings)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, allowed is 1 or more")
        if not 0 < object_share < 1:
            raise ValueError(f"object_share: got {object_share}, allowed is more than 0 and less than 1")
        widths = [channels * 2**level for level in range(num_halvings)]
        if widths[-1] < 2:
            raise ValueError("channels: got 1 with a single layer, allowed is 2 or more, to be divided")
        bias = norm == "none"
        down: list[nn.Module] = [nn.Conv2d(inputs, channels, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths):
            down += [nn.Conv2d(before, after, 4, 2, 1, bias=bias), *norm_layers(norm, after), nn.LeakyReLU(0.2)]
        up: list[nn.Module] = []
        for before, after in pairwise([widths[-1], *reversed(widths[1:])]):
            up += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias), *norm_layers(norm, after), nn.ReLU()]
        up += [nn.ConvTranspose2d(widths[min(1, num_halvings - 1)], outputs, 4, 2, 1, bias=False), nn.Tanh()]
        self.encoder = nn.Sequential(*down).apply(init_weights)
        self.decoder = nn.Sequential(*up).apply(init_weights)
        self.object_channels = min(max(1, int(object_share * widths[-1])), widths[-1] - 1)
        self.multiple = 2**num_halvings

    def split(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of background and object, (B, C, H, W) to (B, n, h, w) and (B, m, h, w)."""
        code = self.encoder(image)
        background, found = code.split([code.shape[1] - self.object_channels, self.object_channels], 1)
        return background, found

    def join(self, background: Tensor, found: Tensor) -> Tensor:
        """Pictures of both codes, in [-1, 1]: the opposite of `split`."""
        return self.decoder(torch.cat([background, found], 1))

    def convert(self, image: Tensor) -> Tensor:
        """Pictures without their object, whose code is replaced by zeros."""
        background, found = self.split(image)
        return self.join(background, torch.zeros_like(found))


class GeneDiscriminator(Discriminator):
    """4x4 convolutions of stride 2 with LeakyReLU and a linear layer (Zhou et al. 2017, authors' code).

    The first is not normalised. With the defaults on 64x64 RGB: 6,832,641 parameters. Start: N(0, 0.02).

    Args:
        image_shape: (C, H, W), of any size that can be halved so often.
        widths: Feature maps of the layers.
        norm: `batch`, `instance` or `none`.

    Raises:
        ValueError: If there is a layer without feature maps, none at all, or more than the picture can be halved.
    """

    def __init__(
        self, image_shape: ImageShape, widths: Sequence[int] = (128, 256, 512, 512), norm: str = "batch"
    ) -> None:
        super().__init__(image_shape)
        inputs, height, width = require_picture("GeneDiscriminator", image_shape)
        if not widths or min(widths) < 1:
            raise ValueError(f"widths: got {list(widths)}, allowed are one or more positive numbers")
        if min(height, width) < 2 ** len(widths):
            raise ValueError(f"widths: got {len(widths)} layers, which halve {height}x{width} too often")
        layers: list[nn.Module] = [nn.Conv2d(inputs, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, 2, 1, bias=norm == "none"), *norm_layers(norm, after)]
            layers += [nn.LeakyReLU(0.2)]
        places = (height >> len(widths)) * (width >> len(widths))
        last = nn.Linear(widths[-1] * places, 1)
        nn.init.normal_(last.weight, 0.0, 0.02)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, nn.Flatten(), last).apply(init_weights)

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image).squeeze(1)
