"""What a generator can be told by the mean of features."""

from __future__ import annotations

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
