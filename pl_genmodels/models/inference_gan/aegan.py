"""AEGAN: the inverse of a finished generator (Luo et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pl_genmodels.losses import squared_error
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating, keeping_gradient, stored_for
from pl_genmodels.models.freezing import FreezingGAN
from pl_genmodels.networks import (
    Discriminator,
    Encoder,
    Generator,
    MLPDiscriminator,
    MLPEncoder,
    MLPGenerator,
)
from pl_genmodels.networks.wrapped import feature_lengths
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class AEGAN(FreezingGAN):
    r"""$\min_E E_z \|G(z) - G(E(G(z)))\|^2$ for a generator that has learnt and stays as it is: E inverts G.

    The error is between images, because where several latents make the same one, regression on latents gives their
    mean, which makes another. The decoder of this autoencoder is G as it samples, with running statistics and, if
    there are any, averaged weights; its inputs are generated samples, never real ones.

    With `feature_weight` the distance between features of D's layer l is added,
    $\lambda \|D_l(G(z)) - D_l(G(E(G(z))))\|^2$; D is as in evaluation and learns nothing from it. Both errors are
    means, over values and over features.

    Not the AEGAN of Lazarou 2020, in which four networks learn at once.

    Args:
        image_shape: See `GenerativeModule`.
        generator: G, called with the image shape, or a finished network, which `gan_updates=0` leaves as it is.
        discriminator: Called with the image shape.
        encoder: E, called with the image shape and the length of a latent.
        feature_weight: lambda, of the distance between features; 0 looks at pictures alone.
        feature_layer: l, a number of the discriminator's list of features; -1 is the last.
        **kwargs: See `FreezingGAN`.

    Raises:
        ValueError: For a negative weight, and with one for a discriminator without features or without that layer.
    """

    paper = Paper(
        "Learning Inverse Mapping by Autoencoder based Generative Adversarial Nets",
        "Luo et al.",
        2017,
        "https://arxiv.org/abs/1703.10094",
        "the inverse of a generator is the encoder of an autoencoder whose decoder is that generator",
    )

    encoder: Encoder

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        feature_weight: float = 0.0,
        feature_layer: int = -1,
        **kwargs: Any,
    ) -> None:
        if feature_weight < 0:
            raise ValueError(f"feature_weight: got {feature_weight}, allowed is 0 or more")
        self._make_encoder = encoder
        self.feature_weight, self.feature_layer = feature_weight, feature_layer
        super().__init__(image_shape, generator=generator, discriminator=discriminator, **kwargs)

    def build(self, image_shape: ImageShape) -> None:
        """Create the players, then the encoder, which has to know how long latents are."""
        super().build(image_shape)
        self.encoder = self._make_encoder(image_shape, self.generator.latent_dim)
        stored_for(image_shape, self.encoder)
        if self.feature_weight:
            count = len(feature_lengths(self.discriminator))
            if not -count <= self.feature_layer < count:
                raise ValueError(f"feature_layer: got {self.feature_layer}, allowed are {-count} to {count - 1}")

    def encoder_terms(self, batch: Batch, generated: Batch) -> Terms:
        """How far generated samples are from what their codes make, and their features from each other."""
        with evaluating(self.sampler):
            image = self._made(batch["latent"])
        codes = self.encoder(image.to(batch["latent"].dtype))
        with keeping_gradient(), evaluating(self.sampler):
            again = self._made(codes)
        terms = {"reconstruction": squared_error(at_least_single(again), at_least_single(image))}
        if self.feature_weight:
            with keeping_gradient(), evaluating(self.discriminator):
                found, wanted = self._features(again), self._features(image)
            terms["features"] = self.feature_weight * squared_error(found, wanted)
        return terms

    def _features(self, images: Tensor) -> Tensor:
        return at_least_single(self.discriminator(images, with_features=True)[1][self.feature_layer])

    def _made(self, latents: Tensor) -> Tensor:
        return self.sampler(latents.to(next(self.sampler.parameters()).dtype))

    # ---- what one does with it

    def encode(self, image: Tensor) -> Tensor:
        """Latents, (B, *image_shape) to (B, latent_dim)."""
        with evaluating(self.encoder):
            return at_least_single(self.encoder.centre(image.to(next(self.encoder.parameters()).dtype)))

    def reconstruct(self, image: Tensor) -> Tensor:
        """Samples through their latents and back, (B, *image_shape)."""
        return self.decode(self.encode(image))
