"""The recurrent networks of PixelRNN: Row LSTM and Diagonal BiLSTM (van den Oord, Kalchbrenner, Kavukcuoglu 2016)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from pl_genmodels.layers.masked_conv import MaskedConv2d, MaskedConvCache, chain, take_last_value
from pl_genmodels.layers.pixel_lstm import DiagonalBiLSTM, PixelLSTM, RowLSTM
from pl_genmodels.networks.base import PixelCache, PixelNetwork
from pl_genmodels.types import ImageShape


class PixelRNNNetwork(PixelNetwork, ABC):
    """A 7x7 convolution of kind A, LSTM layers with residual connections, and two 1x1 convolutions (table 1, figure 5).

    Args:
        image_shape: (C, H, W).
        num_parameters: Of a pixel.
        num_classes: 0: it takes no labels.
        channels: Length h of a state; 2 h features are between layers.
        num_layers: LSTM layers.
        head_channels: Features between the last two convolutions.
        first_kernel_size: Of the first convolution.

    Raises:
        ValueError: For samples that are no pictures, no layers, or fewer features than the pictures have channels.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_parameters: int,
        num_classes: int = 0,
        *,
        channels: int = 16,
        num_layers: int = 7,
        head_channels: int = 32,
        first_kernel_size: int = 7,
    ) -> None:
        super().__init__(image_shape, num_parameters, num_classes)
        if num_layers < 1:
            raise ValueError(f"num_layers: got {num_layers}, allowed is 1 or more")
        colours = self.image_shape[0]
        self.first = MaskedConv2d(colours, 2 * channels, first_kernel_size, "A", colours)
        self.layers = nn.ModuleList([self.layer(2 * channels, channels, colours) for _ in range(num_layers)])
        self.back = nn.ModuleList([MaskedConv2d(channels, 2 * channels, 1, "B", colours) for _ in range(num_layers)])
        self.head = nn.ModuleList(
            [
                MaskedConv2d(2 * channels, head_channels, 1, "B", colours),
                MaskedConv2d(head_channels, num_parameters, 1, "B", colours),
            ]
        )

    @abstractmethod
    def layer(self, in_channels: int, channels: int, colours: int) -> PixelLSTM:
        """One recurrent layer."""

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:  # noqa: D102
        features = self.first(image)
        for layer, back in zip(self.layers, self.back, strict=True):
            features = features + back(layer(features))
        for conv in self.head:
            features = conv(features.relu())
        return features

    def cache(self, batch_size: int, label: Tensor | None = None) -> PixelCache:  # noqa: D102
        return PixelRNNCache(self, batch_size)


class RowLSTMNetwork(PixelRNNNetwork):
    """With layers that run down the rows; a pixel knows a triangle above it (section 3.1)."""

    def layer(self, in_channels: int, channels: int, colours: int) -> PixelLSTM:  # noqa: D102
        return RowLSTM(in_channels, channels, colours)


class DiagonalBiLSTMNetwork(PixelRNNNetwork):
    """With layers that run along the diagonals from both sides (section 3.2).

    A pixel knows all earlier ones but the last of the row above it, where that one lies further to the right than the
    first convolution reaches: no feature of a row tells of the row's last pixel.
    """

    def layer(self, in_channels: int, channels: int, colours: int) -> PixelLSTM:  # noqa: D102
        return DiagonalBiLSTM(in_channels, channels, colours)


class PixelRNNCache(PixelCache):
    """All features of a pixel are computed once, as soon as the pixel before it is known.

    Args:
        network: With the weights as they are now.
        batch_size: Pictures at a time.
    """

    def __init__(self, network: PixelRNNNetwork, batch_size: int) -> None:
        width = network.image_shape[2]

        def cached(conv: nn.Module) -> MaskedConvCache:
            assert isinstance(conv, MaskedConv2d)
            return MaskedConvCache(conv, batch_size, width)

        self.first = cached(network.first)
        self.layers = [layer.cache(batch_size, width) for layer in network.layers]  # type: ignore[operator]
        self.back = [cached(conv) for conv in network.back]
        self.head = [cached(conv) for conv in network.head]

    def parameters(self, image: Tensor, row: int, column: int, channel: int) -> Tensor:  # noqa: D102
        take_last_value(self.first, image, row, column, channel)
        if not (column or channel):
            if row:
                self.first.end_row()
            self.first.start_row()
            for layer in self.layers:
                layer.start_row(row)
        features = self.first(column, channel)
        for layer, back in zip(self.layers, self.back, strict=True):
            back.inputs[column][channel].copy_(layer(features, column, channel))
            features = features + back(column, channel)
        return chain(self.head, features, column, channel)
