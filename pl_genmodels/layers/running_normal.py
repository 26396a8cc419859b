"""A normal distribution that follows what passes by."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RunningNormal(nn.Module):
    """Mean and covariance of vectors as averages over the last batches.

    Args:
        length: Of a vector, n.
        momentum: Share of a new batch; 0.01 looks back over some hundred batches.
    """

    mean: Tensor  # (n,)
    covariance: Tensor  # (n, n)
    num_batches: Tensor  # ()

    def __init__(self, length: int, momentum: float = 0.01) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(length))
        self.register_buffer("covariance", torch.eye(length))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def follow(self, mean: Tensor, square: Tensor) -> None:
        """Take in a batch.

        The first batches weigh equally, so that the start is soon forgotten.

        Args:
            mean: Of its vectors, (n,).
            square: Mean of their outer products, (n, n).
        """
        self.num_batches += 1
        share = self.num_batches.double().reciprocal().clamp_min(self.momentum).to(self.mean.dtype)
        before = self.covariance + torch.outer(self.mean, self.mean)
        self.mean.lerp_(mean.to(self.mean.dtype), share)
        after = torch.lerp(before, square.to(before.dtype), share)
        self.covariance.copy_(after - torch.outer(self.mean, self.mean))

    def transform(self, normals: Tensor) -> Tensor:
        """Vectors from independent standard normal ones, (B, n) to (B, n)."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return self.mean + (normals.to(values.dtype) * values.clamp_min(0).sqrt()) @ vectors.T
