"""The masked convolutional network of PixelCNN (van den Oord, Kalchbrenner, Kavukcuoglu 2016)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pl_genmodels.layers.masked_conv import MaskedConv2d, MaskedConvCache, chain, take_last_value
from pl_genmodels.networks.base import PixelCache, PixelNetwork
from pl_genmodels.types import ImageShape


class PixelCNNNetwork(PixelNetwork):
    """A 7x7 convolution of kind A, residual blocks of kind B, and two 1x1 convolutions (table 1, figure 5).

    Its layers see a triangle of pixels that leaves out some to the upper right, however many layers there are.

    Args:
        image_shape: (C, H, W).
        num_parameters: Of a pixel.
        num_classes: 0: it takes no labels.
        channels: Features h within a block; 2 h are between blocks.
        num_blocks: Residual blocks; the paper counts each as a layer.
        head_channels: Features between the last two convolutions.
        first_kernel_size: Of the first convolution.

    Raises:
        ValueError: For samples that are no pictures, or fewer features than the pictures have channels.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_parameters: int,
        num_classes: int = 0,
        *,
        channels: int = 32,
        num_blocks: int = 7,
        head_channels: int = 32,
        first_kernel_size: int = 7,
    ) -> None:
        super().__init__(image_shape, num_parameters, num_classes)
        if num_blocks < 0:
            raise ValueError(f"num_blocks: got {num_blocks}, allowed is 0 or more")
        colours = self.image_shape[0]
        self.first = MaskedConv2d(colours, 2 * channels, first_kernel_size, "A", colours)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [
                    MaskedConv2d(2 * channels, channels, 1, "B", colours),
                    MaskedConv2d(channels, channels, 3, "B", colours),
                    MaskedConv2d(channels, 2 * channels, 1, "B", colours),
                ]
            )
            for _ in range(num_blocks)
        )
        self.head = nn.ModuleList(
            [
                MaskedConv2d(2 * channels, head_channels, 1, "B", colours),
                MaskedConv2d(head_channels, num_parameters, 1, "B", colours),
            ]
        )

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:  # noqa: D102
        features = self.first(image)
        for block in self.blocks:
            found = features
            for conv in block:  # type: ignore[attr-defined]
                found = conv(found.relu())
            features = features + found
        for conv in self.head:
            features = conv(features.relu())
        return features

    def cache(self, batch_size: int, label: Tensor | None = None) -> PixelCache:  # noqa: D102
        return PixelCNNCache(self, batch_size)


class PixelCNNCache(PixelCache):
    """All features of a pixel are computed once, as soon as the pixel before it is known.

    Args:
        network: With the weights as they are now.
        batch_size: Pictures at a time.
    """

    def __init__(self, network: PixelCNNNetwork, batch_size: int) -> None:
        self.colours, _, self.width = network.image_shape

        def cached(conv: Any) -> MaskedConvCache:
            return MaskedConvCache(conv, batch_size, self.width)

        blocks: Any = network.blocks
        self.first = cached(network.first)
        self.blocks = [[cached(conv) for conv in block] for block in blocks]
        self.head = [cached(conv) for conv in network.head]
        self.over_rows = [self.first, *(block[1] for block in self.blocks)]

    def parameters(self, image: Tensor, row: int, column: int, channel: int) -> Tensor:  # noqa: D102
        take_last_value(self.first, image, row, column, channel)
        if not (column or channel):
            for conv in self.over_rows:
                if row:
                    conv.end_row()
                conv.start_row()
        features = self.first(column, channel)
        for block in self.blocks:
            features = features + chain(block, features, column, channel)
        return chain(self.head, features, column, channel)
