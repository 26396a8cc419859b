"""Variational autoencoders: the base of every one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pl_genmodels.losses import EvidenceLowerBound, VariationalObjective
from pl_genmodels.losses.objectives import weighted_bound
from pl_genmodels.models.encoding import EncodingModule
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.posteriors import DrawnLatents, NormalPosterior, Posterior
from pl_genmodels.types import Batch, ImageShape, Terms


class VariationalModule(EncodingModule):
    r"""Maximises a bound on the likelihood with latents from an encoder; Kingma, Welling 2014, equations 3 and 7.

    $\log p(x) \ge E_{q(z|x)}[\log p(x|z)] - KL(q(z|x) \| p(z))$. Training minimises the terms of the objective;
    validation logs those of the bound itself, one latent an image: `reconstruction`, $-\log p(x|z)$, and `kl`, in
    nats, whatever weights training has.

    Args:
        image_shape: See `GenerativeModule`.
        posterior: q(z|x), called with the length of a latent.
        objective: What is minimised.
        **kwargs: See `EncodingModule`.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        posterior: Callable[[int], Posterior] = NormalPosterior,
        objective: VariationalObjective = EvidenceLowerBound(),
        **kwargs: Any,
    ) -> None:
        self._make_posterior, self.objective = posterior, objective
        super().__init__(image_shape, **kwargs)

    def build(self, image_shape: ImageShape) -> None:
        """Create posterior, encoder and decoder."""
        self.posterior = self._make_posterior(self.latent_dim)
        super().build(image_shape)

    @property
    def num_features(self) -> int:
        """What the posterior takes."""
        return self.posterior.num_features

    # ---- the bound

    def terms(self, batch: Batch) -> Terms:
        """Terms of the objective."""
        latents = self.latents_of(batch, self.objective.num_latents)
        return self.objective(self.log_likelihoods(latents.value, batch), latents, self.images_seen)

    def evaluation_terms(self, batch: Batch) -> Terms:
        """Negative evidence lower bound, one latent an image."""
        latents = self.latents_of(batch, 1)
        return {
            "reconstruction": -self.log_likelihoods(latents.value, batch)[0],
            "kl": latents.kl().sum(1),
        }

    def encoder_input(self, batch: Batch) -> Tensor:
        """What the encoder sees, (B, ...)."""
        return batch["image"]

    def decoder_input(self, latents: Tensor, batch: Batch) -> Tensor:
        """What the decoder sees of latents, (K, B, latent_dim) to (K, B, ...)."""
        return latents

    def latents_of(self, batch: Batch, count: int) -> DrawnLatents:
        """Latents from the posterior, so many an image, with gradient."""
        return self.posterior(self.features_of(self.encoder_input(batch)), count)

    def log_likelihoods(self, latents: Tensor, batch: Batch) -> Tensor:
        """Log p(x|z) of K latents an image, (K, B, latent_dim) to (K, B)."""
        image, count = batch["image"], len(latents)
        parameters = self.parameters_of(self.decoder_input(latents, batch).flatten(0, 1))
        repeated = image.expand(count, *image.shape).flatten(0, 1)
        return self.likelihood.log_prob(parameters, repeated).unflatten(0, (count, -1))

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
        return self.weighted_bound({"image": image}, num_importance_samples)

    def weighted_bound(self, batch: Batch, num_importance_samples: int) -> Tensor:
        """The same of batches with more than images."""

        def log_weights_of(part: Batch, count: int) -> Tensor:
            latents = self.latents_of(part, count)
            return self.log_likelihoods(latents.value, part) + latents.log_ratio()

        with evaluating(self):
            return weighted_bound(log_weights_of, batch, num_importance_samples)

    # ---- what one does with it

    def encode(self, image: Tensor) -> Tensor:
        """The posterior's mean, or what stands for it, (B, *image_shape) to (B, latent_dim)."""
        with evaluating(self):
            return self.posterior.centre(self.features_of(image))
