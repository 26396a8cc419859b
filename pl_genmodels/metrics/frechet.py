"""The Frechet distance between Gaussians, and the sums it needs of a set of features."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class FrechetStatistics(Metric):
    """Number, mean and covariance of a stream of features, from sums in float64.

    The states are plain sums, so that any sharding over processes, even or not, gives the statistics of the whole.

    Args:
        num_features: Length d of one feature vector.

    Raises:
        ValueError: If `num_features` is not positive.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None

    count: Tensor  # ()
    total: Tensor  # (d,)
    outer: Tensor  # (d, d)

    def __init__(self, num_features: int) -> None:
        super().__init__()
        if num_features < 1:
            raise ValueError(f"num_features: got {num_features}, allowed is 1 or more")
        self.num_features = num_features
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(num_features, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("outer", torch.zeros(num_features, num_features, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor) -> None:
        """Add features, (B, d).

        Raises:
            ValueError: If they have another shape.
        """
        if features.ndim != 2 or features.shape[1] != self.num_features:
            raise ValueError(f"features: got shape {tuple(features.shape)}, allowed is (B, {self.num_features})")
        features = features.detach().to(self.total.device).to(self.total.dtype)
        self.count += len(features)
        self.total += features.sum(0)
        self.outer += features.T @ features

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean (d,) and covariance (d, d) over all processes."""
        return self.mean_and_covariance()

    def mean_and_covariance(self) -> tuple[Tensor, Tensor]:
        """Mean (d,) and unbiased covariance (d, d) of what this process holds, in float64.

        Raises:
            ValueError: If fewer than two features were added.
        """
        if self.count < 2:
            raise ValueError(f"features: got {int(self.count)}, allowed are 2 or more for a covariance")
        mean = self.total / self.count
        covariance = (self.outer - self.count * torch.outer(mean, mean)) / (self.count - 1)
        return mean, covariance


def frechet_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> Tensor:
    r"""Squared Frechet (Wasserstein-2) distance between two Gaussians, in float64; singular covariances are allowed.

    .. math:: |m_1 - m_2|^2 + \mathrm{tr}(S_1 + S_2 - 2 (S_1^{1/2} S_2 S_1^{1/2})^{1/2})

    The product is symmetric, so two symmetric eigenvalue problems replace the square root of the unsymmetric
    :math:`S_1 S_2`: no imaginary parts, and several times less work.

    Reference: Dowson and Landau, "The Frechet distance between multivariate normal distributions", 1982; as FID in
    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017, eq. 6.

    Args:
        mean1: (d,).
        covariance1: Symmetric and positive semi-definite, (d, d).
        mean2: (d,).
        covariance2: Symmetric and positive semi-definite, (d, d).

    Returns:
        One number, 0 or more; NaN if anything in the arguments is not finite.
    """
    mean1, covariance1, mean2, covariance2 = (x.double() for x in (mean1, covariance1, mean2, covariance2))
    if not all(bool(x.isfinite().all()) for x in (mean1, covariance1, mean2, covariance2)):
        return mean1.new_full((), torch.nan)
    values, vectors = torch.linalg.eigh(covariance1)
    root1 = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    product = root1 @ covariance2 @ root1
    values = torch.linalg.eigvalsh((product + product.T) / 2)
    trace_of_root = values.clamp(min=0).sqrt().sum()  # rounding leaves eigenvalues slightly below 0
    distance = (mean1 - mean2).square().sum() + covariance1.trace() + covariance2.trace() - 2 * trace_of_root
    return distance.clamp(min=0)
