"""Averaged weights of what samples are drawn from."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from pl_genmodels.models.sharding import local


class GeneratorEMA(Callback):
    """Exponential moving average of the weights of what samples are drawn from; its buffers are copied.

    That is a GAN's generator or an autoregressive model's network. The average is a frozen copy inside the module
    (`generator_ema`, `network_ema`), so that a checkpoint holds both, resuming is exact and DDP ignores it. Whatever
    judges or draws samples (validate, test, predict, `sample`, `evaluate`, grids, FID) uses it.
    The decay of an update that follows n images is 0.5 ** (n / half_life), as in Karras et al. 2020's code.

    Args:
        half_life: In images: after so many, a weight's influence has halved.
        ramp_up: The half-life is at most this share of the images seen so far, so that the average forgets its start;
            0 for none.

    Raises:
        ValueError: For a half-life that is not positive or a negative ramp-up, and when fitting a model without such
            a network.
    """

    def __init__(self, half_life: float = 10_000.0, ramp_up: float = 0.05) -> None:
        if half_life <= 0:
            raise ValueError(f"half_life: got {half_life}, allowed is more than 0 images")
        if ramp_up < 0:
            raise ValueError(f"ramp_up: got {ramp_up}, allowed is 0 or more")
        self.half_life, self.ramp_up = half_life, ramp_up
        self._updates: int | None = None
        self._images = 0
        self._parameters: tuple[list[Tensor], list[Tensor]] = [], []  # averaged and trained
        self._buffers: tuple[list[Tensor], list[Tensor]] = [], []

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Make the copy before weights are restored and moved."""
        if stage != "fit":
            return
        if not hasattr(pl_module, "add_average"):
            raise ValueError(
                f"GeneratorEMA: got {type(pl_module).__name__}, allowed are models with a generator and autoregressive "
                "ones"
            )
        pl_module.build_once()
        pl_module.add_average()
        self._updates = None  # of an earlier run with this callback

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start counting where the run stands, unless a checkpoint said where the last update was."""
        if self._updates is None:
            self._updates, self._images = pl_module.averaged_updates, pl_module.images_seen
        self._parameters = self._buffers = [], []

    def state_dict(self) -> dict[str, Any]:
        """When the average last moved."""
        return {"updates": self._updates, "images": self._images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from there."""
        self._updates, self._images = state_dict["updates"], state_dict["images"]

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Follow the network whenever it has moved."""
        if pl_module.averaged_updates == self._updates:
            return
        half_life = self.half_life
        if self.ramp_up:
            half_life = min(half_life, max(pl_module.images_seen * self.ramp_up, 1e-8))
        decay = 0.5 ** ((pl_module.images_seen - self._images) / half_life)
        if not self._parameters[0]:  # once a run, at the first update, when sharding has settled where its parts lie
            average, trained = pl_module.average, pl_module.trained
            self._parameters = local(average.parameters()), local(trained.parameters())
            self._buffers = list(average.buffers()), list(trained.buffers())
        kept, current = self._parameters  # the average is in single precision even where the network is in half
        moved = [new.to(old.dtype) for old, new in zip(kept, current, strict=True)]
        torch._foreach_lerp_(kept, moved, 1 - decay)
        if self._buffers[0]:
            torch._foreach_copy_(*self._buffers)
        self._updates, self._images = pl_module.averaged_updates, pl_module.images_seen
