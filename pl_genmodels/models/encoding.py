"""Models with an encoder and a decoder: the base of autoencoders of every kind."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pl_genmodels.losses import Bernoulli, Likelihood
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.latents import draw_latents
from pl_genmodels.models.likelihood import LikelihoodModule
from pl_genmodels.models.optimizers import OnePassAdam
from pl_genmodels.networks import Decoder, Encoder, MLPDecoder, MLPEncoder, NormalPrior
from pl_genmodels.types import ImageShape

DECODE_BATCH = 256  # latents that pass the decoder at once when many are asked for


class EncodingModule(LikelihoodModule):
    """An encoder from images to features, and a decoder from latents to the parameters of a likelihood.

    Args:
        image_shape: See `GenerativeModule`.
        latent_dim: Length of a latent.
        encoder: Called with the image shape and the number of features.
        decoder: Called with the shape of the likelihood's parameters and the length of a latent.
        likelihood: p(x|z).
        optimizer: Called with all parameters.
        **kwargs: See `LikelihoodModule`.

    Raises:
        ValueError: For a latent without length.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        latent_dim: int = 20,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        decoder: Callable[[tuple[int, ...], int], Decoder] = MLPDecoder,
        likelihood: Likelihood = Bernoulli(),
        optimizer: Callable[[Iterable], Optimizer] = OnePassAdam,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, optimizer, **kwargs)
        if latent_dim < 1:
            raise ValueError(f"latent_dim: got {latent_dim}, allowed is 1 or more")
        self.latent_dim = latent_dim
        self.prior = NormalPrior()
        self.likelihood = copy.deepcopy(likelihood)  # the default is one object for all models
        self._factories = (encoder, decoder)
        if self.image_shape is not None:
            self.configure_model()

    @property
    def is_built(self) -> bool:
        """Whether the networks exist."""
        return hasattr(self, "decoder")

    @property
    @abstractmethod
    def num_features(self) -> int:
        """Length of what the encoder gives."""

    def build(self, image_shape: ImageShape) -> None:
        """Create encoder and decoder."""
        self.build_networks(image_shape, image_shape, self.latent_dim)

    def build_networks(self, image_shape: ImageShape, encoded_shape: ImageShape, decoded_dim: int) -> None:
        """Create them for other inputs than the image and the latent alone.

        Args:
            image_shape: Of what the decoder's parameters are for.
            encoded_shape: Of the encoder's input.
            decoded_dim: Length of the decoder's.
        """
        encoder, decoder = self._factories
        channels, *size = image_shape
        self.encoder: nn.Module = encoder(encoded_shape, self.num_features)
        self.decoder: nn.Module = decoder((self.likelihood.num_parameters * channels, *size), decoded_dim)

    def features_of(self, image: Tensor) -> Tensor:
        """The encoder's features in at least single precision, (B, *encoded_shape) to (B, num_features)."""
        return at_least_single(self.encoder(image))

    def parameters_of(self, latent: Tensor) -> Tensor:
        """The likelihood's parameters in at least single precision, (B, decoded_dim) to (B, *parameter_shape)."""
        return at_least_single(self.decoder(latent.to(next(self.decoder.parameters()).dtype)))

    def mean_images(self, decoded: Tensor) -> Tensor:
        """Expected images, in evaluation mode, (N, decoded_dim) to (N, *image_shape)."""
        with evaluating(self):
            parts = [self.likelihood.mean(self.parameters_of(part)) for part in decoded.split(DECODE_BATCH)]
        return torch.cat(parts)

    # ---- what one does with it

    @abstractmethod
    def encode(self, image: Tensor) -> Tensor:
        """One latent for each image, (B, *image_shape) to (B, latent_dim)."""

    def decode(self, latents: Tensor) -> Tensor:
        """Expected images of latents, (B, latent_dim) to (B, *image_shape)."""
        return self.mean_images(latents)

    def reconstruct(self, image: Tensor) -> Tensor:
        """Images through their latents and back, (B, *image_shape)."""
        return self.decode(self.encode(image))

    def draw_latents(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:
        """Latents from the prior, (num_samples, latent_dim); see `sample` for the arguments.

        Raises:
            ValueError: For a number below 1.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        return draw_latents(self.prior, num_samples, self.latent_dim, self.device, seed=seed, first=first)

    def sample(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:  # noqa: D102
        return self.decode(self.draw_latents(num_samples, seed=seed, first=first))
