"""Noise on the input of a denoising autoencoder, in training only."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pl_genmodels.layers.noise import normal_like
from pl_genmodels.specs import Recorded


class Corruption(Recorded, nn.Module, ABC):
    """Makes images worse in training, and leaves them alone in evaluation."""

    @abstractmethod
    def corrupt(self, image: Tensor) -> Tensor:
        """Worse images, (B, ...) to the same."""

    def forward(self, image: Tensor) -> Tensor:
        """Worse images in training, (B, ...) to the same."""
        return self.corrupt(image) if self.training else image


class GaussianCorruption(Corruption):
    """Normal noise on every value.

    Args:
        std: Its standard deviation, in units of the data.

    Raises:
        ValueError: For a deviation that is not positive.
    """

    def __init__(self, std: float = 0.5) -> None:
        super().__init__()
        if std <= 0:
            raise ValueError(f"std: got {std}, allowed is more than 0")
        self.std = std

    def corrupt(self, image: Tensor) -> Tensor:  # noqa: D102
        return image + self.std * normal_like(image)


class MaskingCorruption(Corruption):
    """A share of the values is blackened (-1), drawn anew for each image; Vincent et al. 2008, section 2.3.

    Args:
        share: Probability that a value is.

    Raises:
        ValueError: For a share outside of (0, 1).
    """

    def __init__(self, share: float = 0.25) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise ValueError(f"share: got {share}, allowed is more than 0 and less than 1")
        self.share = share

    def corrupt(self, image: Tensor) -> Tensor:  # noqa: D102
        return image.masked_fill(torch.rand_like(image) < self.share, -1.0)
