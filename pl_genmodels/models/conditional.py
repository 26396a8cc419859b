"""Generators that are told what to make: the base of every conditional GAN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.layers.conditioning import Condition, Conditioned, Labels
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.conditions import asked_of, check_first, required, values_for
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.latent_generator import DECODE_BATCH
from pl_genmodels.networks import ConcatGenerator, ConditionalDiscriminator, ConditionalGenerator
from pl_genmodels.types import Batch, ImageShape, Terms


class ToldGenerator(LatentGAN):
    """A generator of latents and conditions against a discriminator that may see the condition or not.

    Generated samples have the conditions of the batch's real ones, so that both follow one law.

    Args:
        image_shape: See `GenerativeModule`.
        condition: What the generator is told. Labels come from a batch's entry `label`, properties from `attributes`.
        generator: Called with the image shape and the length of a condition.
        **kwargs: See `LatentGAN`.
    """

    generator: ConditionalGenerator  # type: ignore[assignment]

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

    def read_batch(self, batch: Any) -> Batch:
        """A batch by name.

        Raises:
            ValueError: If the condition is missing, or the run's first batch has values that there are not.
        """
        named = self.plain_batch(batch)
        required(self.condition, named, type(self).__name__)
        if self.images_seen == 0:
            check_first(self.condition, named, len(named["image"]))
        return named

    def plain_batch(self, batch: Any) -> Batch:
        """A batch by name, with a condition or without."""
        return super().read_batch(batch)

    def draw(self, batch: Batch) -> Batch:
        """Add latents, and the vectors of the conditions."""
        return {**super().draw(batch), "condition": self.condition_of(batch)}

    def condition_of(self, batch: Batch) -> Tensor:
        """What the generator is told, (B, K)."""
        return self.condition.vectors(batch[self.condition.entry])

    def draw_for_clock(self, batch: Batch) -> Batch:
        """New latents for the generator's turn, with the same conditions."""
        condition = batch["condition"].repeat(self.generator_batch_factor, 1)
        return {**super().draw_for_clock(batch), "condition": condition}

    def generate(self, batch: Batch) -> Batch:
        """Samples from the trained generator, and what it was told."""
        return {"image": self.generator(batch["latent"], batch["condition"]), "condition": batch["condition"]}

    def forward(self, latents: Tensor, condition: Tensor) -> Tensor:  # type: ignore[override]
        """Samples with gradient, in the current mode, from the trained (not averaged) generator."""
        return self.generator(latents, condition)

    # ---- what one does with it

    def decode(
        self,
        latents: Tensor,
        label: Tensor | int | None = None,
        *,
        attributes: Tensor | None = None,
        code: Tensor | None = None,
    ) -> Tensor:
        """Samples for latents, in evaluation mode, from averaged weights if there are any.

        Args:
            latents: (B, latent_dim).
            label: (B,), or one for all, for a model of labels. Of what is not given all samples get the same one.
            attributes: (B, n), or (n,) for all, for a model of properties.
            code: (B, L), or (L,) for all, for a model of codes.

        Returns:
            (B, *image_shape), in at least single precision.
        """
        asked = asked_of(self, label=label, attributes=attributes, code=code)
        wanted = values_for(self.condition, None, 1, self.device, seed=0)[0] if asked is None else asked
        return self._decode(latents, values_for(self.condition, wanted, len(latents), self.device))

    def _decode(self, latents: Tensor, values: Tensor) -> Tensor:
        condition = self.condition.vectors(values)
        with evaluating(self.sampler):
            dtype = next(self.sampler.parameters()).dtype
            parts = zip(latents.to(dtype).split(DECODE_BATCH), condition.to(dtype).split(DECODE_BATCH), strict=True)
            samples = torch.cat([self.sampler(*part) for part in parts])
        return at_least_single(samples if samples.ndim == 2 else samples.clamp(-1, 1))

    def sample(
        self,
        num_samples: int,
        *,
        label: Tensor | int | None = None,
        attributes: Tensor | None = None,
        code: Tensor | None = None,
        seed: int | None = None,
        first: int = 0,
    ) -> Tensor:
        """Draw samples; see `SamplingModule`.

        Args:
            num_samples: How many.
            label: One for all, or (num_samples,), for a model of labels; by default sample i of a seed has label i
                modulo their number.
            attributes: (n,) or (num_samples, n), for a model of properties; by default they are drawn.
            code: (L,) or (num_samples, L), for a model of codes; what is not a number is drawn.
            seed: See `SamplingModule`.
            first: See `SamplingModule`.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        asked = asked_of(self, label=label, attributes=attributes, code=code)
        values = values_for(self.condition, asked, num_samples, self.device, seed=seed, first=first)
        return self._decode(self.draw_latents(num_samples, seed=seed, first=first), values)


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
        if self.replay_size:
            raise ValueError(f"replay_size: got {self.replay_size}, allowed is 0 with conditions, which are not kept")

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
