"""GANs that stop learning while encoders of what they make go on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from lightning.pytorch.callbacks import EarlyStopping, Timer
from torch.optim import Optimizer

from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.types import Batch


class FreezingGAN(LatentGAN):
    """A GAN, and a player `encoder` that learns from what it makes.

    For the first `gan_updates` updates the GAN learns; then it stays as it is, and `global_step` with it, while the
    encoder goes on; so `max_epochs`, not `max_steps`, ends a run. It learns from the start, which papers leave to the
    second part: what it has seen of an unfinished generator is forgotten.

    Args:
        image_shape: See `GenerativeModule`.
        gan_updates: Updates after which only the encoder learns; 0 for a generator that is finished.
        optimizer_encoder: Called with the encoder's parameters.
        **kwargs: See `LatentGAN`.

    Raises:
        ValueError: For a negative number of updates; when fitting starts, for a run without end.
    """

    players: ClassVar[tuple[str, ...]] = ("discriminator", "encoder", "generator")

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        gan_updates: int = 10_000,
        optimizer_encoder: Callable[[Iterable], Optimizer] = GANAdam,
        **kwargs: Any,
    ) -> None:
        if gan_updates < 0:
            raise ValueError(f"gan_updates: got {gan_updates}, allowed is 0 or more")
        self.gan_updates = gan_updates
        super().__init__(image_shape, **kwargs)
        self.optimizer_factories["encoder"] = optimizer_encoder

    def setup(self, stage: str) -> None:
        """Refuse a run that would never end, because `global_step` stays below `max_steps`."""
        super().setup(stage)
        trainer: Any = self.trainer
        ends = trainer.max_epochs != -1 or any(isinstance(each, (EarlyStopping, Timer)) for each in trainer.callbacks)
        if stage == "fit" and trainer.max_steps > self.gan_updates and not ends:
            raise ValueError(
                f"max_steps: got {trainer.max_steps}, which global_step never reaches: it counts updates of the "
                f"generator, which end after gan_updates={self.gan_updates}; allowed is max_epochs"
            )

    @property
    def frozen(self) -> bool:
        """Whether only the encoder learns."""
        return self.generator_updates >= self.gan_updates

    def plays(self, player: str) -> bool:
        """The discriminator plays as long as the generator does."""
        return player == "encoder" or not self.frozen

    def critic_steps_at(self, update: int) -> int:
        """Without end once the generator is frozen."""
        return sys.maxsize if update >= self.gan_updates else super().critic_steps_at(update)

    def generate(self, batch: Batch) -> Batch:
        """Samples, while there is somebody to see them."""
        return {} if self.frozen else super().generate(batch)
