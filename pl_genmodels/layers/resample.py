"""Doubling and halving the resolution of feature maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def upsample_nearest(features: Tensor) -> Tensor:
    """Repeat every pixel twice along both sides; (B, C, H, W) to (B, C, 2H, 2W)."""
    return F.interpolate(features, scale_factor=2.0, mode="nearest")


def downsample_mean(features: Tensor) -> Tensor:
    """Mean of every 2x2 square; (B, C, H, W) to (B, C, H/2, W/2)."""
    return F.avg_pool2d(features, 2)


def resampling_kernel(taps: Sequence[float]) -> Tensor:
    """Square low-pass kernel of sum 1: `taps` behind a box of 2 pixels, along both sides.

    Args:
        taps: An odd number of weights; (1, 2, 1) gives the outer product of (1, 3, 3, 1) / 8, linear interpolation.

    Returns:
        The kernel, (n + 1, n + 1) for n taps.

    Raises:
        ValueError: If the number of taps is even, or their sum is 0.
    """
    if len(taps) % 2 == 0 or sum(taps) == 0:
        raise ValueError(f"taps: got {list(taps)}, allowed is an odd number of weights whose sum is not 0")
    line = torch.tensor([0.0, *taps]) + torch.tensor([*taps, 0.0])
    kernel = torch.outer(line, line)
    return kernel / kernel.sum()


class FIRUpsample(nn.Module):
    """Doubles the resolution: nearest neighbours, then a low-pass filter, in one depthwise convolution.

    Zeros surround the picture, as in Karras et al. 2019 and R3GAN: with (1, 2, 1) a constant keeps its value but for
    the outermost pixels, which get 3/4 of it along a side and 9/16 in a corner.

    Args:
        taps: Low-pass filter along each side, an odd number of weights.
    """

    kernel: Tensor

    def __init__(self, taps: Sequence[float] = (1.0, 2.0, 1.0)) -> None:
        super().__init__()
        # three of four pixels are zeros before the filter, hence the gain of 4
        self.register_buffer("kernel", 4 * resampling_kernel(taps), persistent=False)
        self.padding = len(taps) // 2

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 2H, 2W)."""
        channels = features.shape[1]
        kernel = self.kernel.expand(channels, 1, -1, -1)
        return F.conv_transpose2d(features, kernel, stride=2, padding=self.padding, groups=channels)


class FIRDownsample(nn.Module):
    """Halves the resolution: a low-pass filter, then the mean of 2x2 squares, in one depthwise convolution.

    The adjoint of `FIRUpsample` over 4. Zeros surround the picture: with (1, 2, 1) a constant keeps its value but for
    the outermost pixels, which get 7/8 of it along a side and 49/64 in a corner.

    Args:
        taps: Low-pass filter along each side, an odd number of weights.
    """

    kernel: Tensor

    def __init__(self, taps: Sequence[float] = (1.0, 2.0, 1.0)) -> None:
        super().__init__()
        self.register_buffer("kernel", resampling_kernel(taps), persistent=False)
        self.padding = len(taps) // 2

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H/2, W/2)."""
        channels = features.shape[1]
        kernel = self.kernel.expand(channels, 1, -1, -1)
        return F.conv2d(features, kernel, stride=2, padding=self.padding, groups=channels)
