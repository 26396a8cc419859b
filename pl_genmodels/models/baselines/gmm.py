"""Mixture of normal distributions fitted by EM (Dempster, Laird, Rubin 1977)."""

from __future__ import annotations

import math

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from pl_genmodels.models.fitted import MAX_PAIRS, FittedModule, pick
from pl_genmodels.types import ImageShape, Paper


class GMM(FittedModule):
    r"""$p(x) = \sum_k \pi_k N(x; \mu_k, \Sigma_k)$, by EM from a k-means start.

    Args:
        image_shape: See `GenerativeModule`.
        num_components: K; with fewer training images than that, there are as many components as images.
        covariance: `full`, or `diag` for pixels that are independent within a component.
        regularization: Added to every variance; without it a component on a single image has unbounded density.
        max_steps: Of EM.
        seed: Of k-means.

    Raises:
        ValueError: For counts below 1, an unknown covariance or a negative regularisation.
    """

    paper = Paper(
        "Maximum Likelihood from Incomplete Data via the EM Algorithm",
        "Dempster, Laird, Rubin",
        1977,
        "https://doi.org/10.1111/j.2517-6161.1977.tb01600.x",
        "steps that alternate between who made each sample and what each maker is; the likelihood never falls",
    )
    weights: Tensor  # (K,)
    means: Tensor  # (K, D)
    factors: Tensor  # (K, D, D) upper triangular, or (K, D): inverse covariance is factor factor^T

    def __init__(
        self,
        image_shape: ImageShape | None = None,
        num_components: int = 10,
        covariance: str = "full",
        regularization: float = 4e-3,
        max_steps: int = 100,
        seed: int = 0,
    ) -> None:
        for name, count in (("num_components", num_components), ("max_steps", max_steps)):
            if count < 1:
                raise ValueError(f"{name}: got {count}, allowed is 1 or more")
        if covariance not in ("full", "diag"):
            raise ValueError(f"covariance: got {covariance!r}, allowed are 'full' and 'diag'")
        if regularization < 0:
            raise ValueError(f"regularization: got {regularization}, allowed is 0 or more")
        self._num_components, self._covariance = num_components, covariance
        self._options = {"reg_covar": regularization, "max_iter": max_steps, "random_state": seed}
        super().__init__(image_shape)

    def start(self, length: int) -> dict[str, Tensor]:
        """A standard normal distribution."""
        factor = torch.ones(1, length) if self._covariance == "diag" else torch.eye(length).unsqueeze(0)
        return {"weights": torch.ones(1), "means": torch.zeros(1, length), "factors": factor}

    def estimate(self, rows: Tensor) -> dict[str, Tensor]:
        """EM by scikit-learn."""
        from sklearn.mixture import GaussianMixture

        count = min(self._num_components, len(rows))
        if count < self._num_components:
            rank_zero_warn(f"num_components: got {self._num_components}, allowed are as many as images, {count}")
        found = GaussianMixture(count, covariance_type=self._covariance, **self._options).fit(rows.numpy())
        values = {"weights": found.weights_, "means": found.means_, "factors": found.precisions_cholesky_}
        return {name: torch.from_numpy(value) for name, value in values.items()}

    def log_density(self, rows: Tensor) -> Tensor:
        """Logarithm of the sum over components."""
        size = max(1, MAX_PAIRS // self.means.numel())
        return torch.cat([self._log_joint(part).logsumexp(1) for part in rows.split(size)])

    def _log_joint(self, rows: Tensor) -> Tensor:
        """Of images and components together, (B, D) to (B, K)."""
        centred = rows.unsqueeze(1) - self.means  # (B, K, D)
        diagonal = self.factors
        if self._covariance == "full":
            diagonal = self.factors.diagonal(dim1=1, dim2=2)
            white = torch.einsum("bkd,kde->bke", centred, self.factors)
        else:
            white = centred * self.factors
        constant = self.weights.log() + diagonal.log().sum(1) - 0.5 * rows.shape[1] * math.log(2 * math.pi)
        return constant - 0.5 * white.square().sum(2)

    @property
    def num_normals(self) -> int:
        """One for the component, and one for every value."""
        return 1 + self.gathered.length

    def transform(self, normals: Tensor) -> Tensor:
        """A component, and a row of it."""
        chosen = pick(self.weights.cumsum(0), normals[:, 0])
        noise = normals[:, 1:]
        if self._covariance == "diag":
            return self.means[chosen] + noise / self.factors[chosen]
        rows = torch.empty_like(noise)
        for index, factor in enumerate(self.factors):
            mine = chosen == index
            rows[mine] = torch.linalg.solve_triangular(factor, noise[mine], upper=True, left=False)
        return rows + self.means[chosen]
