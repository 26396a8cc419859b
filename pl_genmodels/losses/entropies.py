"""Entropies of what a classifier says of samples, in nats: one value per sample."""

from __future__ import annotations

import torch
from torch import Tensor

from pl_genmodels.layers.ranks import mean_over_ranks


def entropy(logits: Tensor) -> Tensor:
    """How uncertain a classifier is of each sample: H(p(y|x)).

    Args:
        logits: (B, K).

    Returns:
        From 0 to log K, (B,).
    """
    log_shares = logits.log_softmax(1)
    return -(log_shares.exp() * log_shares).sum(1)


def marginal_entropy(logits: Tensor) -> Tensor:
    r"""How equally classes are used over the batches of all ranks: $H(\frac1B \sum_i p(y|x_i))$.

    Args:
        logits: (B, K).

    Returns:
        From 0 to log K, the same for every sample, (B,).
    """
    shares = mean_over_ranks(logits.softmax(1).mean(0))
    logarithms = shares.clamp(min=torch.finfo(shares.dtype).tiny).log()  # that of 0 has no gradient
    return -(shares * logarithms).sum().expand(len(logits))
