"""Residual blocks of the ResNet GANs and of R3GAN."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.layers.resample import downsample_mean, upsample_nearest

RESAMPLINGS = ("none", "up", "down")


def glorot_uniform_(layer: nn.Module, gain: float = 1.0) -> nn.Module:
    """Set a layer's weight to U(-b, b), b = gain sqrt(6 / (fan_in + fan_out)), and its bias to 0."""
    nn.init.xavier_uniform_(layer.weight, gain)  # type: ignore[arg-type]
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class ResidualBlock(nn.Module):
    """ReLU, 3x3 convolution, ReLU, 3x3 convolution beside a 1x1 or identity shortcut (Gulrajani et al. 2017).

    `up` doubles the resolution by nearest neighbours before the first convolution and before the shortcut's; `down`
    halves it by means after the second one and after the shortcut's. The shortcut is the identity where neither
    resolution nor width changes. Weights are Glorot uniform, with gain sqrt(2) but for the shortcut's 1.

    Args:
        in_channels: Width before.
        out_channels: Width after. The width between is `in_channels` for `down` and `out_channels` otherwise.
        resample: `none`, `up` or `down`.
        batch_norm: Normalise before each ReLU.

    Raises:
        ValueError: If `resample` is none of these.
    """

    def __init__(self, in_channels: int, out_channels: int, resample: str = "none", batch_norm: bool = False) -> None:
        super().__init__()
        if resample not in RESAMPLINGS:
            raise ValueError(f"resample: got {resample!r}, allowed are {', '.join(map(repr, RESAMPLINGS))}")
        self.resample = resample
        between = in_channels if resample == "down" else out_channels
        self.norm1 = nn.BatchNorm2d(in_channels) if batch_norm else nn.Identity()
        self.conv1 = glorot_uniform_(nn.Conv2d(in_channels, between, 3, padding=1), math.sqrt(2))
        self.norm2 = nn.BatchNorm2d(between) if batch_norm else nn.Identity()
        self.conv2 = glorot_uniform_(nn.Conv2d(between, out_channels, 3, padding=1), math.sqrt(2))
        same = in_channels == out_channels and resample == "none"
        self.shortcut = nn.Identity() if same else glorot_uniform_(nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H', W') with H' = H, 2H or H/2."""
        residual = F.relu(self.norm1(features))
        if self.resample == "up":
            # a 1x1 convolution commutes with repeating pixels and is four times cheaper before it
            shortcut, residual = upsample_nearest(self.shortcut(features)), upsample_nearest(residual)
        else:
            shortcut = self.shortcut(features)
        residual = self.conv2(F.relu(self.norm2(self.conv1(residual))))
        return downsample_mean(shortcut + residual) if self.resample == "down" else shortcut + residual


class InputDownBlock(nn.Module):
    """First block of a ResNet critic: no ReLU on the picture, and the shortcut is halved before its convolution.

    The "optimised" block of Gulrajani et al. 2017's code. Weights as in `ResidualBlock`.

    Args:
        in_channels: Channels of the picture.
        out_channels: Width after.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = glorot_uniform_(nn.Conv2d(in_channels, out_channels, 3, padding=1), math.sqrt(2))
        self.conv2 = glorot_uniform_(nn.Conv2d(out_channels, out_channels, 3, padding=1), math.sqrt(2))
        self.shortcut = glorot_uniform_(nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H/2, W/2)."""
        residual = self.conv2(F.relu(self.conv1(image)))
        return downsample_mean(residual) + self.shortcut(downsample_mean(image))


def scaled_normal_(weight: Tensor, gain: float = 1.0) -> Tensor:
    """Set a weight to N(0, gain^2 / fan_in), which for gain 1 keeps the variance of its input."""
    return nn.init.normal_(weight, 0.0, gain / math.sqrt(weight[0].numel()))


class BiasedLeakyReLU(nn.Module):
    """LeakyReLU of its input plus a learned bias per channel, which starts at 0.

    Args:
        channels: Width.
        negative_slope: Of the left half.
    """

    def __init__(self, channels: int, negative_slope: float = 0.2) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.negative_slope = negative_slope

    @property
    def gain(self) -> float:
        """Factor on the weights before it that keeps the variance, sqrt(2 / (1 + negative_slope^2))."""
        return math.sqrt(2 / (1 + self.negative_slope**2))

    def forward(self, features: Tensor) -> Tensor:
        """Same shape, (B, C, H, W)."""
        bias = self.bias.to(features.dtype)  # under autocast the features would otherwise be promoted
        return F.leaky_relu(features + bias[:, None, None], self.negative_slope)


class FixupBottleneck(nn.Module):
    """x + W3 a(W2 * a(W1 x)): 1x1, grouped 3x3 and 1x1 convolutions with a = `BiasedLeakyReLU` and no normalisation.

    The block of R3GAN's last configuration (Huang et al. 2024). W1 and W2 start at N(0, g^2 / fan_in) with
    g = sqrt(2 / (1 + 0.2^2)) depth^(-1/4), where fan_in of the grouped W2 is 9 expansion channels / cardinality; the
    exponent is -1 / (2 m - 2) for m = 3 layers a branch (Zhang et al. 2019, Fixup). W3 starts at 0, so that the block
    starts as the identity. Convolutions have no bias; the branch's sum is not scaled.

    Args:
        channels: Width of input and output.
        cardinality: Groups of the 3x3 convolution; must divide `expansion * channels`.
        expansion: Width of the branch as a multiple of `channels`.
        depth: Number of residual blocks in the whole network.

    Raises:
        ValueError: If `cardinality` does not divide the width of the branch.
    """

    def __init__(self, channels: int, cardinality: int, expansion: int, depth: int) -> None:
        super().__init__()
        width = expansion * channels
        if cardinality < 1 or width % cardinality:
            raise ValueError(f"cardinality: got {cardinality}, allowed are divisors of expansion * channels = {width}")
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.activation1 = BiasedLeakyReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=cardinality, bias=False)
        self.activation2 = BiasedLeakyReLU(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        for conv, activation in ((self.conv1, self.activation1), (self.conv2, self.activation2)):
            scaled_normal_(conv.weight, activation.gain * depth ** (-1 / 4))
        nn.init.zeros_(self.conv3.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Same shape, (B, C, H, W)."""
        branch = self.activation1(self.conv1(features))
        return features + self.conv3(self.activation2(self.conv2(branch)))
