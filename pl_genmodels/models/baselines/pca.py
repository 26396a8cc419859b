"""Probabilistic principal component analysis (Tipping, Bishop 1999)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pl_genmodels.models.fitted import FittedModule
from pl_genmodels.types import ImageShape, Paper


class PCA(FittedModule):
    r"""Normal images whose covariance is that of a linear latent model (equations 2, 7 and 8).

    $x = Wz + \mu + \sigma\epsilon$, hence $x \sim N(\mu, WW^T + \sigma^2 I)$. By maximum likelihood $\sigma^2$ is the
    mean of the discarded eigenvalues of the covariance (divided by N), and $W = U(\Lambda - \sigma^2 I)^{1/2}$ holds
    the kept ones. `encode` and `decode` are those of ordinary PCA, the limit of no noise.

    Args:
        image_shape: See `GenerativeModule`.
        latent_dim: Number of components.
        min_std: Least standard deviation in any direction; a singular covariance would have unbounded density.

    Raises:
        ValueError: For a latent without length or longer than an image, or a deviation that is not positive.
    """

    paper = Paper(
        "Probabilistic Principal Component Analysis",
        "Tipping, Bishop",
        1999,
        "https://doi.org/10.1111/1467-9868.00196",
        "principal components as the maximum-likelihood solution of a linear latent model with a density",
    )
    mean: Tensor  # (D,)
    components: Tensor  # (latent_dim, D), orthonormal or 0
    variances: Tensor  # (latent_dim,), of the data along each component
    noise: Tensor  # (), variance along every other direction

    def __init__(self, image_shape: ImageShape | None = None, latent_dim: int = 20, min_std: float = 0.01) -> None:
        if latent_dim < 1:
            raise ValueError(f"latent_dim: got {latent_dim}, allowed is 1 or more")
        if min_std <= 0:
            raise ValueError(f"min_std: got {min_std}, allowed is more than 0")
        self._latent_dim, self._min_std = latent_dim, min_std
        super().__init__(image_shape)

    @property
    def latent_dim(self) -> int:
        """Length of a code."""
        return self._latent_dim

    def start(self, length: int) -> dict[str, Tensor]:
        """A standard normal distribution."""
        if self.latent_dim > length:
            raise ValueError(f"latent_dim: got {self.latent_dim}, allowed are up to the {length} values of an image")
        components = torch.eye(self.latent_dim, length)
        return {
            "mean": torch.zeros(length),
            "components": components,
            "variances": torch.ones(len(components)),
            "noise": torch.ones(()),
        }

    def estimate(self, rows: Tensor) -> dict[str, Tensor]:
        """Components by scikit-learn, variances divided by N."""
        from sklearn import decomposition

        kept = min(self.latent_dim, *rows.shape)
        found = decomposition.PCA(kept, svd_solver="full").fit(rows.numpy())
        length, least = rows.shape[1], self._min_std**2
        total, by_n = float(rows.var(0, correction=0).sum()), (len(rows) - 1) / len(rows)
        kept_variances = torch.from_numpy(found.explained_variance_) * by_n
        left = max(total - float(kept_variances.sum()), 0.0)
        noise = max(left / (length - self.latent_dim), least) if length > self.latent_dim else least
        components = torch.zeros(self.latent_dim, length, dtype=rows.dtype)
        components[:kept] = torch.from_numpy(found.components_)
        variances = torch.full((self.latent_dim,), noise, dtype=rows.dtype)
        variances[:kept] = kept_variances.clamp_min(noise)
        mean = torch.from_numpy(found.mean_)
        return {"mean": mean, "components": components, "variances": variances, "noise": torch.tensor(noise)}

    def log_density(self, rows: Tensor) -> Tensor:
        """Within the components, and across them."""
        centred = rows - self.mean
        code = centred @ self.components.T  # (B, latent_dim)
        across = (centred - code @ self.components).square().sum(1) / self.noise
        within = (code.square() / self.variances + self.variances.log()).sum(1)
        rest = rows.shape[1] - self.latent_dim
        return -0.5 * (within + across + rest * self.noise.log() + rows.shape[1] * math.log(2 * math.pi))

    @property
    def num_normals(self) -> int:
        """A latent, and noise on every value."""
        return self.latent_dim + self.gathered.length

    def transform(self, normals: Tensor) -> Tensor:
        """Equation 2."""
        latent, noise = normals.split([self.latent_dim, self.gathered.length], 1)
        scaled = latent * (self.variances - self.noise).clamp_min(0).sqrt()
        return scaled @ self.components + self.mean + self.noise.sqrt() * noise

    def encode(self, image: Tensor) -> Tensor:
        """Coordinates along the components, (B, *image_shape) to (B, latent_dim)."""
        return ((image.flatten(1).double() - self.mean) @ self.components.T).float()

    def decode(self, latents: Tensor) -> Tensor:
        """Images of coordinates, (B, latent_dim) to (B, *image_shape); those of pictures are cut to [-1, 1]."""
        images = (latents.double() @ self.components + self.mean).float().unflatten(1, self.image_shape or ())
        return images.clamp(-1, 1) if images.ndim == 4 else images

    def reconstruct(self, image: Tensor) -> Tensor:
        """Images without what lies across the components, (B, *image_shape)."""
        return self.decode(self.encode(image))
