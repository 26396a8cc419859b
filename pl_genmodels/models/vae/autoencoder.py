"""Autoencoder (Hinton, Salakhutdinov 2006), denoising if wanted (Vincent et al. 2008)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.layers import Corruption, RunningNormal
from pl_genmodels.layers.ranks import mean_over_ranks
from pl_genmodels.losses import Gaussian, Likelihood
from pl_genmodels.models.encoding import EncodingModule
from pl_genmodels.models.engine import evaluating
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class Autoencoder(EncodingModule):
    r"""Minimises $-\log p(x \mid D(E(x)))$, for the default likelihood $|x - D(E(x))|^2$ and a constant, summed.

    Departs from the paper: trained as a whole, without restricted Boltzmann machines before. Nothing shapes the codes,
    so that there is no distribution to sample them from; `sample` decodes draws from a normal distribution that
    follows the mean and covariance of the training codes, and shows how badly that does beside a VAE.

    Args:
        image_shape: See `GenerativeModule`.
        latent_dim: Length of a code.
        likelihood: Gaussian of fixed variance for squared errors (of variance 1/2 for a factor of 1), Bernoulli for
            cross-entropy.
        corruption: Noise on the encoder's input in training; the target stays clean.
        **kwargs: See `EncodingModule`.
    """

    paper = Paper(
        "Reducing the Dimensionality of Data with Neural Networks",
        "Hinton, Salakhutdinov",
        2006,
        "https://doi.org/10.1126/science.1127647",
        "deep networks to a short code and back, below the error of PCA",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        latent_dim: int = 30,
        likelihood: Likelihood = Gaussian(std=math.sqrt(0.5)),
        corruption: Corruption | None = None,
        **kwargs: Any,
    ) -> None:
        self._corruption = (corruption,)  # bare, a module could not be kept before it has been initialised
        super().__init__(image_shape, latent_dim=latent_dim, likelihood=likelihood, **kwargs)

    @property
    def num_features(self) -> int:
        """A code."""
        return self.latent_dim

    def build(self, image_shape: ImageShape) -> None:
        """Create encoder and decoder, and what follows the codes."""
        super().build(image_shape)
        (self.corruption,) = self._corruption
        self.codes_ema = RunningNormal(self.latent_dim)

    def terms(self, batch: Batch) -> Terms:
        """Negative log-likelihood given the code."""
        image = batch["image"]
        code = self.features_of(image if self.corruption is None else self.corruption(image))
        if self.training:
            self._follow(code.detach())
        return {"reconstruction": -self.likelihood.log_prob(self.parameters_of(code), image)}

    def _follow(self, code: Tensor) -> None:
        length = self.latent_dim
        moments = torch.cat([code.mean(0), (code.T @ code / len(code)).flatten()])
        mean, square = mean_over_ranks(moments).split([length, length**2])
        self.codes_ema.follow(mean, square.view(length, length))

    def encode(self, image: Tensor) -> Tensor:
        """Codes, (B, *image_shape) to (B, latent_dim)."""
        with evaluating(self):
            return self.features_of(image)

    def draw_latents(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:
        """Codes from the normal distribution that training codes were followed by, (num_samples, latent_dim)."""
        return self.codes_ema.transform(super().draw_latents(num_samples, seed=seed, first=first))
