"""Latents in layers, each given those above: what a variational objective asks of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pl_genmodels.layers.ranks import mean_over_ranks
from pl_genmodels.losses import log_normal
from pl_genmodels.networks.ladder import Rung


@dataclass
class LadderLatents:
    """K latents of each image of a batch, in layers.

    Args:
        cost: log q(z|x) - log p(z) of each value given the layers above, (K, B, z, H, W) of each layer.
    """

    cost: list[Tensor]

    @classmethod
    def of(cls, rungs: list[Rung], count: int) -> LadderLatents:
        """Latents of a network's layers, `count` an image."""
        cost = []
        for rung in rungs:
            log_posterior = log_normal(rung.noise) - rung.log_scale
            log_prior = log_normal(rung.value, rung.prior_mean, 2 * rung.prior_log_std)
            cost.append((log_posterior - log_prior).unflatten(0, (count, -1)))
        return cls(cost)

    def kl(self) -> Tensor:
        """Estimate of each feature map's share of KL(q(z|x) || p(z)), (B, layers z)."""
        return torch.cat([each.mean(0).sum((2, 3)) for each in self.cost], 1)

    def mean_kl(self) -> Tensor:
        """Its mean over the batch, that of all ranks, (layers z,)."""
        return mean_over_ranks(self.kl().mean(0))

    def log_ratio(self) -> Tensor:
        """Log p(z) - log q(z|x), (K, B)."""
        return -torch.stack([each.flatten(2).sum(2) for each in self.cost]).sum(0)
