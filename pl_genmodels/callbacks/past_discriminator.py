"""A generator that now and then has to deceive a discriminator of the past."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor


class PastDiscriminator(Callback):
    """At intervals the discriminator is kept, and the one that was kept before takes its place for some batches.

    While it does, it is the model's discriminator; what it learns is dropped, and the optimiser goes on as it is.
    Checkpoints hold both, so that runs resume exactly. Chintala et al. 2016 (ganhacks), item 8.

    Args:
        every_n_images: Interval in images seen.
        num_batches: For how many batches the old one plays.

    Raises:
        ValueError: For numbers below 1, a model without a discriminator, and sharded parameters.
    """

    def __init__(self, every_n_images: int = 20_000, num_batches: int = 20) -> None:
        for name, value in (("every_n_images", every_n_images), ("num_batches", num_batches)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, allowed is 1 or more")
        self.every_n_images, self.num_batches = every_n_images, num_batches
        self.past: dict[str, Tensor] = {}
        self.present: dict[str, Tensor] = {}  # while the past one plays
        self.batches_left = 0
        self._last = 0

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Refuse what has no discriminator to keep, or not a whole one."""
        if "discriminator" not in getattr(pl_module, "players", ()):
            raise ValueError(
                f"PastDiscriminator: got {type(pl_module).__name__}, allowed are models with a discriminator"
            )
        if pl_module.shards:
            raise ValueError("strategy: got ModelParallelStrategy, allowed with PastDiscriminator is ddp")

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Count intervals from here."""
        self._last = pl_module.images_seen

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keep, put the old one in its place, or put the new one back."""
        before, self._last = self._last, pl_module.images_seen
        network = pl_module.discriminator
        if self.batches_left:
            self.batches_left -= 1
            if not self.batches_left:
                network.load_state_dict(self.present)
                self.present = {}
        elif self._last // self.every_n_images > before // self.every_n_images:
            kept = {name: value.clone() for name, value in network.state_dict().items()}
            if self.past:
                self.present, self.batches_left = kept, self.num_batches
                network.load_state_dict(self.past)
            self.past = kept

    def state_dict(self) -> dict[str, Any]:
        """Both discriminators, and how long the old one still plays."""
        return {"past": self.past, "present": self.present, "batches_left": self.batches_left}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.past, self.present = dict(state_dict["past"]), dict(state_dict["present"])
        self.batches_left = state_dict["batches_left"]
