"""Convolutions that see only pixels before their own, and the same pixel by pixel, with everything computed once."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def colour_bounds(channels: int, colours: int, multiple: int = 1) -> list[int]:
    """Where the features of each colour begin and end: one block a colour, as equal as they can be.

    Args:
        channels: Number of features.
        colours: Channels of the picture, in the order in which they are predicted.
        multiple: Features that belong together, such as the two of a gate, are this many neighbours.

    Returns:
        `colours + 1` ascending numbers from 0 to `channels`.

    Raises:
        ValueError: If there is not at least one feature (or group of neighbours) for each colour.
    """
    if channels % multiple or channels // multiple < colours:
        raise ValueError(f"channels: got {channels}, allowed are multiples of {multiple} from {multiple * colours} on")
    return [multiple * (channels // multiple * colour // colours) for colour in range(colours + 1)]


class MaskedConv2d(nn.Conv2d):
    """Convolution over the rows above and the pixels to the left (van den Oord et al. 2016a, section 3.4).

    Of the same pixel a feature sees the features of earlier colours, and with kind B those of its own colour too. The
    mask is applied in every pass. Rows below are not stored: a kernel of 3x3 has 2x3 weights.

    Args:
        in_channels: Features that come in, or the channels of the picture.
        out_channels: Features that go out.
        kernel_size: Odd height and width of the kernel before half of it was masked; one number for a square.
        kind: `A`, which leaves the pixel's own colour out, for the first layer; or `B`.
        colours: Channels of the picture.
        multiple: See `colour_bounds`; of what goes out.

    Raises:
        ValueError: For another kind, an even kernel, or too few features.
    """

    mask: Tensor  # of the weights' shape and type

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        kind: str = "B",
        colours: int = 1,
        multiple: int = 1,
    ) -> None:
        height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        if kind not in ("A", "B"):
            raise ValueError(f"kind: got {kind!r}, allowed are 'A' and 'B'")
        if height % 2 == 0 or width % 2 == 0:
            raise ValueError(f"kernel_size: got {kernel_size}, allowed are odd numbers")
        rows, reach = height // 2 + 1, width // 2
        super().__init__(in_channels, out_channels, (rows, width if rows > 1 else reach + 1))
        self.kind, self.colours, self.reach = kind, colours, reach
        self.in_bounds = colour_bounds(in_channels, colours)
        self.out_bounds = colour_bounds(out_channels, colours, multiple)
        mask = torch.ones_like(self.weight)
        mask[:, :, -1, reach:] = 0
        for colour, (start, end) in enumerate(pairwise(self.out_bounds)):
            mask[start:end, : self.seen(colour), -1, reach] = 1
        self.register_buffer("mask", mask, persistent=False)

    def seen(self, colour: int) -> int:
        """How many of the same pixel's incoming features a colour sees."""
        return self.in_bounds[colour + (self.kind == "B")]

    def forward(self, input: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        rows, weight = self.kernel_size[0] - 1, self.weight * self.mask
        if rows:  # above; columns are cheaper to add within the convolution
            return F.conv2d(F.pad(input, (0, 0, rows, 0)), weight, self.bias, padding=(0, self.reach))
        return F.conv2d(F.pad(input, (self.reach, 0)) if self.reach else input, weight, self.bias)


class MaskedConvCache:
    """A masked convolution that is computed colour by colour of pixel by pixel, in order.

    What the rows above add is computed once a row for all of its pixels. Of the row itself it keeps a window that
    slides; nothing is allocated or joined on the way. Write the incoming features of a colour into `inputs`, then call.

    Args:
        conv: With the weights as they are now.
        batch_size: Pictures at a time.
        width: Of the pictures.

    Attributes:
        inputs: Where the features of a colour go, (B, n), by column and colour.
    """

    def __init__(self, conv: MaskedConv2d, batch_size: int, width: int) -> None:
        weight = conv.weight.detach() * conv.mask
        self.reach, self.width = conv.reach, width if conv.reach else 1
        reach, size = self.reach, conv.in_channels
        self.weight_above = weight[:, :, :-1]  # (out, in, rows above, columns)
        taps = weight[:, :, -1, : reach + 1].transpose(1, 2).flatten(1)  # (out, (reach + 1) in), from left to right
        self.bias = weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        self.above = weight.new_zeros(batch_size, self.width, conv.out_channels).add_(self.bias)
        self.rows = weight.new_zeros(batch_size, self.weight_above.shape[2], self.width + 2 * reach, size)
        self.row = weight.new_zeros(batch_size, reach + self.width, size)
        # all views are made once: making one takes as long as a small product
        flat, places = self.row.flatten(1), list(enumerate(pairwise(conv.out_bounds)))
        ends = [reach * size + conv.seen(colour) for colour in range(conv.colours)]
        self.weights = [taps[start:end, : ends[colour]].t().contiguous() for colour, (start, end) in places]
        self.windows = [[flat[:, column * size : column * size + end] for end in ends] for column in range(self.width)]
        self.starts = [[self.above[:, column, start:end] for _, (start, end) in places] for column in range(self.width)]
        self.inputs = [
            [self.row[:, reach + column, start:end] for start, end in pairwise(conv.in_bounds)]
            for column in range(self.width)
        ]
        if not reach:  # of a pixel alone, nothing is kept
            self.windows, self.starts, self.inputs = (
                [each[0]] * width for each in (self.windows, self.starts, self.inputs)
            )

    def start_row(self, extra: Tensor | None = None) -> None:
        """Go to the first pixel of the next row.

        Args:
            extra: What is added to all of the new row, (B, W, out_channels).
        """
        if self.rows.shape[1]:
            around = self.rows.permute(0, 3, 1, 2)  # (B, in, rows above, W + 2 reach)
            found = F.conv2d(around, self.weight_above, self.bias)  # (B, out, 1, W)
            self.above.copy_(found.squeeze(2).transpose(1, 2))
        if extra is not None:
            self.above.add_(extra) if self.rows.shape[1] else torch.add(extra, self.bias, out=self.above)

    def end_row(self) -> None:
        """Keep the finished row for those below."""
        if self.rows.shape[1]:
            self.rows[:, :-1] = self.rows[:, 1:].clone()
            self.rows[:, -1, self.reach : self.reach + self.width] = self.row[:, self.reach :]

    def __call__(self, column: int, colour: int, out: Tensor | None = None) -> Tensor:
        """Features of a colour of the row's pixel in a column, (B, n); into `out` if that is given."""
        return torch.addmm(self.starts[column][colour], self.windows[column][colour], self.weights[colour], out=out)


def take_last_value(first: MaskedConvCache, image: Tensor, row: int, column: int, channel: int) -> None:
    """Hand the value before the one that is asked for to the first layer, a masked convolution of kind A."""
    if channel:
        first.inputs[column][channel - 1].copy_(image[:, channel - 1 : channel, row, column])
    elif column:
        first.inputs[column - 1][-1].copy_(image[:, -1:, row, column - 1])
    elif row:
        first.inputs[-1][-1].copy_(image[:, -1:, row - 1, -1])


def chain(convs: list[MaskedConvCache], features: Tensor, column: int, colour: int) -> Tensor:
    """Convolutions after each other, each of rectified features, at one pixel: (B, n) of a colour to (B, m)."""
    torch.clamp_min(features, 0, out=convs[0].inputs[column][colour])
    for conv, following in pairwise(convs):
        conv(column, colour, out=following.inputs[column][colour]).relu_()
    return convs[-1](column, colour)
