r"""What a variational model minimises: one value per sample, in nats.

$\log p(x) \ge E_{q(z|x)}[\log p(x|z)] - KL(q(z|x) \| p(z))$, its weighted forms, and the tighter bound of several
latents.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from pl_genmodels.specs import Recorded
from pl_genmodels.types import Batch, Terms

MAX_VALUES = 1 << 22  # values of images that are decoded at once in an importance-weighted bound


class Latents(Protocol):
    """Latents of a batch, K an image, drawn from q(z|x)."""

    def kl(self) -> Tensor:
        """KL(q(z|x) || p(z)) of each dimension, or an estimate from the K latents, (B, n)."""

    def mean_kl(self) -> Tensor:
        """Its mean over the batch, that of all ranks, (n,)."""

    def log_ratio(self) -> Tensor:
        """Log p(z) - log q(z|x) of each latent, (K, B)."""


class VariationalObjective(Recorded, ABC):
    """What is minimised, made of latents and of how likely they make the images.

    Args:
        num_latents: Latents that are drawn for an image in training, K.

    Raises:
        ValueError: For K below 1.
    """

    def __init__(self, num_latents: int = 1) -> None:
        if num_latents < 1:
            raise ValueError(f"num_latents: got {num_latents}, allowed is 1 or more")
        self.num_latents = num_latents

    @abstractmethod
    def __call__(self, log_likelihood: Tensor, latents: Latents, images_seen: int) -> Terms:
        """Terms of a batch.

        Args:
            log_likelihood: log p(x|z) of each latent, (K, B).
            latents: See `Latents`.
            images_seen: In training so far.

        Returns:
            Nats by name, (B,) each.
        """


class EvidenceLowerBound(VariationalObjective):
    r"""$-C\,\frac1K\sum_k\log p(x|z_k) + \beta\,KL$; the bound itself needs weights of 1.

    C and $\beta$ are one knob, up to the size of the steps. $\beta$ above 1: Higgins et al. 2017. A KL whose weight
    grows from 0 keeps latents in use while the decoder is still poor: Bowman et al. 2016, Sonderby et al. 2016.

    Args:
        reconstruction_weight: C; above 1 sharper pictures, below 1 a latent nearer to its prior.
        kl_weight: Beta.
        warm_up_images: Images during which the KL's weight grows linearly from 0; 0 for none.
        num_latents: See `VariationalObjective`.

    Raises:
        ValueError: For a weight that is not positive, or a negative number of images.
    """

    def __init__(
        self,
        reconstruction_weight: float = 1.0,
        kl_weight: float = 1.0,
        warm_up_images: int = 0,
        num_latents: int = 1,
    ) -> None:
        super().__init__(num_latents)
        require_positive(reconstruction_weight=reconstruction_weight, kl_weight=kl_weight)
        if warm_up_images < 0:
            raise ValueError(f"warm_up_images: got {warm_up_images}, allowed is 0 or more")
        self.reconstruction_weight, self.kl_weight = reconstruction_weight, kl_weight
        self.warm_up_images = warm_up_images

    def __call__(self, log_likelihood: Tensor, latents: Latents, images_seen: int) -> Terms:  # noqa: D102
        grown = min(1.0, images_seen / self.warm_up_images) if self.warm_up_images else 1.0
        return {
            "reconstruction": -self.reconstruction_weight * log_likelihood.mean(0),
            "kl": self.kl_weight * grown * self.divergence(latents),
        }

    def divergence(self, latents: Latents) -> Tensor:
        """What a latent costs, (B,)."""
        return latents.kl().sum(1)


class FreeBits(EvidenceLowerBound):
    r"""A KL that costs nothing below some nats a dimension: $\sum_j \max(\lambda, E_{batch}[KL_j])$.

    Kingma et al. 2016, equation 15. The maximum is taken of the mean over the batch, that of all ranks, not of each
    image; a dimension below it has no gradient. Validation logs the KL as it is.

    Args:
        free_nats: Lambda.
        **kwargs: Of `EvidenceLowerBound`.

    Raises:
        ValueError: For a negative number of nats.
    """

    def __init__(self, free_nats: float = 0.25, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if free_nats < 0:
            raise ValueError(f"free_nats: got {free_nats}, allowed is 0 or more")
        self.free_nats = free_nats

    def divergence(self, latents: Latents) -> Tensor:  # noqa: D102
        kl = latents.kl()  # (B, n)
        return torch.where(latents.mean_kl() > self.free_nats, kl, self.free_nats).sum(1)


class Capacity(VariationalObjective):
    r"""$-\log p(x|z) + \gamma\,|E_{batch}[KL] - C|$ with a C that grows; Burgess et al. 2018, equation 8.

    Args:
        weight: Gamma.
        capacity: Last value of C, in nats.
        growth_images: Images during which C grows linearly from 0.
        num_latents: See `VariationalObjective`.

    Raises:
        ValueError: For values that are not positive.
    """

    def __init__(
        self, weight: float = 1000.0, capacity: float = 25.0, growth_images: int = 6_400_000, num_latents: int = 1
    ) -> None:
        super().__init__(num_latents)
        require_positive(weight=weight, capacity=capacity, growth_images=growth_images)
        self.weight, self.capacity, self.growth_images = weight, capacity, growth_images

    def __call__(self, log_likelihood: Tensor, latents: Latents, images_seen: int) -> Terms:  # noqa: D102
        capacity = self.capacity * min(1.0, images_seen / self.growth_images)
        side = (latents.mean_kl().sum() - capacity).sign()  # its mean over the batch is the absolute value
        excess = latents.kl().sum(1) - capacity
        return {"reconstruction": -log_likelihood.mean(0), "kl": self.weight * side.detach() * excess}


class ImportanceWeightedBound(VariationalObjective):
    r"""$-\log\frac1K\sum_k p(x, z_k)/q(z_k|x)$: tighter the larger K. Burda, Grosse, Salakhutdinov 2016, equation 8.

    What such a model's posterior says with one latent is a much looser bound: judge it by `log_likelihood`.

    Args:
        num_latents: K.
    """

    def __init__(self, num_latents: int = 50) -> None:
        super().__init__(num_latents)

    def __call__(self, log_likelihood: Tensor, latents: Latents, images_seen: int) -> Terms:  # noqa: D102
        weights = log_likelihood + latents.log_ratio()  # (K, B)
        return {"bound": math.log(self.num_latents) - weights.logsumexp(0)}


def weighted_bound(log_weights_of: Callable[[Batch, int], Tensor], batch: Batch, num_latents: int) -> Tensor:
    r"""$\log\frac1K\sum_k p(x, z_k)/q(z_k|x)$ of each image, in parts of bounded memory.

    Args:
        log_weights_of: Draws that many latents for each image of a part of the batch, and gives their
            log p(x, z) - log q(z|x), (k, b).
        batch: With `image`, (B, ...).
        num_latents: K.

    Returns:
        Nats, (B,).

    Raises:
        ValueError: For K below 1.
    """
    if num_latents < 1:
        raise ValueError(f"num_importance_samples: got {num_latents}, allowed is 1 or more")
    rows = max(1, MAX_VALUES // batch["image"][0].numel())
    size = max(1, rows // num_latents)
    bounds = []
    for columns in zip(*(value.split(size) for value in batch.values()), strict=True):
        part = dict(zip(batch, columns, strict=True))
        weights = [
            log_weights_of(part, min(rows, num_latents - start)).logsumexp(0) for start in range(0, num_latents, rows)
        ]
        bounds.append(torch.stack(weights).logsumexp(0) - math.log(num_latents))
    return torch.cat(bounds)


def require_positive(**values: float) -> None:
    """Check arguments.

    Raises:
        ValueError: If one is not more than 0.
    """
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"{name}: got {value}, allowed is more than 0")
