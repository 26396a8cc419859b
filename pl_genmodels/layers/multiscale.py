"""One bank of filters at several scales (Brock et al. 2017, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiscaleDilatedConv2d(nn.Module):
    r"""The same 3x3 filters at several dilations, summed with weights for each output channel.

    $y_c = \sum_s k_{sc} (W_c *_s x)$, where $*_s$ is the convolution of dilation s, and of scale 0 that with the mean
    of the filter's nine taps. The weights k start at one over the number of scales and are learnt; there is no bias.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        scales: Dilations beside 1, which is always there; 0 for the mean.

    Raises:
        ValueError: For scales that there are not, or one given twice.
    """

    def __init__(self, in_channels: int, out_channels: int, scales: Sequence[int] = (0, 2)) -> None:
        super().__init__()
        if min(scales, default=0) < 0 or 1 in scales or len(set(scales)) < len(scales):
            raise ValueError(f"scales: got {list(scales)}, allowed are 0 and numbers of 2 or more, each once")
        self.scales = (1, *scales)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3).normal_(0.0, 0.02))
        self.share = nn.Parameter(torch.full((len(self.scales), out_channels), 1 / len(self.scales)))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        kernels = {
            scale: share[:, None, None, None] * (self.weight if scale else self.weight.mean((2, 3), keepdim=True))
            for scale, share in zip(self.scales, self.share, strict=True)
        }
        if 0 in kernels:  # joins the middle of the undilated filter, which saves a convolution
            kernels[1] = kernels[1] + F.pad(kernels.pop(0), (1, 1, 1, 1))
        out: Tensor | None = None
        for scale, kernel in kernels.items():
            part = F.conv2d(maps, kernel, padding=scale, dilation=scale)
            out = part if out is None else out + part
        assert out is not None
        return out

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, scales={self.scales}"


class MultiscaleBlock(nn.Module):
    """A residual block of two multiscale convolutions, each behind normalisation and LeakyReLU, and both at its end.

    Args:
        channels: Of input and output.
        scales: See `MultiscaleDilatedConv2d`.
    """

    def __init__(self, channels: int, scales: Sequence[int] = (0, 2)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.BatchNorm2d(channels), nn.LeakyReLU(0.2)]
            layers.append(MultiscaleDilatedConv2d(channels, channels, scales))
        self.layers = nn.Sequential(*layers)
        self.end = nn.Sequential(nn.BatchNorm2d(channels), nn.LeakyReLU(0.2))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, H, W), kept."""
        return self.end(maps + self.layers(maps))
