"""Posteriors of latents, q(z|x), from what an encoder says of an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pl_genmodels.layers.iaf import InverseAutoregressiveStep
from pl_genmodels.layers.ranks import mean_over_ranks
from pl_genmodels.losses.divergences import kl_of_dimensions, log_normal
from pl_genmodels.specs import Recorded


@dataclass
class DrawnLatents(ABC):
    """K latents of each image of a batch.

    Args:
        value: The latents, (K, B, n).
        prior: Means and log-variances of p(z), each (B, n); without, the standard normal.
    """

    value: Tensor
    prior: tuple[Tensor, Tensor] | None

    @abstractmethod
    def log_density(self) -> Tensor:
        """Log q(z|x) of each dimension, (K, B, n)."""

    def kl(self) -> Tensor:
        """Estimate of KL(q(z|x) || p(z)), each dimension's share of it, (B, n)."""
        return (self.log_density() - log_normal(self.value, *(self.prior or ()))).mean(0)

    def mean_kl(self) -> Tensor:
        """Its mean over the batch, that of all ranks, (n,)."""
        return mean_over_ranks(self.kl().mean(0))

    def log_ratio(self) -> Tensor:
        """Log p(z) - log q(z|x), (K, B)."""
        return (log_normal(self.value, *(self.prior or ())) - self.log_density()).sum(2)


@dataclass
class NormalLatents(DrawnLatents):
    """Latents of a diagonal normal posterior, whose KL has a closed form.

    Args:
        value: See `DrawnLatents`.
        prior: See `DrawnLatents`.
        mean: (B, n).
        log_variance: (B, n).
    """

    mean: Tensor
    log_variance: Tensor

    def log_density(self) -> Tensor:  # noqa: D102
        return log_normal(self.value, self.mean, self.log_variance)

    def kl(self) -> Tensor:
        """KL(q(z|x) || p(z)) of each dimension, (B, n)."""
        return kl_of_dimensions(self.mean, self.log_variance, *(self.prior or ()))


@dataclass
class FlowLatents(DrawnLatents):
    """Latents of a normalizing flow.

    Args:
        value: See `DrawnLatents`.
        prior: See `DrawnLatents`.
        log_densities: log q(z|x) of each dimension, (K, B, n).
    """

    log_densities: Tensor

    def log_density(self) -> Tensor:  # noqa: D102
        return self.log_densities


class Posterior(Recorded, nn.Module, ABC):
    """q(z|x) from an encoder's features.

    A model calls its posterior argument with the length of a latent.

    Args:
        latent_dim: Length of a latent, n.

    Attributes:
        num_features: What it takes from the encoder.
    """

    supplied: ClassVar[tuple[str, ...]] = ("latent_dim",)
    num_features: int

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    @abstractmethod
    def forward(self, features: Tensor, count: int, prior: tuple[Tensor, Tensor] | None = None) -> DrawnLatents:
        """Draw latents, with gradient.

        Args:
            features: (B, num_features).
            count: Latents an image, K.
            prior: Of the images, see `DrawnLatents`.
        """

    @abstractmethod
    def centre(self, features: Tensor) -> Tensor:
        """One latent that stands for all, (B, num_features) to (B, n)."""


def reparametrised(mean: Tensor, log_variance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Normal latents and the noise that they are made of, (B, n) to (count, B, n) each."""
    noise = torch.randn(count, *mean.shape, device=mean.device, dtype=mean.dtype)
    return torch.addcmul(mean, (0.5 * log_variance).exp(), noise), noise


class NormalPosterior(Posterior):
    r"""$N(\mu, \sigma^2)$ with independent dimensions; features are means and log-variances. Kingma, Welling 2014."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.num_features = 2 * latent_dim

    def forward(self, features: Tensor, count: int, prior: tuple[Tensor, Tensor] | None = None) -> NormalLatents:  # noqa: D102
        mean, log_variance = features.chunk(2, 1)
        return NormalLatents(reparametrised(mean, log_variance, count)[0], prior, mean, log_variance)

    def centre(self, features: Tensor) -> Tensor:
        """The mean."""
        return features.chunk(2, 1)[0]


class InverseAutoregressive(Posterior):
    r"""A diagonal normal moved by steps of inverse autoregressive flow; Kingma et al. 2016, algorithm 1.

    $\log q(z_T|x) = \log N(z_0) - \sum_t\sum_i\log\sigma_{t,i}$. The order of the dimensions is reversed between
    steps.

    Args:
        latent_dim: Length of a latent, n.
        num_steps: T.
        hidden_dim: Units of each hidden layer of a step.
        context_dim: Features of the image that every step sees.

    Raises:
        ValueError: For counts below 1.
    """

    def __init__(self, latent_dim: int, num_steps: int = 2, hidden_dim: int = 320, context_dim: int = 64) -> None:
        super().__init__(latent_dim)
        for name, value in (("num_steps", num_steps), ("hidden_dim", hidden_dim), ("context_dim", context_dim)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, allowed is 1 or more")
        self.num_features = 2 * latent_dim + context_dim
        self.steps = nn.ModuleList(
            InverseAutoregressiveStep(latent_dim, context_dim, hidden_dim, reverse=bool(index % 2))
            for index in range(num_steps)
        )

    def forward(self, features: Tensor, count: int, prior: tuple[Tensor, Tensor] | None = None) -> FlowLatents:  # noqa: D102
        mean, log_variance, context = self._split(features)
        latent, noise = reparametrised(mean, log_variance, count)
        log_density = log_normal(noise) - 0.5 * log_variance
        for step in self.steps:
            latent, log_scale = step(latent, context)
            log_density = log_density - log_scale
        return FlowLatents(latent, prior, log_density)

    def centre(self, features: Tensor) -> Tensor:
        """Where the normal's mean is moved to."""
        latent, _, context = self._split(features)
        for step in self.steps:
            latent, _ = step(latent, context)
        return latent

    def _split(self, features: Tensor) -> tuple[Tensor, ...]:
        n = self.latent_dim
        return features.split([n, n, self.num_features - 2 * n], 1)
