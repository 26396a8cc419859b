"""Divergences with a closed form: one value per sample, in nats."""

from __future__ import annotations

import torch
from torch import Tensor


def kl_normal(
    mean: Tensor, log_variance: Tensor, prior_mean: Tensor | None = None, prior_log_variance: Tensor | None = None
) -> Tensor:
    r"""KL(N(m, e^l) || N(m_p, e^{l_p})) of diagonal normals, summed over dimensions.

    $\frac12\sum(l_p - l + (e^l + (m - m_p)^2) e^{-l_p} - 1)$; without a prior it is the standard normal. Kingma,
    Welling 2014, appendix B.

    Args:
        mean: m, (B, n).
        log_variance: l, (B, n).
        prior_mean: m_p, (B, n) or broadcastable; 0 by default.
        prior_log_variance: l_p, (B, n) or broadcastable; 0 by default.

    Returns:
        Nats, (B,).
    """
    offset = mean if prior_mean is None else mean - prior_mean
    if prior_log_variance is None:
        terms = log_variance.exp() + offset.square() - 1 - log_variance
    else:
        ratio = log_variance - prior_log_variance
        terms = ratio.exp() + offset.square() * torch.exp(-prior_log_variance) - 1 - ratio
    return 0.5 * terms.flatten(1).sum(1)
