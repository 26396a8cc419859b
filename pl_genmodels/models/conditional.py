"""Generators that are told what to make: the base of every conditional GAN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.layers.conditioning import Condition, Conditioned, Labels
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.conditions import values_for
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.told import ToldModule
from pl_genmodels.networks import ConcatGenerator, ConditionalDiscriminator, ConditionalGenerator
from pl_genmodels.types import Batch, ImageShape, Terms


def refuse_replay(replay_size: int) -> None:
    """Refuse to show a discriminator that looks at conditions earlier samples, whose conditions are not kept.

    Raises:
        ValueError: For a size other than 0.
    """
    if replay_size:
        raise ValueError(f"replay_size: got {replay_size}, allowed is 0 with conditions, which are not kept")


class ToldGenerator(ToldModule, LatentGAN):
    """A generator of latents and conditions against a discriminator that may see the condition or not.

    Generated samples have the conditions of the batch's real ones, so that both follow one law.

    Args:
        image_shape: See `GenerativeModule`.
        condition: What the generator is told. Labels come from a batch's entry `label`, properties from `attributes`.
        generator: Called with the image shape and the length of a condition.
        **kwargs: See `LatentGAN`.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        condition: Condition = Labels(),
        generator: Callable[[tuple[int, ...], int], ConditionalGenerator] = ConcatGenerator,
        **kwargs: Any,
    ) -> None:
        self.condition = condition
        super().__init__(image_shape, generator=generator, **kwargs)  # type: ignore[arg-type]

    def create(self, player: str, factory: Any, image_shape: ImageShape) -> Any:
        """The generator knows how long a condition is."""
        return factory(image_shape, self.condition.dim) if player == "generator" else factory(image_shape)

    # ---- training

    def draw_for_clock(self, batch: Batch) -> Batch:
        """New latents for the generator's turn, with the same conditions."""
        condition = batch["condition"].repeat(self.generator_batch_factor, 1)
        return {**super().draw_for_clock(batch), "condition": condition}

    def generate(self, batch: Batch) -> Batch:
        """Samples from the trained generator, and what it was told."""
        return {"image": self.generator(batch["latent"], batch["condition"]), "condition": batch["condition"]}


class ConditionalGAN(ToldGenerator):
    """The discriminator sees the condition too: D minimises loss(D(x, y), D(G(z, y), y)).

    Args:
        image_shape: See `GenerativeModule`.
        discriminator: Called with the image shape and the length of a condition.
        **kwargs: See `ToldGenerator`.

    Raises:
        ValueError: For a replay of earlier samples, which would lose their conditions.
    """

    discriminator: ConditionalDiscriminator  # type: ignore[assignment]

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        discriminator: Callable[[tuple[int, ...], int], ConditionalDiscriminator],
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, discriminator=discriminator, **kwargs)
        refuse_replay(self.replay_size)

    def create(self, player: str, factory: Any, image_shape: ImageShape) -> Any:
        """Both networks know how long a condition is."""
        return factory(image_shape, self.condition.dim)

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Real and generated samples, each with its condition, as two batches."""
        real, fake = self.augment(batch["image"]), self.augment(generated["image"])
        condition = batch["condition"]
        judged = self.judge_pairs(real, condition), self.judge_pairs(fake, generated["condition"])
        told = Conditioned(self.discriminator, condition)
        return {"adversarial": self.loss.discriminator(*judged), **self.penalty_terms(real, fake, told)}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The discriminator is held still; its answers on real samples are constants."""
        real = None
        if self.loss.generator_needs_real:
            with torch.no_grad():
                real = self.judge_pairs(self.augment(batch["image"]), batch["condition"])
        fake = self.judge_pairs(self.augment(generated["image"]), generated["condition"])
        return {"adversarial": self.loss.generator(fake, real)}

    def judge_pairs(self, images: Tensor, condition: Tensor) -> Tensor:
        """Logits of samples with conditions, in at least single precision, (B,)."""
        return at_least_single(self.discriminator(images, condition))

    def logits_of(self, batch: Batch, fake: Tensor, seed: int) -> tuple[Tensor, Tensor]:  # noqa: D102
        drawn = self.condition.vectors(values_for(self.condition, None, len(fake), self.device, seed=seed))
        return self.judge_pairs(batch["image"], self.condition_of(batch)), self.judge_pairs(fake, drawn)
