"""How a mixture of generators is boosted: the weights of the data for the next one, and the shares of all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def boosting_weights(ratio: Tensor, beta: float, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""What the next generator of a mixture should learn, as weights of the data (Tolstikhin et al. 2017, AdaGAN).

    $w_i = \frac{1}{\beta} (\lambda - (1 - \beta) h_i)_+$ with $\lambda$ such that their mean is 1 (equation 12 and
    algorithm 3): much for data that the mixture so far has too little of, nothing for those of which it has enough.

    Args:
        ratio: h, the density of the mixture over that of the data, at data that are equally probable, (N,).
        beta: Share of the next generator, in (0, 1].
        among: h of all data whose mean weight is 1, if these are some of them, (M,).

    Returns:
        The weights, (N,), and lambda.

    Raises:
        ValueError: For a share outside of its range.
    """
    if not 0 < beta <= 1:
        raise ValueError(f"beta: got {beta}, allowed is more than 0, at most 1")
    ordered = (ratio if among is None else among).sort().values
    count = torch.arange(1, len(ordered) + 1, dtype=ratio.dtype, device=ratio.device)
    # lambda if the k least ratios have weight; the smallest k for which the next one has none
    level = (beta * len(ordered) + (1 - beta) * ordered.cumsum(0)) / count
    after = torch.cat([(1 - beta) * ordered[1:], ordered.new_full((1,), torch.inf)])
    chosen = level.index_select(0, (level <= after).int().argmax().view(1))[0]
    return (chosen - (1 - beta) * ratio).clamp(min=0) / beta, chosen


def mixture_shares(betas: Sequence[float]) -> Tensor:
    """Shares of generators in a mixture that each joined with a share of its own, the first with 1: sums to 1, (T,)."""
    shares = torch.ones(0, dtype=torch.double)
    for beta in betas:
        shares = torch.cat([(1 - beta) * shares, torch.tensor([beta], dtype=torch.double)])
    return shares
