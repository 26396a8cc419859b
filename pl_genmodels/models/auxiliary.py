"""Discriminators that say more of a sample than whether it is real: the base of AC-GAN and InfoGAN."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.conditional import ToldGenerator, refuse_replay
from pl_genmodels.networks import AuxiliaryDiscriminator
from pl_genmodels.types import Batch, ImageShape, Terms


class AuxiliaryGAN(ToldGenerator):
    """The discriminator is not told the condition: its second head finds it in the sample.

    Args:
        image_shape: See `GenerativeModule`.
        discriminator: Called with the image shape and the length of what the second head says.
        **kwargs: See `ToldGenerator`.

    Raises:
        ValueError: For a replay of earlier samples, which would lose their conditions.
    """

    discriminator: AuxiliaryDiscriminator  # type: ignore[assignment]

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        discriminator: Callable[[tuple[int, ...], int], AuxiliaryDiscriminator] = AuxiliaryDiscriminator,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, discriminator=discriminator, **kwargs)
        refuse_replay(self.replay_size)

    def create(self, player: str, factory: Any, image_shape: ImageShape) -> Any:
        """The second head says as much as the condition is long."""
        return factory(image_shape, self.condition.dim)

    def say(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and what the second head says, in at least single precision, (B,) and (B, K)."""
        logits, said = self.discriminator(images)
        return at_least_single(logits), at_least_single(said)

    def judge(self, images: Tensor) -> Tensor:
        """Logits of real and generated, in at least single precision, (B,)."""
        return self.say(images)[0]

    @abstractmethod
    def found_terms(self, said: Tensor, batch: Batch) -> Terms:
        """How far what the second head says is from the condition, (B, K) to named (B,)."""

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Real or generated, and the condition of generated samples."""
        real, fake = self.augment(batch["image"]), self.augment(generated["image"])
        (on_real, _), (on_fake, said) = self.say(real), self.say(fake)
        terms = {"adversarial": self.loss.discriminator(on_real, on_fake), **self.found_terms(said, batch)}
        return {**terms, **self.penalty_terms(real, fake, self.discriminator.judge)}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """To be taken for real, and for what was asked."""
        real = None
        if self.loss.generator_needs_real:
            with torch.no_grad():
                real = self.judge(self.augment(batch["image"]))
        on_fake, said = self.say(self.augment(generated["image"]))
        return {"adversarial": self.loss.generator(on_fake, real), **self.found_terms(said, batch)}
