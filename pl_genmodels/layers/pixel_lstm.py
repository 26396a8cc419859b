"""LSTM layers over the rows and over the diagonals of a picture (van den Oord, Kalchbrenner, Kavukcuoglu 2016).

The four numbers of a unit, its output, forget and input gates and its new content, are neighbours in every layer here,
so that the units of a picture's first channel come first, then those of the second, as `MaskedConv2d` asks for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.layers.masked_conv import MaskedConv2d, MaskedConvCache, colour_bounds


class PixelLSTM(nn.Module, ABC):
    """States of each pixel from features of the pixels before it, and with a mask of kind B from its own.

    Args:
        in_channels: Features that come in.
        channels: Length of a state.
        colours: Channels of the picture.
    """

    def __init__(self, in_channels: int, channels: int, colours: int) -> None:
        super().__init__()
        self.in_channels, self.channels, self.colours = in_channels, channels, colours

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, H, W)."""

    @abstractmethod
    def cache(self, batch_size: int, width: int) -> PixelLSTMCache:
        """The same pixel by pixel, with the weights as they are now."""


class PixelLSTMCache(ABC):
    """An LSTM layer that is computed colour by colour of pixel by pixel, in order."""

    @abstractmethod
    def start_row(self, row: int) -> None:
        """Go to the first pixel of a row."""

    @abstractmethod
    def __call__(self, features: Tensor, column: int, colour: int) -> Tensor:
        """State of a colour of a pixel of the row, (B, n), from that colour's features, (B, m)."""


def lstm_step(gates: Tensor, cell: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Equation 3: the next state and cell.

    Args:
        gates: Before their nonlinearities, with 4 entries along `dim`.
        cell: Of the step before, without that dimension.
        dim: Of the gates.
    """
    output, keep, write = gates.narrow(dim, 0, 3).sigmoid().unbind(dim)
    cell = keep * cell + write * gates.select(dim, 3).tanh()
    return output * cell.tanh(), cell


# ---- rows


class RowLSTM(PixelLSTM):
    """Runs down the rows: a pixel's step follows those of some neighbours in the row above (section 3.1).

    A state thus knows a triangle above the pixel. All pixels of a row are computed at once.

    Args:
        in_channels: Features that come in.
        channels: Length of a state.
        colours: Channels of the picture.
        kernel_size: Odd number of neighbours, of the row's features and of the states above.
    """

    def __init__(self, in_channels: int, channels: int, colours: int, kernel_size: int = 3) -> None:
        super().__init__(in_channels, channels, colours)
        self.from_input = MaskedConv2d(in_channels, 4 * channels, (1, kernel_size), "B", colours, multiple=4)
        self.from_above = nn.Conv1d(channels, 4 * channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.start = nn.Parameter(torch.zeros(2, channels))  # state and cell above the first row

    def forward(self, features: Tensor) -> Tensor:  # noqa: D102
        state, cell = self.start_of(len(features), features.shape[3])
        states = []
        for gates in self.from_input(features).unbind(2):  # (B, 4 channels, W)
            gates = gates + self.from_above(state)
            state, cell = lstm_step(gates.unflatten(1, (-1, 4)), cell, 2)
            states.append(state)
        return torch.stack(states, 2)

    def start_of(self, batch_size: int, width: int) -> tuple[Tensor, Tensor]:
        """State and cell above the first row, (B, channels, W) each."""
        state, cell = self.start[..., None, None].expand(-1, -1, batch_size, width).transpose(1, 2)
        return state, cell

    def cache(self, batch_size: int, width: int) -> PixelLSTMCache:  # noqa: D102
        return _RowLSTMCache(self, batch_size, width)


class _RowLSTMCache(PixelLSTMCache):
    """What the row above adds is computed once a row."""

    def __init__(self, layer: RowLSTM, batch_size: int, width: int) -> None:
        self.layer, self.bounds = layer, colour_bounds(layer.channels, layer.colours)
        self.from_input = MaskedConvCache(layer.from_input, batch_size, width)
        state, cell = layer.start_of(batch_size, width)
        self.state, self.cell = (each.transpose(1, 2).contiguous() for each in (state, cell))  # (B, W, channels)

    def start_row(self, row: int) -> None:
        self.cell_above = self.cell.clone()
        self.from_input.start_row(self.layer.from_above(self.state.transpose(1, 2)).transpose(1, 2))

    def __call__(self, features: Tensor, column: int, colour: int) -> Tensor:
        self.from_input.inputs[column][colour].copy_(features)
        units = slice(self.bounds[colour], self.bounds[colour + 1])
        gates = self.from_input(column, colour).unflatten(1, (-1, 4))
        state, cell = lstm_step(gates, self.cell_above[:, column, units], 2)
        self.state[:, column, units], self.cell[:, column, units] = state, cell
        return state


# ---- diagonals


def skew(features: Tensor) -> Tensor:
    """Shift each row one further to the right than the one above, (B, C, H, W) to (B, C, H, W + H - 1)."""
    height, width = features.shape[2:]
    # rows that are one longer than their distance
    padded = F.pad(features, (0, height)).flatten(2)
    return padded[..., : height * (width + height - 1)].unflatten(2, (height, -1))


def unskew(features: Tensor) -> Tensor:
    """The inverse of `skew`, (B, C, H, W + H - 1) to (B, C, H, W)."""
    height, length = features.shape[2:]
    padded = F.pad(features.flatten(2), (0, height)).unflatten(2, (height, -1))
    return padded[..., : length - height + 1]


class DiagonalLSTM(PixelLSTM):
    """A pixel's step follows that of its left neighbour, and sees the states of that one and of the one above.

    A state thus knows all pixels that are neither below nor to the right of it (section 3.2). In skewed pictures both
    neighbours are in the column before, so that all pixels of a diagonal are computed at once. Where a neighbour would
    lie outside of the picture, there is a learned state instead.

    Args:
        in_channels: Features that come in.
        channels: Length of a state.
        colours: Channels of the picture.
    """

    def __init__(self, in_channels: int, channels: int, colours: int) -> None:
        super().__init__(in_channels, channels, colours)
        self.from_input = MaskedConv2d(in_channels, 4 * channels, 1, "B", colours, multiple=4)
        self.from_left = nn.Linear(channels, 4 * channels, bias=False)
        self.from_above = nn.Linear(channels, 4 * channels, bias=False)
        self.start = nn.Parameter(torch.zeros(2, channels))  # state and cell outside

    def forward(self, features: Tensor) -> Tensor:  # noqa: D102
        batch_size, _, height, _ = features.shape
        weight = torch.cat([self.from_left.weight, self.from_above.weight], 1)
        state, cell = self.start[:, None, None].expand(-1, batch_size, height, -1)
        outside = state[:, :1]
        started = torch.arange(height, device=features.device)[:, None]
        states = []
        for diagonal, gates in enumerate(skew(self.from_input(features)).permute(3, 0, 2, 1)):  # (B, H, 4 channels)
            above = torch.cat([outside, state[:, :-1]], 1)
            gates = gates + F.linear(torch.cat([state, above], 2), weight)
            new_state, new_cell = lstm_step(gates.unflatten(2, (-1, 4)), cell, 3)
            inside = started <= diagonal  # rows further down have not begun; what is right of the picture nobody sees
            state, cell = torch.where(inside, new_state, state), torch.where(inside, new_cell, cell)
            states.append(state)
        return unskew(torch.stack(states, 3).transpose(1, 2))

    def cache(self, batch_size: int, width: int) -> PixelLSTMCache:  # noqa: D102
        return _DiagonalLSTMCache(self, batch_size, width)

    def row(self, features: Tensor, above: Tensor) -> Tensor:
        """States of one row, (B, W, channels), from its features, (B, in_channels, 1, W), and the states above."""
        gates = self.from_input(features)[:, :, 0].transpose(1, 2) + self.from_above(above)  # (B, W, 4 channels)
        state, cell = self.start[:, None].expand(-1, len(features), -1)
        states = []
        for each in gates.unbind(1):
            state, cell = lstm_step((each + self.from_left(state)).unflatten(1, (-1, 4)), cell, 2)
            states.append(state)
        return torch.stack(states, 1)


class _DiagonalLSTMCache(PixelLSTMCache):
    """What the states of the row above add is computed once a row."""

    def __init__(self, layer: DiagonalLSTM, batch_size: int, width: int) -> None:
        self.layer, self.bounds = layer, colour_bounds(layer.channels, layer.colours)
        self.from_input = MaskedConvCache(layer.from_input, batch_size, width)
        # column 0 lies left of the picture
        state, cell = layer.start.detach()[:, None, None].expand(-1, batch_size, width + 1, -1)
        self.state, self.cell = state.clone(), cell.clone()

    def start_row(self, row: int) -> None:
        self.from_input.start_row()
        self.above = self.layer.from_above(self.state[:, 1:])  # (B, W, 4 channels)

    def __call__(self, features: Tensor, column: int, colour: int) -> Tensor:
        self.from_input.inputs[column][colour].copy_(features)
        start, end = self.bounds[colour : colour + 2]
        gates = self.from_input(column, colour) + self.above[:, column, 4 * start : 4 * end]
        gates = gates + F.linear(self.state[:, column], self.layer.from_left.weight[4 * start : 4 * end])
        state, cell = lstm_step(gates.unflatten(1, (-1, 4)), self.cell[:, column, start:end], 2)
        self.state[:, column + 1, start:end], self.cell[:, column + 1, start:end] = state, cell
        return state


class DiagonalBiLSTM(PixelLSTM):
    """A `DiagonalLSTM` from the left, and one from the right whose states are moved down a row, added up.

    Without the move the second one would know pixels to the right of its own. Together they know all pixels that
    their input tells of in the rows above, and those to the left.

    Args:
        in_channels: Features that come in.
        channels: Length of a state.
        colours: Channels of the picture.
    """

    def __init__(self, in_channels: int, channels: int, colours: int) -> None:
        super().__init__(in_channels, channels, colours)
        self.left = DiagonalLSTM(in_channels, channels, colours)
        self.right = DiagonalLSTM(in_channels, channels, colours)

    def forward(self, features: Tensor) -> Tensor:  # noqa: D102
        right = self.right(features.flip(3)).flip(3)
        return self.left(features) + F.pad(right, (0, 0, 1, -1))

    def cache(self, batch_size: int, width: int) -> PixelLSTMCache:  # noqa: D102
        return _DiagonalBiLSTMCache(self, batch_size, width)


class _DiagonalBiLSTMCache(PixelLSTMCache):
    """The layer from the left goes pixel by pixel, the one from the right over each row as soon as it is full."""

    def __init__(self, layer: DiagonalBiLSTM, batch_size: int, width: int) -> None:
        self.left, self.right = layer.left.cache(batch_size, width), layer.right
        self.in_bounds = colour_bounds(layer.in_channels, layer.colours)
        self.out_bounds = colour_bounds(layer.channels, layer.colours)
        start = layer.right.start.detach()[0]
        self.features = start.new_zeros(batch_size, layer.in_channels, 1, width)
        self.state = start.expand(batch_size, width, -1)  # of the layer from the right, from right to left

    def start_row(self, row: int) -> None:
        self.left.start_row(row)
        if row == 0:
            self.from_above = torch.zeros_like(self.state)
        else:
            self.state = self.right.row(self.features.flip(3), self.state)
            self.from_above = self.state.flip(1)

    def __call__(self, features: Tensor, column: int, colour: int) -> Tensor:
        self.features[:, self.in_bounds[colour] : self.in_bounds[colour + 1], 0, column] = features
        units = slice(self.out_bounds[colour], self.out_bounds[colour + 1])
        return self.left(features, column, colour) + self.from_above[:, column, units]
