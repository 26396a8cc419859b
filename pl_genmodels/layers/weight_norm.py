"""Layers with normalised weights that start from data (Salimans, Kingma 2016), plain and for orders of pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.layers.masked_conv import MaskedConv2d

SHIFTS = ("down", "down_right")
MIN_VARIANCE = 1e-10  # of what a layer gives for the data it starts from


class WeightNormalized(nn.Module, ABC):
    r"""A layer with weight $w = g\,v / \|v\|$, one norm and one g for each of what it gives.

    It starts at v from N(0, 0.05^2) with $g = \|v\|$; `start_from_data` then sets g and the bias.

    Args:
        shape: Of the weight.
        output_dim: Which dimension of the weight counts what the layer gives.
        init_scale: Standard deviation of what it gives for the data that it starts from; None for a layer that starts
            as it is.
        mask: Of the weight, like it, ones and zeros; where there is one.
    """

    mask: Tensor | None

    def __init__(
        self,
        shape: tuple[int, ...],
        output_dim: int = 0,
        init_scale: float | None = 1.0,
        mask: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.output_dim, self.init_scale = output_dim, init_scale
        self.register_buffer("mask", mask, persistent=False)
        self.direction = nn.Parameter(0.05 * torch.randn(shape))
        self.gain = nn.Parameter(self._norm().detach().flatten())
        self.bias = nn.Parameter(torch.zeros(shape[output_dim]))

    def _norm(self) -> Tensor:
        dims = [dim for dim in range(self.direction.ndim) if dim != self.output_dim]
        return torch.linalg.vector_norm(self._direction(), dim=dims, keepdim=True)

    def _direction(self) -> Tensor:
        return self.direction if self.mask is None else self.direction * self.mask

    def weight(self) -> Tensor:
        """The weight, of the shape that was given."""
        norm = self._norm()
        # in one layout however it is stored, since dropout between the layers follows the layout of their outputs
        return (self._direction() * (self.gain.view(norm.shape) / norm)).contiguous()

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """(B, C, ...) to (B, C', ...)."""


class NormalizedLinear(WeightNormalized):
    """Linear layer.

    Args:
        in_features: Length before.
        out_features: Length after.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__((out_features, in_features))

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_features) to (B, out_features)."""
        return F.linear(features, self.weight(), self.bias)


class PointwiseConv(WeightNormalized):
    """1x1 convolution.

    Args:
        in_channels: Width before.
        out_channels: Width after.
        init_scale: See `WeightNormalized`.
    """

    def __init__(self, in_channels: int, out_channels: int, init_scale: float = 1.0) -> None:
        super().__init__((out_channels, in_channels, 1, 1), init_scale=init_scale)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        return F.conv2d(features, self.weight(), self.bias)


class NormalizedConv(WeightNormalized):
    """Convolution whose window has the pixel in its middle.

    Args:
        in_channels: Width before.
        out_channels: Width after.
        kernel_size: Side of the window, odd.
        stride: 1 or 2.
        init_scale: See `WeightNormalized`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, init_scale: float | None = 1.0
    ) -> None:
        super().__init__((out_channels, in_channels, kernel_size, kernel_size), init_scale=init_scale)
        self.stride, self.padding = stride, kernel_size // 2

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride), rounded up."""
        return F.conv2d(features, self.weight(), self.bias, self.stride, self.padding)


class NormalizedDeconv(WeightNormalized):
    """The transpose of a `NormalizedConv` of stride 2.

    Args:
        in_channels: Width before.
        out_channels: Width after.
        kernel_size: Side of the window, odd.
        init_scale: See `WeightNormalized`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, init_scale: float | None = 1.0) -> None:
        super().__init__((in_channels, out_channels, kernel_size, kernel_size), 1, init_scale)
        self.padding = kernel_size // 2

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, 2 H, 2 W)."""
        return F.conv_transpose2d(features, self.weight(), self.bias, 2, self.padding, output_padding=1)


class NormalizedMaskedConv(WeightNormalized):
    """`MaskedConv2d` with a normalised weight, whose norm is that of what the mask leaves.

    Args:
        in_channels: See `MaskedConv2d`, as all others.
        out_channels: Width after.
        kernel_size: Odd side of the window before half of it was masked.
        kind: `A` or `B`.
        colours: Groups of features in their order.
        init_scale: See `WeightNormalized`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        kind: str,
        colours: int,
        init_scale: float | None = 1.0,
    ) -> None:
        mask = MaskedConv2d(in_channels, out_channels, kernel_size, kind, colours).mask
        super().__init__(tuple(mask.shape), init_scale=init_scale, mask=mask)
        self.reach = kernel_size // 2

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        above = F.pad(features, (self.reach, self.reach, self.reach, 0))
        return F.conv2d(above, self.weight(), self.bias)


class ShiftedConv(WeightNormalized):
    """Convolution whose window ends with the pixel itself: at its lower edge, or at its lower right corner.

    `down` sees rows up to the pixel's own, to both sides; `down_right` only columns up to its own. Salimans et al.
    2017, section 2.4. Strided by 2, its output (i, j) is that of pixel (2i, 2j).

    Args:
        in_channels: Width before.
        out_channels: Width after.
        kernel_size: Height and width of the window, the latter odd for `down`.
        shift: `down` or `down_right`.
        stride: 1 or 2.
        init_scale: See `WeightNormalized`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        shift: str,
        stride: int = 1,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__((out_channels, in_channels, *kernel_size), init_scale=init_scale)
        if shift not in SHIFTS:
            raise ValueError(f"shift: got {shift!r}, allowed are {', '.join(map(repr, SHIFTS))}")
        self.in_channels, self.stride = in_channels, stride
        height, width = kernel_size
        left, right = (width // 2, width // 2) if shift == "down" else (width - 1, 0)
        self.padding = (left, right, height - 1, 0)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        return F.conv2d(F.pad(features, self.padding), self.weight(), self.bias, self.stride)


class ShiftedDeconv(WeightNormalized):
    """Transposed convolution of stride 2 in which a pixel sees the coarse one that it lies in.

    Pixel (i, j) gets (i // 2, j // 2); with a window 3 wide, `down`, those of odd columns get their right neighbour
    too. With `ShiftedConv` of stride 2 before it, no pixel sees a later one.

    Args:
        in_channels: Width before.
        out_channels: Width after.
        width: Of the window: 3 for `down`, 2 for `down_right`. It is 2 high.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int) -> None:
        super().__init__((in_channels, out_channels, 2, width), output_dim=1)
        self.width = width

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, h, w) to (B, out_channels, 2 h, 2 w)."""
        # the window of 3 starts a column to the left of the coarse pixel, and its last one would end beyond the edge
        left = self.width // 2 if self.width % 2 else 0
        fine = F.conv_transpose2d(features, self.weight(), self.bias, 2)
        return fine[..., left : left + 2 * features.shape[-1]]


def concat_elu(features: Tensor) -> Tensor:
    """ELU of the features and of their negatives, (B, C, ...) to (B, 2 C, ...) (Shang et al. 2016)."""
    return F.elu(torch.cat([features, -features], 1))


@torch.no_grad()
def start_from_data(
    network: nn.Module, run: Callable[[], object], mean: Callable[[Tensor], Tensor] = lambda values: values
) -> dict[str, Tensor]:
    """Gains and biases with which each normalised layer gives mean 0 and its deviation for some data.

    Layers later in the network are looked at with the earlier ones' new values in place; nothing is changed.

    Args:
        network: With layers that are `WeightNormalized`.
        run: Passes the data through the network.
        mean: Averages values over ranks, each of which has its own data.

    Returns:
        New values by name of the parameter.
    """
    found: dict[str, Tensor] = {}
    hooks = []

    def look(name: str, layer: WeightNormalized, given: Tensor) -> Tensor:
        dims = [0, *range(2, given.ndim)]
        wide = given.double()
        centre = mean(wide.mean(dims))
        centred = wide - centre.view(-1, *[1] * (given.ndim - 2))
        scale = cast(float, layer.init_scale) * (mean(centred.square().mean(dims)) + MIN_VARIANCE).rsqrt()
        found[f"{name}.gain"] = (layer.gain * scale).to(layer.gain.dtype)
        found[f"{name}.bias"] = ((layer.bias - centre) * scale).to(layer.bias.dtype)
        return (centred * scale.view(-1, *[1] * (given.ndim - 2))).to(given.dtype)

    for name, layer in network.named_modules():
        if isinstance(layer, WeightNormalized) and layer.init_scale is not None:
            hooks.append(layer.register_forward_hook(lambda layer, _, given, name=name: look(name, layer, given)))
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return found
