"""Conditional variational autoencoder of the unseen part of a picture (Sohn, Lee, Yan 2015)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pl_genmodels.layers.quadrants import SeenQuadrants, check_quadrants
from pl_genmodels.losses import Bernoulli, Likelihood
from pl_genmodels.losses.objectives import weighted_bound
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.latents import draw_latents
from pl_genmodels.models.likelihood import ObjectiveModule
from pl_genmodels.models.optimizers import OnePassAdam
from pl_genmodels.models.posteriors import DrawnLatents, NormalPosterior
from pl_genmodels.networks import Decoder, Encoder, MLPDecoder, MLPEncoder, NormalPrior
from pl_genmodels.networks.base import require_picture
from pl_genmodels.types import Batch, ImageShape, Paper, Terms, as_batch


class CVAEStructured(ObjectiveModule):
    r"""Predicts y, the unseen quadrants of a picture, from x, the seen ones (equations 4 to 6, 10 and 12).

    $\log p(y|x) \ge E_{q(z|x,y)}[\log p(y|x,z)] - KL(q(z|x,y) \| p(z|x))$ with a learnt prior. The hybrid objective is
    $\alpha$ of this and $1 - \alpha$ of $E_{p(z|x)}[\log p(y|x,z)]$; 0 is the Gaussian stochastic network,
    which has no q.

    Args:
        image_shape: See `GenerativeModule`.
        quadrants: The seen ones, of `top_left`, `top_right`, `bottom_left`, `bottom_right`.
        latent_dim: Length of a latent.
        encoder: Recognition network q(z|x,y), called with the image shape and 2 latent_dim; it sees the whole picture.
        prior_encoder: Prior network p(z|x), called alike; it sees grey (0) instead of what is unseen.
        decoder: Called with the shape of the likelihood's parameters and the length of a latent with the seen values.
        likelihood: p(y|x,z).
        recognition_share: Alpha.
        optimizer: Called with all parameters.
        **kwargs: See `ObjectiveModule`.

    Raises:
        ValueError: For a latent without length, a share outside of [0, 1], unknown quadrants, or all or none of them.
    """

    paper = Paper(
        "Learning Structured Output Representation using Deep Conditional Generative Models",
        "Sohn, Lee, Yan",
        2015,
        "https://papers.nips.cc/paper/5775-learning-structured-output-representation-using-deep-conditional-generative-models",
        "several completions of one picture: a prior of the latent that is learnt from what is seen",
    )
    directions: ClassVar[tuple[str, ...]] = ("AtoB",)

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        quadrants: Sequence[str] = ("bottom_left",),
        latent_dim: int = 20,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        prior_encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        decoder: Callable[[tuple[int, ...], int], Decoder] = MLPDecoder,
        likelihood: Likelihood = Bernoulli(),
        recognition_share: float = 1.0,
        optimizer: Callable[[Iterable], Optimizer] = OnePassAdam,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, optimizer, **kwargs)
        if latent_dim < 1:
            raise ValueError(f"latent_dim: got {latent_dim}, allowed is 1 or more")
        if not 0 <= recognition_share <= 1:
            raise ValueError(f"recognition_share: got {recognition_share}, allowed is 0 to 1")
        self.quadrants, self.latent_dim, self.share = (
            check_quadrants(quadrants),
            latent_dim,
            recognition_share,
        )
        self.posterior, self.likelihood = NormalPosterior(latent_dim), copy.deepcopy(likelihood)
        self._factories = (encoder, prior_encoder, decoder)
        if self.image_shape is not None:
            self.configure_model()

    @property
    def is_built(self) -> bool:
        """Whether the networks exist."""
        return hasattr(self, "decoder")

    source_shape = property(lambda self: self.image_shape, doc="Shape of a picture to complete, as of the result.")

    def build(self, image_shape: ImageShape) -> None:
        """Create the three networks."""
        channels, height, width = require_picture("CVAEStructured", image_shape)
        self.parts = SeenQuadrants(height, width, self.quadrants)
        encoder, prior_encoder, decoder = self._factories
        self.encoder: nn.Module | None = encoder(image_shape, 2 * self.latent_dim) if self.share > 0 else None
        self.prior_encoder: nn.Module = prior_encoder(image_shape, 2 * self.latent_dim)
        parameters = (self.likelihood.num_parameters * channels, height, width)
        self.decoder: nn.Module = decoder(parameters, self.latent_dim + channels * self.parts.num_seen)

    def terms(self, batch: Batch) -> Terms:
        """The hybrid objective, with latents of the recognition network and of the prior."""
        image, share, terms = batch["image"], self.share, dict[str, Tensor]()
        if share > 0:
            latents = self.latents_of(image, 1)
            terms["reconstruction"] = -share * self.log_likelihoods(latents.value, image)[0]
            terms["kl"] = share * latents.kl().sum(1)
        if share < 1:
            latents = self.latents_of(image, 1, from_prior=True)
            terms["prior_reconstruction"] = -(1 - share) * self.log_likelihoods(latents.value, image)[0]
        return terms

    def evaluation_terms(self, batch: Batch) -> Terms:
        """The bound, or without recognition network that of latents from the prior, whose KL is 0."""
        latents = self.latents_of(batch["image"], 1)
        return {"reconstruction": -self.log_likelihoods(latents.value, batch["image"])[0], "kl": latents.kl().sum(1)}

    def prior_of(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of p(z|x), each (B, latent_dim)."""
        mean, log_variance = at_least_single(self.prior_encoder(self.parts.blank(image))).chunk(2, 1)
        return mean, log_variance

    def latents_of(self, image: Tensor, count: int, from_prior: bool = False) -> DrawnLatents:
        """Latents of pictures, from p(z|x) or from q(z|x,y), so many a picture."""
        prior = self.prior_of(image)
        features = torch.cat(prior, 1) if from_prior or self.encoder is None else at_least_single(self.encoder(image))
        return self.posterior(features, count, prior)

    def parameters_of(self, latents: Tensor, image: Tensor) -> Tensor:
        """The likelihood's parameters, from (K, B, latent_dim) and (B, *image_shape) to (K * B, *parameter_shape)."""
        seen = self.parts.seen(image)
        decoded = torch.cat([latents, seen.to(latents.dtype).expand(len(latents), -1, -1)], 2).flatten(0, 1)
        return at_least_single(self.decoder(decoded.to(next(self.decoder.parameters()).dtype)))

    def log_likelihoods(self, latents: Tensor, image: Tensor) -> Tensor:
        """Values of log p(y|x,z), sums over unseen pixels only, (K, B, latent_dim) to (K, B)."""
        parameters = self.parts.unseen(self.parameters_of(latents, image))
        repeated = self.parts.unseen(image).repeat(len(latents), 1, 1)
        return self.likelihood.log_prob(parameters, repeated).unflatten(0, (len(latents), -1))

    def log_likelihood(self, image: Tensor, num_importance_samples: int = 500, from_prior: bool = False) -> Tensor:
        r"""Estimate of log p(y|x), $\log\frac1K\sum_k p(y|x,z_k)\,p(z_k|x)/r(z_k)$ (equations 13 and 14), in parts.

        Args:
            image: (B, *image_shape).
            num_importance_samples: K.
            from_prior: Whether r is p(z|x), which makes it plain Monte Carlo, or q(z|x,y), where there is one.

        Returns:
            Nats of the unseen values, (B,).

        Raises:
            ValueError: For K below 1.
        """

        def log_weights_of(part: Batch, count: int) -> Tensor:
            latents = self.latents_of(part["image"], count, from_prior)
            return self.log_likelihoods(latents.value, part["image"]) + latents.log_ratio()

        with evaluating(self):
            return weighted_bound(log_weights_of, {"image": image}, num_importance_samples)

    def translate(self, images: Tensor, direction: str = "AtoB", seed: int | None = None) -> Tensor:
        """Complete pictures: the seen quadrants as they are, and what one latent from p(z|x) says of the others.

        Args:
            images: In [-1, 1], (B, *image_shape); of which the unseen quadrants are not looked at.
            direction: `AtoB`, the only one.
            seed: Of the latents.

        Returns:
            Expected pictures given that latent, (B, *image_shape).

        Raises:
            ValueError: For another direction.
        """
        if direction not in self.directions:
            raise ValueError(f"direction: got {direction!r}, which a CVAEStructured has not, allowed: AtoB")
        images = images.to(self.device, next(self.decoder.parameters()).dtype)
        with evaluating(self):
            mean, log_variance = self.prior_of(images)
            noise = draw_latents(NormalPrior(), len(images), self.latent_dim, self.device, seed=seed).to(mean.dtype)
            latents = mean + (0.5 * log_variance).exp() * noise
            predicted = self.likelihood.mean(self.parameters_of(latents[None], images))
        return at_least_single(self.parts.complete(images, predicted))

    def panels(self, batch: Batch, direction: str = "AtoB", seed: int | None = None) -> dict[str, Tensor]:
        """Columns of a grid: what is seen, two completions, and the picture itself."""
        image, seeds = batch["image"], (None, None) if seed is None else (seed, seed + 1)
        first, second = (self.translate(image, direction, one) for one in seeds)
        return {"source": self.parts.blank(image), "translation": first, "another": second, "target": image}

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Completions of the batch's pictures."""
        return self.translate(as_batch(batch, self.batch_keys)["image"])
