"""Auto-encoding variational Bayes (Kingma, Welling 2014)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pl_genmodels.losses import Bernoulli, Likelihood, kl_normal
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.latents import draw_latents
from pl_genmodels.models.likelihood import LikelihoodModule
from pl_genmodels.networks import Decoder, Encoder, MLPDecoder, MLPEncoder, NormalPrior
from pl_genmodels.types import Batch, ImageShape, Paper, Terms

DECODE_BATCH = 256  # latents that pass the decoder at once when many are asked for
MAX_ROWS = 4096  # rows of (image, latent) that pass the decoder at once in the importance-weighted bound


class VAE(LikelihoodModule):
    r"""Maximises the evidence lower bound (equations 3 and 7).

    $\log p(x) \ge E_{q(z|x)}[\log p(x|z)] - KL(q(z|x) \| N(0, I))$ with $q(z|x) = N(\mu(x), \sigma^2(x))$ and one
    latent $z = \mu + \sigma\epsilon$ an image. Terms in nats an image: `reconstruction`, $-C\log p(x|z)$, and `kl`.

    Args:
        image_shape: See `GenerativeModule`.
        latent_dim: Length of a latent.
        encoder: Called with the image shape and 2 latent_dim, for mean and log-variance.
        decoder: Called with the shape of the likelihood's parameters and the length of a latent.
        likelihood: p(x|z).
        reconstruction_weight: C; above 1 sharper pictures, below 1 a latent nearer to its prior. The bound needs 1.
        optimizer: Called with all parameters.
        **kwargs: See `LikelihoodModule`.

    Raises:
        ValueError: For a latent without length or a weight that is not positive.
    """

    paper = Paper(
        "Auto-Encoding Variational Bayes",
        "Kingma, Welling",
        2014,
        "https://arxiv.org/abs/1312.6114",
        "an encoder trained with the decoder through reparametrised latents; a bound on the likelihood",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        latent_dim: int = 20,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        decoder: Callable[[tuple[int, ...], int], Decoder] = MLPDecoder,
        likelihood: Likelihood = Bernoulli(),
        reconstruction_weight: float = 1.0,
        optimizer: Callable[[Iterable], Optimizer] = torch.optim.Adam,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, optimizer, **kwargs)
        if latent_dim < 1:
            raise ValueError(f"latent_dim: got {latent_dim}, allowed is 1 or more")
        if reconstruction_weight <= 0:
            raise ValueError(f"reconstruction_weight: got {reconstruction_weight}, allowed is more than 0")
        self.latent_dim, self.reconstruction_weight = latent_dim, reconstruction_weight
        self.prior = NormalPrior()
        self.likelihood = likelihood
        self._factories = (encoder, decoder)
        if self.image_shape is not None:
            self.configure_model()

    @property
    def is_built(self) -> bool:
        """Whether the networks exist."""
        return hasattr(self, "decoder")

    def build(self, image_shape: ImageShape) -> None:
        """Create encoder and decoder."""
        encoder, decoder = self._factories
        channels, *size = image_shape
        self.encoder: nn.Module = encoder(image_shape, 2 * self.latent_dim)
        self.decoder: nn.Module = decoder((self.likelihood.num_parameters * channels, *size), self.latent_dim)

    # ---- the bound

    def terms(self, batch: Batch) -> Terms:
        """Negative bound of equation 7, one latent an image."""
        image = batch["image"]
        mean, log_variance = self.posterior(image)
        latent = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        reconstruction = -self.likelihood.log_prob(self._parameters_of(latent), image)
        return {
            "reconstruction": self.reconstruction_weight * reconstruction,
            "kl": kl_normal(mean, log_variance),
        }

    def posterior(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x) in at least single precision, each (B, latent_dim)."""
        mean, log_variance = at_least_single(self.encoder(image)).chunk(2, 1)
        return mean, log_variance

    def _parameters_of(self, latent: Tensor) -> Tensor:
        return at_least_single(self.decoder(latent.to(next(self.decoder.parameters()).dtype)))

    def log_likelihood(self, image: Tensor, num_importance_samples: int = 500) -> Tensor:
        r"""Importance-weighted bound $\log\frac1K\sum_k p(x, z_k)/q(z_k|x)$, tighter the larger K (Burda et al. 2016).

        Args:
            image: (B, *image_shape).
            num_importance_samples: K; 1 is an estimate of the evidence lower bound. They are drawn in parts that fit
                in memory.

        Returns:
            Nats, (B,).

        Raises:
            ValueError: For K below 1.
        """
        if num_importance_samples < 1:
            raise ValueError(f"num_importance_samples: got {num_importance_samples}, allowed is 1 or more")
        rows = max(1, MAX_ROWS // num_importance_samples)
        with evaluating(self):
            return torch.cat([self._log_likelihood(part, num_importance_samples) for part in image.split(rows)])

    def _log_likelihood(self, image: Tensor, num_importance_samples: int) -> Tensor:
        mean, log_variance = self.posterior(image)
        weights = []
        for start in range(0, num_importance_samples, MAX_ROWS):
            count = min(MAX_ROWS, num_importance_samples - start)
            noise = torch.randn(count, *mean.shape, device=mean.device, dtype=mean.dtype)  # (K, B, latent_dim)
            latent = mean + (0.5 * log_variance).exp() * noise
            parameters = self._parameters_of(latent.flatten(0, 1))
            repeated = image.expand(count, *image.shape).flatten(0, 1)
            likelihood = self.likelihood.log_prob(parameters, repeated).unflatten(0, (count, -1))  # (K, B)
            # log p(z) - log q(z|x): the normalising constants cancel
            ratio = 0.5 * (noise.square() - latent.square() + log_variance).sum(2)
            weights.append((likelihood + ratio).logsumexp(0))
        return torch.stack(weights).logsumexp(0) - math.log(num_importance_samples)

    # ---- what one does with it

    def encode(self, image: Tensor) -> Tensor:
        """Posterior means, (B, *image_shape) to (B, latent_dim)."""
        with evaluating(self):
            return self.posterior(image)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Expected images of latents, (B, latent_dim) to (B, *image_shape)."""
        with evaluating(self):
            parts = [self.likelihood.mean(self._parameters_of(part)) for part in latents.split(DECODE_BATCH)]
        return torch.cat(parts)

    def reconstruct(self, image: Tensor) -> Tensor:
        """Images through the mean of their posterior and back, (B, *image_shape)."""
        return self.decode(self.encode(image))

    def draw_latents(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:
        """Latents from the prior, (num_samples, latent_dim); see `sample` for the arguments."""
        return draw_latents(self.prior, num_samples, self.latent_dim, self.device, seed=seed, first=first)

    def sample(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:  # noqa: D102
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        return self.decode(self.draw_latents(num_samples, seed=seed, first=first))
