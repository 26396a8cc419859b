"""Noise inside of networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def normal_like(values: Tensor) -> Tensor:
    """Standard normal numbers of a tensor's shape, kind and device, in rows whatever its layout.

    `torch.randn_like` keeps channels_last, in which a CPU draws one number at a time: six times slower.
    """
    return torch.randn(values.shape, dtype=values.dtype, device=values.device)


class GaussianNoise(nn.Module):
    """Normal noise on what passes, in training only: it keeps a discriminator from learning few samples by heart.

    Salimans et al. 2016, the authors' code: 0.3 on the input and 0.5 on hidden layers.

    Args:
        std: In units of what passes.

    Raises:
        ValueError: If it is negative.
    """

    def __init__(self, std: float = 0.5) -> None:
        super().__init__()
        if std < 0:
            raise ValueError(f"std: got {std}, allowed is 0 or more")
        self.std = std

    def forward(self, features: Tensor) -> Tensor:
        """Of any shape, kept."""
        return features + self.std * normal_like(features) if self.training and self.std else features

    def extra_repr(self) -> str:  # noqa: D102
        return f"std={self.std}"


class NoiseDropout(nn.Module):
    """Dropout that is a generator's only source of randomness, and therefore stays on in evaluation.

    Isola et al. 2017, section 2.3.

    Args:
        p: Share of values set to 0; the others are scaled by 1 / (1 - p).

    Raises:
        ValueError: If it is not in [0, 1).
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p: got {p}, allowed is 0 up to but not including 1")
        self.p = p

    def forward(self, features: Tensor) -> Tensor:
        """Of any shape, kept."""
        kept = torch.rand(features.shape, device=features.device) >= self.p
        return features * (kept / (1 - self.p)).to(features.dtype)

    def extra_repr(self) -> str:  # noqa: D102
        return f"p={self.p}"
