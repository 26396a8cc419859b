"""Discriminators that judge patches of a picture, with the authors' shapes and layer order."""

from __future__ import annotations

from torch import Tensor, nn

from pl_genmodels.layers.norm import norm_layers
from pl_genmodels.networks.base import Discriminator, require_picture
from pl_genmodels.networks.dcgan import init_weights
from pl_genmodels.types import ImageShape


class PatchDiscriminator(Discriminator):
    """4x4 convolutions, `num_layers` of stride 2 and two of stride 1: one logit a patch (Isola et al. 2017, 6.1.2).

    A patch is 16, 34, 70, 142, 286 or 574 pixels wide with 1 to 6 layers; pictures of 256x256 give a map of 30x30 with
    3. With 3 layers and the other defaults: 2,764,737 parameters on RGB with instance, 2,768,705 on the 6 channels of a
    pair with batch normalisation. The first and the last convolution are not normalised. Start: N(0, 0.02).

    Args:
        image_shape: (C, H, W).
        channels: Feature maps of the first layer, doubled at each of the next three.
        num_layers: Convolutions of stride 2.
        norm: `instance`, `batch` or `none`.

    Raises:
        ValueError: For counts below 1, or pictures that leave no patch.
    """

    def __init__(
        self, image_shape: ImageShape, channels: int = 64, num_layers: int = 3, norm: str = "instance"
    ) -> None:
        super().__init__(image_shape)
        inputs, height, width = require_picture("PatchDiscriminator", image_shape)
        for name, value in (("channels", channels), ("num_layers", num_layers)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, allowed is 1 or more")
        if min(height, width) // 2**num_layers < 3:  # each layer of stride 1 takes one pixel off the map
            raise ValueError(
                f"num_layers: got {num_layers}, which leaves no patch of pictures of {height}x{width}; allowed are "
                f"sides of at least {3 * 2**num_layers}"
            )
        layers: list[nn.Module] = [nn.Conv2d(inputs, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
        before = channels
        for layer in range(1, num_layers + 1):
            after = channels * min(2**layer, 8)
            stride = 2 if layer < num_layers else 1
            layers += [nn.Conv2d(before, after, 4, stride, 1, bias=norm != "batch"), *norm_layers(norm, after)]
            layers.append(nn.LeakyReLU(0.2))
            before = after
        layers.append(nn.Conv2d(before, 1, 4, 1, 1))
        self.layers = nn.Sequential(*layers).apply(init_weights)

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image)


class PixelDiscriminator(Discriminator):
    """1x1 convolutions: one logit a pixel (Isola et al. 2017, 6.1.2).

    With the defaults 8,705 parameters on RGB, 9,024 on 6 channels with batch normalisation. Start: N(0, 0.02).

    Args:
        image_shape: (C, H, W).
        channels: Feature maps of the first layer, doubled once.
        norm: `instance`, `batch` or `none`.

    Raises:
        ValueError: If there are no channels.
    """

    def __init__(self, image_shape: ImageShape, channels: int = 64, norm: str = "instance") -> None:
        super().__init__(image_shape)
        inputs, _, _ = require_picture("PixelDiscriminator", image_shape)
        if channels < 1:
            raise ValueError(f"channels: got {channels}, allowed is 1 or more")
        bias = norm != "batch"
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, channels, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 1, bias=bias),
            *norm_layers(norm, 2 * channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 1, 1, bias=bias),
        ).apply(init_weights)

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image)
