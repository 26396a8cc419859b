"""The network of PixelCNN++: two streams of shifted convolutions through three resolutions, with short-cuts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.layers.weight_norm import PointwiseConv, ShiftedConv, ShiftedDeconv, concat_elu
from pl_genmodels.networks.base import PixelCache, PixelNetwork
from pl_genmodels.types import ImageShape

ABOVE, LEFT = ((2, 3), "down"), ((2, 2), "down_right")  # windows of the two streams


class GatedResidual(nn.Module):
    """x + a sigmoid(b), where (a, b) are two shifted convolutions of concatenated ELUs of x.

    A short-cut enters between them by a 1x1 convolution, and a label after them by a vector. Dropout lies before the
    second convolution, which starts with a deviation of 0.1. Salimans et al. 2017, section 2.5.

    Args:
        channels: Width.
        skip_channels: Width of the short-cut; 0 for none.
        window: Size and shift of the convolutions.
        num_classes: Of the labels; 0 for none.
        dropout: Share of values that are dropped in training.
    """

    def __init__(
        self, channels: int, skip_channels: int, window: tuple[tuple[int, int], str], num_classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.first = ShiftedConv(2 * channels, channels, *window)
        self.skip = PointwiseConv(2 * skip_channels, channels) if skip_channels else None
        self.dropout = nn.Dropout(dropout)
        self.second = ShiftedConv(2 * channels, 2 * channels, *window, init_scale=0.1)
        self.of_label = nn.Embedding(num_classes, 2 * channels) if num_classes else None
        if self.of_label is not None:
            nn.init.normal_(self.of_label.weight, std=0.05)

    def forward(self, features: Tensor, skip: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """(B, channels, H, W), with a short-cut (B, skip_channels, H, W) and labels (B,) if it takes them."""
        hidden = self.first(concat_elu(features))
        if self.skip is not None and skip is not None:
            hidden = hidden + self.skip(concat_elu(skip))
        hidden = self.second(self.dropout(concat_elu(hidden)))
        if self.of_label is not None and label is not None:
            hidden = hidden + self.of_label(label)[:, :, None, None]
        change, gate = hidden.chunk(2, 1)
        return features + change * gate.sigmoid()


class Resolution(nn.Module):
    """Blocks at one resolution on the way to the coarser ones, and on the way back with what they gave as short-cuts.

    Stream `above` sees the rows above, stream `left` also the pixels to the left; it gets the other one's features.
    On the way back there is one block more than before, for the short-cut of the input, but at the coarsest, where the
    last block's result is not a short-cut but what the way back starts from.

    Args:
        resolutions: This one and the coarser ones.
        num_blocks: On the way to the coarser ones.
        channels: Width.
        num_classes: Of the labels; 0 for none.
        dropout: In the blocks.
    """

    def __init__(self, resolutions: int, num_blocks: int, channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()

        def blocks(count: int, skip_channels: int, window: tuple[tuple[int, int], str]) -> nn.ModuleList:
            each = (channels, skip_channels, window, num_classes, dropout)
            return nn.ModuleList([GatedResidual(*each) for _ in range(count)])

        back = num_blocks + (resolutions > 1)
        self.above_in, self.left_in = blocks(num_blocks, 0, ABOVE), blocks(num_blocks, channels, LEFT)
        self.above_out, self.left_out = blocks(back, channels, ABOVE), blocks(back, 2 * channels, LEFT)
        self.coarser: Resolution | None = None
        if resolutions > 1:
            self.above_down = ShiftedConv(channels, channels, *ABOVE, stride=2)
            self.left_down = ShiftedConv(channels, channels, *LEFT, stride=2)
            self.coarser = Resolution(resolutions - 1, num_blocks, channels, num_classes, dropout)
            self.above_up = ShiftedDeconv(channels, channels, 3)
            self.left_up = ShiftedDeconv(channels, channels, 2)

    def forward(self, above: Tensor, left: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both streams, (B, channels, H, W) each."""
        skips = [(above, left)]
        for above_block, left_block in zip(self.above_in, self.left_in, strict=True):
            above = above_block(above, None, label)
            left = left_block(left, above, label)
            skips.append((above, left))
        if self.coarser is None:
            skips.pop()
        else:
            above, left = self.coarser(self.above_down(above), self.left_down(left), label)
            above, left = self.above_up(above), self.left_up(left)
        for above_block, left_block in zip(self.above_out, self.left_out, strict=True):
            above_skip, left_skip = skips.pop()
            above = above_block(above, above_skip, label)
            left = left_block(left, torch.cat([above, left_skip], 1), label)
        return above, left


class PixelCNNPPNetwork(PixelNetwork):
    """Parameters of each pixel from the pixels before it; its own channels are left to the likelihood.

    Layers are normalised by their weights and start from the first batch (see `start_from_data`).

    Args:
        image_shape: (C, H, W), height and width multiples of 2 ** (num_resolutions - 1).
        num_parameters: See `PixelNetwork`.
        num_classes: See `PixelNetwork`.
        channels: Width of all layers.
        num_blocks: Residual blocks of each stream at each resolution on the way down; on the way back there is one
            more at all but the coarsest.
        num_resolutions: How often the resolution is halved, plus 1.
        dropout: Share of values that blocks drop in training.

    Raises:
        ValueError: For sizes that cannot be halved so often, counts below 1, or a share outside [0, 1).
    """

    orders_channels = False
    takes_labels = True

    def __init__(
        self,
        image_shape: ImageShape,
        num_parameters: int,
        num_classes: int = 0,
        channels: int = 160,
        num_blocks: int = 5,
        num_resolutions: int = 3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(image_shape, num_parameters, num_classes)
        for name, value in (("channels", channels), ("num_blocks", num_blocks), ("num_resolutions", num_resolutions)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, allowed is 1 or more")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: got {dropout}, allowed is 0 or more and less than 1")
        image_channels, height, width = self.image_shape
        multiple = 2 ** (num_resolutions - 1)
        if height % multiple or width % multiple:
            raise ValueError(
                f"num_resolutions: got {num_resolutions} for images of {height}x{width}, allowed are sides that are "
                f"multiples of {multiple}"
            )
        self.above_first = ShiftedConv(image_channels + 1, channels, *ABOVE)
        self.left_above = ShiftedConv(image_channels + 1, channels, (1, 3), "down")
        self.left_beside = ShiftedConv(image_channels + 1, channels, (2, 1), "down_right")
        self.resolution = Resolution(num_resolutions, num_blocks, channels, num_classes, dropout)
        self.last = PointwiseConv(channels, num_parameters)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:  # noqa: D102
        image = with_ones(image)
        above = _shift_down(self.above_first(image))
        left = _shift_down(self.left_above(image)) + F.pad(self.left_beside(image), (1, -1))
        _, left = self.resolution(above, left, label)
        return self.last(F.elu(left))

    def cache(self, batch_size: int, label: Tensor | None = None) -> PixelCache:  # noqa: D102
        return _NetworkCache(self, batch_size, label)


def with_ones(image: Tensor) -> Tensor:
    """The image and a channel of ones, by which the padding around it differs from a value of 0."""
    return torch.cat([image, torch.ones_like(image[:, :1])], 1)


def _shift_down(features: Tensor) -> Tensor:
    return F.pad(features, (0, 0, 1, -1))


# ---- drawing pixel by pixel: the stream `above` runs once a row, the stream `left` once a pixel; at a resolution that
# was halved n times, each 2 ** n rows or columns. Features of n columns are (B, n, channels) here.


class _Window:
    """The last rows of a shifted convolution's input; enough for its outputs in the current row."""

    def __init__(self, conv: ShiftedConv, batch_size: int, width: int) -> None:
        weight = conv.weight()
        self.height, self.width, self.stride = *weight.shape[2:], conv.stride
        self.weight, self.bias = weight.permute(0, 2, 3, 1).flatten(1), conv.bias  # (C', height * width * C)
        self.left, right, *_ = conv.padding
        self.rows = weight.new_zeros(batch_size, self.height, self.left + width + right, conv.in_channels)

    def next_row(self) -> None:
        self.rows = torch.cat([self.rows[:, 1:], torch.zeros_like(self.rows[:, :1])], 1)

    def put(self, features: Tensor, column: int) -> None:
        start = self.left + column
        self.rows[:, -1, start : start + features.shape[1]] = features

    def read(self, column: int, count: int) -> Tensor:
        """Outputs of the current row for `count` columns of the input."""
        part = self.rows[:, :, column : column + count + self.width - 1]
        patches = part.unfold(2, self.width, self.stride).permute(0, 2, 1, 4, 3)  # (B, n, height, width, C)
        return F.linear(patches.flatten(2), self.weight, self.bias)


class _BlockCache:
    def __init__(self, block: GatedResidual, batch_size: int, width: int, label: Tensor | None) -> None:
        self.windows = [_Window(conv, batch_size, width) for conv in (block.first, block.second)]
        self.skip = None if block.skip is None else (block.skip.weight().flatten(1), block.skip.bias)
        self.of_label = None if block.of_label is None or label is None else block.of_label(label)[:, None]

    def next_row(self) -> None:
        for window in self.windows:
            window.next_row()

    def run(self, features: Tensor, column: int, skip: Tensor | None = None) -> Tensor:
        count = features.shape[1]
        first, second = self.windows
        first.put(_concat_elu(features), column)
        hidden = first.read(column, count)
        if self.skip is not None and skip is not None:
            hidden = hidden + F.linear(_concat_elu(skip), *self.skip)
        second.put(_concat_elu(hidden), column)
        hidden = second.read(column, count)
        if self.of_label is not None:
            hidden = hidden + self.of_label
        change, gate = hidden.chunk(2, -1)
        return features + change * gate.sigmoid()


def _concat_elu(features: Tensor) -> Tensor:
    return F.elu(torch.cat([features, -features], -1))


def _doubled(deconv: ShiftedDeconv, features: Tensor) -> Tensor:
    """Two rows of the finer resolution, (B, n, C) to (B, 2, 2 n, C')."""
    return deconv(features.transpose(1, 2)[:, :, None]).permute(0, 2, 3, 1)


class _ResolutionCache:
    def __init__(self, resolution: Resolution, batch_size: int, width: int, label: Tensor | None) -> None:
        def caches(blocks: nn.ModuleList) -> list[_BlockCache]:
            return [_BlockCache(block, batch_size, width, label) for block in blocks]  # type: ignore[arg-type]

        self.resolution, self.width = resolution, width
        self.above_in, self.above_out = caches(resolution.above_in), caches(resolution.above_out)
        self.left_in, self.left_out = caches(resolution.left_in), caches(resolution.left_out)
        self.rolling: list[_BlockCache | _Window]
        self.rolling = [*self.above_in, *self.above_out, *self.left_in, *self.left_out]
        self.coarser: _ResolutionCache | None = None
        if resolution.coarser is not None:
            self.above_down = _Window(resolution.above_down, batch_size, width)
            self.left_down = _Window(resolution.left_down, batch_size, width)
            self.rolling += [self.above_down, self.left_down]
            self.coarser = _ResolutionCache(resolution.coarser, batch_size, width // 2, label)
            channels = resolution.left_up.bias.shape[0]
            self.left_fine = resolution.left_up.bias.new_zeros(batch_size, 2, width, channels)

    def start_row(self, row: int, above: Tensor) -> Tensor:
        """Stream `above` of a row, (B, width, channels)."""
        for part in self.rolling:
            part.next_row()
        self.above = []  # what each block of the other stream will need
        skips = [above]
        for block in self.above_in:
            above = block.run(above, 0)
            skips.append(above)
            self.above.append(above)
        if self.coarser is None:
            skips.pop()
        else:
            self.above_down.put(above, 0)
            if row % 2 == 0:
                coarse = self.coarser.start_row(row // 2, self.above_down.read(0, self.width))
                self.above_fine = _doubled(self.resolution.above_up, coarse)
            above = self.above_fine[:, row % 2]
        for block in self.above_out:
            above = block.run(above, 0, skips.pop())
            self.above.append(above)
        return above

    def pixel(self, row: int, column: int, left: Tensor) -> Tensor:
        """Stream `left` of a pixel, (B, 1, channels)."""
        above = (features[:, column : column + 1] for features in self.above)
        skips = [left]
        for block in self.left_in:
            left = block.run(left, column, next(above))
            skips.append(left)
        if self.coarser is None:
            skips.pop()
        else:
            self.left_down.put(left, column)
            if row % 2 == 0 and column % 2 == 0:
                coarse = self.coarser.pixel(row // 2, column // 2, self.left_down.read(column, 1))
                self.left_fine[:, :, column : column + 2] = _doubled(self.resolution.left_up, coarse)
            left = self.left_fine[:, row % 2, column : column + 1]
        for block in self.left_out:
            left = block.run(left, column, torch.cat([next(above), skips.pop()], -1))
        return left


class _NetworkCache(PixelCache):
    def __init__(self, network: PixelCNNPPNetwork, batch_size: int, label: Tensor | None) -> None:
        self.network = network
        self.resolution = _ResolutionCache(network.resolution, batch_size, network.image_shape[2], label)
        self.last = network.last.weight().flatten(1), network.last.bias

    def parameters(self, image: Tensor, row: int, column: int, channel: int) -> Tensor:
        if column == 0:
            self._start_row(image, row)
        left = self.left_above[:, column : column + 1]
        if column > 0:
            known = with_ones(image[:, :, max(row - 1, 0) : row + 1, column - 1 : column])
            left = left + self.network.left_beside(known)[:, :, -1].transpose(1, 2)
        left = self.resolution.pixel(row, column, left)
        return F.linear(F.elu(left[:, 0]), *self.last)

    def _start_row(self, image: Tensor, row: int) -> None:
        network = self.network
        rows = with_ones(image[:, :, max(row - 2, 0) : max(row, 1)])  # of row 0 only the shape is used
        above, left = network.above_first(rows)[:, :, -1], network.left_above(rows)[:, :, -1]  # (B, channels, width)
        if row == 0:
            above, left = torch.zeros_like(above), torch.zeros_like(left)
        self.left_above = left.transpose(1, 2)
        self.resolution.start_row(row, above.transpose(1, 2))
