"""A generator and an encoder against a discriminator of samples with latents: the base of BiGAN and ALI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import ConditionalDiscriminator, Encoder, Generator, MLPGenerator, PairDiscriminator
from pl_genmodels.types import Batch, ImageShape, Terms


class InferringGAN(LatentGAN):
    """D tells pairs (x, E(x)) from pairs (G(z), z); G and E are one player and want the two confused.

    They minimise D's loss with its two halves exchanged: both terms are flipped, so that neither vanishes when D wins.
    No reconstruction enters the loss; where no D can tell the pairs apart, E inverts G.

    Penalties look at the gradient with respect to sample and latent together.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        encoder: Called with the image shape and the length of a latent.
        discriminator: Called with the image shape and the length of a latent.
        **kwargs: See `LatentGAN`; of `loss` the discriminator's part is used, by both players.
    """

    discriminator: ConditionalDiscriminator  # type: ignore[assignment]
    encoder: Encoder

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        encoder: Callable[[tuple[int, ...], int], Encoder],
        discriminator: Callable[[tuple[int, ...], int], ConditionalDiscriminator] = PairDiscriminator,
        **kwargs: Any,
    ) -> None:
        self._make_encoder = encoder
        super().__init__(
            image_shape,
            generator=generator,
            discriminator=discriminator,  # type: ignore[arg-type]
            replay_size=0,
            generator_batch_factor=1,
            **kwargs,
        )

    # ---- building

    def build(self, image_shape: ImageShape) -> None:
        """Create the three networks, the generator first: it says how long a latent is."""
        self._factories["encoder"] = self._make_encoder  # type: ignore[assignment]
        super().build(image_shape)

    def create(self, player: str, factory: Any, image_shape: ImageShape) -> Any:
        """All but the generator are told how long a latent is."""
        return factory(image_shape) if player == "generator" else factory(image_shape, self.generator.latent_dim)

    def player_networks(self, player: str) -> list[nn.Module]:
        """Generator and encoder are one player's."""
        return [*super().player_networks(player), *([self.encoder] if player == "generator" else [])]

    # ---- the two players

    def generate(self, batch: Batch) -> Batch:
        """Samples of the latents, and latents of the samples."""
        return {"image": self.generator(batch["latent"]), "code": self.encoder(batch["image"])}

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Samples with their codes against latents with their samples."""
        real, fake = self.augment(batch["image"]), self.augment(generated["image"])
        inferred, made = self.judge_pairs(real, generated["code"]), self.judge_pairs(fake, batch["latent"])
        terms = {"adversarial": self.loss.discriminator(inferred, made)}
        if not self.penalties:
            return terms
        pairs = rows(real, generated["code"]), rows(fake, batch["latent"])
        return {**terms, **self.penalty_terms(*pairs, OfRows(self.discriminator))}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The same with the halves exchanged."""
        inferred = self.judge_pairs(self.augment(batch["image"]), generated["code"])
        made = self.judge_pairs(self.augment(generated["image"]), batch["latent"])
        return {"adversarial": self.loss.discriminator(made, inferred)}

    def judge_pairs(self, images: Tensor, latents: Tensor) -> Tensor:
        """Logits of samples with latents, in at least single precision, (B,)."""
        return at_least_single(self.discriminator(images, latents))

    def logits_of(self, batch: Batch, fake: Tensor, seed: int) -> tuple[Tensor, Tensor]:  # noqa: D102
        image = batch["image"]
        return self.judge_pairs(image, self.encoder.centre(image)), self.judge_pairs(fake, self._latents_of(fake, seed))

    def _latents_of(self, fake: Tensor, seed: int) -> Tensor:
        return self.draw_latents(len(fake), seed=seed).to(fake.dtype)

    # ---- what one does with it

    def encode(self, image: Tensor) -> Tensor:
        """The encoder's latents, of one that draws their centre, (B, *image_shape) to (B, latent_dim)."""
        with evaluating(self.encoder):
            return at_least_single(self.encoder.centre(image.to(next(self.encoder.parameters()).dtype)))

    def reconstruct(self, image: Tensor) -> Tensor:
        """Samples through their latents and back, (B, *image_shape)."""
        return self.decode(self.encode(image))


class OfRows(nn.Module):
    """A discriminator of samples and latents as one of rows that hold both.

    Args:
        discriminator: Called with samples and latents.
    """

    def __init__(self, discriminator: ConditionalDiscriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, pairs: Tensor) -> Tensor:
        """Logits, (B, n + K) to (B,)."""
        latents = self.discriminator.condition_dim
        image = pairs[:, :-latents].unflatten(1, self.discriminator.image_shape)
        return self.discriminator(image, pairs[:, -latents:])


def rows(images: Tensor, latents: Tensor) -> Tensor:
    """Samples and latents in a row, (B, *image_shape) and (B, K) to (B, n + K)."""
    return torch.cat([images.flatten(1), latents.to(images.dtype)], 1)
