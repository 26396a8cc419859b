"""Divergences with a closed form: one value per sample, in nats."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG_TWO_PI = math.log(2 * math.pi)


def kl_of_dimensions(
    mean: Tensor, log_variance: Tensor, prior_mean: Tensor | None = None, prior_log_variance: Tensor | None = None
) -> Tensor:
    r"""KL(N(m, e^l) || N(m_p, e^{l_p})) of each dimension of diagonal normals.

    $\frac12(l_p - l + (e^l + (m - m_p)^2) e^{-l_p} - 1)$; without a prior it is the standard normal. Kingma, Welling
    2014, appendix B.

    Args:
        mean: m, (B, n).
        log_variance: l, (B, n).
        prior_mean: m_p, (B, n) or broadcastable; 0 by default.
        prior_log_variance: l_p, (B, n) or broadcastable; 0 by default.

    Returns:
        Nats, (B, n).
    """
    offset = mean if prior_mean is None else mean - prior_mean
    if prior_log_variance is None:
        terms = log_variance.exp() + offset.square() - 1 - log_variance
    else:
        ratio = log_variance - prior_log_variance
        terms = ratio.exp() + offset.square() * torch.exp(-prior_log_variance) - 1 - ratio
    return 0.5 * terms


def kl_normal(
    mean: Tensor, log_variance: Tensor, prior_mean: Tensor | None = None, prior_log_variance: Tensor | None = None
) -> Tensor:
    """The same summed over dimensions; see `kl_of_dimensions`.

    Returns:
        Nats, (B,).
    """
    return kl_of_dimensions(mean, log_variance, prior_mean, prior_log_variance).flatten(1).sum(1)


def log_normal(value: Tensor, mean: Tensor | None = None, log_variance: Tensor | None = None) -> Tensor:
    """Log-density of each dimension under diagonal normals, by default the standard one.

    Args:
        value: (..., B, n).
        mean: (B, n) or broadcastable; 0 by default.
        log_variance: (B, n) or broadcastable; 0 by default.

    Returns:
        Nats, (..., B, n).
    """
    offset = value if mean is None else value - mean
    if log_variance is None:
        return -0.5 * (offset.square() + LOG_TWO_PI)
    return -0.5 * (offset.square() * torch.exp(-log_variance) + log_variance + LOG_TWO_PI)
