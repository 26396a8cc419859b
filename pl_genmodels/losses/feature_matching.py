"""What a generator can be told by the mean of features."""

from __future__ import annotations

import torch
from torch import Tensor

from pl_genmodels.layers.ranks import mean_over_ranks
from pl_genmodels.losses.precision import at_least_single

DISTANCES = ("squared", "absolute")


def feature_matching(real: Tensor, fake: Tensor, distance: str = "squared") -> Tensor:
    r"""Distance between the mean features of real and of generated samples, averaged over features.

    The objective is $\|E_x f(x) - E_z f(G(z))\|^2$ (Salimans et al. 2016, section 3.1); the authors' code divides by
    the number of features, as here, and has absolute differences for colour pictures. Means are over all ranks.

    Args:
        real: f(x), detached, (B, ...).
        fake: f(G(z)), (B', ...).
        distance: `squared` or `absolute`.

    Returns:
        The same value for every generated sample, (B',).

    Raises:
        ValueError: For another distance.
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance: got {distance!r}, allowed are {', '.join(DISTANCES)}")
    wanted, found = (mean_over_ranks(at_least_single(features).flatten(1).mean(0)) for features in (real, fake))
    error = found - wanted
    return (error.square() if distance == "squared" else error.abs()).mean().expand(len(fake))


def class_feature_matching(real: Tensor, fake: Tensor, vectors: Tensor) -> Tensor:
    r"""Sum over classes of the squared distance between the mean features of real and of generated samples of each.

    $\sum_c \|E_c f(x) - E_c f(G(z, c))\|^2$ (Bao et al. 2017, equation 7), averaged over features as in
    `feature_matching`. Means are over the samples of all ranks; a class without any adds nothing.

    Args:
        real: f(x), detached, (B, ...).
        fake: f(G(z, c)), of the same classes in the same order, (B, ...).
        vectors: 1 at the class of each sample and else 0, (B, K).

    Returns:
        The same value for every sample, (B,).
    """
    difference = (at_least_single(fake) - at_least_single(real)).flatten(1)  # (B, F)
    vectors = vectors.to(difference.dtype)
    with torch.autocast(difference.device.type, enabled=False):
        sums = mean_over_ranks(vectors.T @ difference / len(fake))  # (K, F)
    shares = mean_over_ranks(vectors.mean(0))
    means = sums / shares.clamp(min=torch.finfo(shares.dtype).tiny)[:, None]
    return means.square().mean(1).sum().expand(len(fake))
