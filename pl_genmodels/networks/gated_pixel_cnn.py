"""The two stacks of Gated PixelCNN (van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu 2016)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.layers.masked_conv import MaskedConv2d, MaskedConvCache, chain, take_last_value
from pl_genmodels.networks.base import PixelCache, PixelNetwork
from pl_genmodels.types import ImageShape


class GatedPixelCNNNetwork(PixelNetwork):
    """A vertical stack that sees all rows above and a horizontal one that sees the row to the left (figure 2).

    Together they see every earlier pixel, once there are enough layers. A class is added to both stacks in every layer
    (equation 4). The first layer has no residual connection.

    Args:
        image_shape: (C, H, W).
        num_parameters: Of a pixel.
        num_classes: Of the labels; 0 for none.
        channels: Features of each stack.
        num_layers: Layers after the first.
        kernel_size: Of these layers, odd.
        head_channels: Features between the last two convolutions.
        first_kernel_size: Of the first layer, odd.

    Raises:
        ValueError: For samples that are no pictures, a negative number of layers, even kernels, or fewer features than
            the pictures have channels.
    """

    takes_labels = True

    def __init__(
        self,
        image_shape: ImageShape,
        num_parameters: int,
        num_classes: int = 0,
        *,
        channels: int = 32,
        num_layers: int = 7,
        kernel_size: int = 3,
        head_channels: int = 64,
        first_kernel_size: int = 7,
    ) -> None:
        super().__init__(image_shape, num_parameters, num_classes)
        if num_layers < 0:
            raise ValueError(f"num_layers: got {num_layers}, allowed is 0 or more")
        colours = self.image_shape[0]
        first = GatedLayer(colours, channels, first_kernel_size, "A", colours, num_classes)
        rest = [GatedLayer(channels, channels, kernel_size, "B", colours, num_classes) for _ in range(num_layers)]
        rest[-1:] = [layer.without_vertical() for layer in rest[-1:]]
        self.layers = nn.ModuleList([first, *rest])
        self.head = nn.ModuleList(
            [
                MaskedConv2d(channels, head_channels, 1, "B", colours),
                MaskedConv2d(head_channels, num_parameters, 1, "B", colours),
            ]
        )

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:  # noqa: D102
        vertical = horizontal = image
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal, label)
        for conv in self.head:
            horizontal = conv(horizontal.relu())
        return horizontal

    def cache(self, batch_size: int, label: Tensor | None = None) -> PixelCache:  # noqa: D102
        return GatedPixelCNNCache(self, batch_size, label)


def gate(features: Tensor) -> Tensor:
    """Tanh of every even feature times the logistic of the next one, (B, 2 n, ...) to (B, n, ...) (equation 2)."""
    return features[:, 0::2].tanh() * features[:, 1::2].sigmoid()


class GatedLayer(nn.Module):
    """One layer of both stacks: the vertical one feeds the horizontal one, never the other way.

    Args:
        in_channels: Features that come in.
        channels: Features that go out of either stack.
        kernel_size: Odd.
        kind: `A` for the first layer, whose vertical kernel lies above the row and whose horizontal one leaves out the
            pixel itself; `B` for the others.
        colours: Channels of the picture.
        num_classes: Of the labels.
    """

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int, kind: str, colours: int, num_classes: int
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0 or kernel_size < 3:
            raise ValueError(f"kernel_size: got {kernel_size}, allowed are odd numbers from 3 on")
        reach = kernel_size // 2
        self.is_first, self.reach = kind == "A", reach
        # row r of the vertical stack knows rows above r only: the first layer leaves its own row out
        self.vertical = nn.Conv2d(in_channels, 2 * channels, (reach if self.is_first else reach + 1, kernel_size))
        self.across = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.horizontal = MaskedConv2d(in_channels, 2 * channels, (1, kernel_size), kind, colours, multiple=2)
        self.output = MaskedConv2d(channels, channels, 1, "B", colours)
        self.label = nn.Embedding(num_classes, 4 * channels) if num_classes else None
        if self.label is not None:
            nn.init.zeros_(self.label.weight)
        self.feeds_next = True

    def without_vertical(self) -> GatedLayer:
        """This layer as the last one, whose vertical features nobody reads but the horizontal ones."""
        self.feeds_next = False
        return self

    def vertical_features(self, above: Tensor) -> Tensor:
        """Vertical features before the gate from those of the layer before, with `rows_kept` more rows at the top."""
        return F.conv2d(above, self.vertical.weight, self.vertical.bias, padding=(0, self.reach))

    def of_label(self, label: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """What a class adds to the vertical and to the horizontal gates, each (B, 2 channels, 1, 1)."""
        if self.label is None or label is None:
            return None
        vertical, horizontal = self.label(label)[..., None, None].chunk(2, 1)
        return vertical, horizontal

    def forward(self, vertical: Tensor, horizontal: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both stacks' features, (B, in_channels, H, W) to (B, channels, H, W)."""
        above = F.pad(vertical, (0, 0, self.reach, 0))
        if self.is_first:
            above = above[:, :, :-1]
        upper = self.vertical_features(above)
        added = self.of_label(label)
        if added is not None:
            upper = upper + added[0]
        found = self.horizontal(horizontal) + self.across(upper)
        if added is not None:
            found = found + added[1]
        found = self.output(gate(found))
        return gate(upper) if self.feeds_next else upper, found if self.is_first else horizontal + found


class GatedPixelCNNCache(PixelCache):
    """The vertical stack is computed once a row, the horizontal one once a pixel.

    Args:
        network: With the weights as they are now.
        batch_size: Pictures at a time.
        label: Classes, (B,).
    """

    def __init__(self, network: GatedPixelCNNNetwork, batch_size: int, label: Tensor | None) -> None:
        width = network.image_shape[2]
        layers: Any = network.layers
        head: Any = network.head
        self.layers = [LayerCache(layer, batch_size, width, label) for layer in layers]
        self.head = [MaskedConvCache(conv, batch_size, width) for conv in head]

    def parameters(self, image: Tensor, row: int, column: int, channel: int) -> Tensor:  # noqa: D102
        first, *rest = self.layers
        take_last_value(first.horizontal, image, row, column, channel)
        if not (column or channel):
            vertical = first.start_row(image[:, :, row - 1 : row] if row else None)
            for layer in rest:
                vertical = layer.start_row(vertical)
        horizontal = first.step(column, channel)
        for layer in rest:
            layer.horizontal.inputs[column][channel].copy_(horizontal)
            horizontal = horizontal + layer.step(column, channel)
        return chain(self.head, horizontal, column, channel)


class LayerCache:
    """One layer of both stacks, row by row and pixel by pixel.

    Args:
        layer: With the weights as they are now.
        batch_size: Pictures at a time.
        width: Of the pictures.
        label: Classes, (B,).
    """

    def __init__(self, layer: GatedLayer, batch_size: int, width: int, label: Tensor | None) -> None:
        self.layer, self.added = layer, layer.of_label(label)
        weight = layer.vertical.weight
        self.rows = weight.new_zeros(batch_size, weight.shape[1], weight.shape[2], width)  # that the next row knows
        self.horizontal = MaskedConvCache(layer.horizontal, batch_size, width)
        self.output = MaskedConvCache(layer.output, batch_size, width)

    def start_row(self, newest: Tensor | None) -> Tensor:
        """Vertical features of the next row, (B, channels, 1, W).

        Args:
            newest: The last row that the vertical kernel sees; None above the picture.
        """
        if newest is not None:
            self.rows[:, :, :-1] = self.rows[:, :, 1:].clone()
            self.rows[:, :, -1:] = newest
        upper = self.layer.vertical_features(self.rows)
        if self.added is not None:
            upper = upper + self.added[0]
        extra = self.layer.across(upper)
        if self.added is not None:
            extra = extra + self.added[1]
        self.horizontal.start_row(extra.squeeze(2).transpose(1, 2))
        return gate(upper)

    def step(self, column: int, colour: int) -> Tensor:
        """Horizontal features of a colour before the residual connection, (B, n)."""
        features = self.horizontal(column, colour)
        torch.mul(features[:, 0::2].tanh(), features[:, 1::2].sigmoid(), out=self.output.inputs[column][colour])
        return self.output(column, colour)
