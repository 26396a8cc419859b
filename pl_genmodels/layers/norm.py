"""Normalisation of image translation networks: per picture, and by the statistics of the batch at hand."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

NORMS = ("instance", "batch", "none")


class PictureNorm2d(nn.Module):
    """Instance normalisation without learned gain or bias and without running statistics (Ulyanov et al. 2016).

    Computed as group normalisation with one channel a group: the same numbers, and on CPU a third of the time of
    torch's own.

    Args:
        num_features: Channels.
        eps: Added to the variance.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features, self.eps = num_features, eps

    def forward(self, image: Tensor) -> Tensor:
        """Each channel of each picture with mean 0 and variance 1, (B, C, H, W)."""
        return F.group_norm(image, self.num_features, eps=self.eps)

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.num_features}, eps={self.eps}"


class AtHandBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that never uses running statistics: in evaluation each picture is its own batch.

    Isola et al. 2017, section 3.3: the network is run at test time as in training, with the statistics of the test
    batch. Their test batches are single pictures; here a batch of pictures gives the same results as one after the
    other. Running statistics are kept for those who read them.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Normalised, scaled and shifted, (B, C, H, W)."""
        if self.training:
            return super().forward(image)
        return F.group_norm(image, self.num_features, self.weight, self.bias, self.eps)


def norm_layers(kind: str, channels: int, *, at_hand: bool = False) -> list[nn.Module]:
    """A normalisation, or nothing.

    Args:
        kind: `instance`, `batch` or `none`.
        channels: Of its input.
        at_hand: Batch normalisation by the statistics of the batch at hand in evaluation too.

    Raises:
        ValueError: For another kind.
    """
    if kind not in NORMS:
        raise ValueError(f"norm: got {kind!r}, allowed are {', '.join(NORMS)}")
    if kind == "none":
        return []
    if kind == "instance":
        return [PictureNorm2d(channels)]
    return [AtHandBatchNorm2d(channels) if at_hand else nn.BatchNorm2d(channels)]


def mixes_pictures(network: nn.Module) -> bool:
    """Whether the pictures of a training batch influence each other's results: batch normalisation is in it."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
