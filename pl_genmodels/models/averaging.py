"""A generator that may have an averaged copy of itself, from which samples are then drawn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from pl_genmodels.models.adversarial import AdversarialModule
from pl_genmodels.models.engine import averaged_copy
from pl_genmodels.models.sharding import is_sharded, local

DROPPED = "The checkpoint holds averaged weights, but no GeneratorEMA is configured: they are dropped."


class AveragedGeneratorModule(AdversarialModule):
    """Players of which one owns `generator`, a network or several in one `ModuleDict`.

    The callback `GeneratorEMA` keeps `generator_ema` beside it, with the same entries.
    """

    generator: nn.Module
    generator_ema: nn.Module

    @property
    def sampler(self) -> Any:
        """What samples are made by: the averaged generator if there is one, else the trained one."""
        return getattr(self, "generator_ema", self.generator)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make averaged weights of the checkpoint and of the module agree: both have them or neither."""
        super().on_load_checkpoint(checkpoint)
        if "state_dict" not in checkpoint:  # ModelParallelStrategy has put the weights in their place already
            return
        weights = checkpoint["state_dict"]
        saved = [key for key in weights if key.startswith("generator_ema.")]
        fitting = self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING
        if saved and not fitting:
            self.add_generator_ema()
        elif saved and not hasattr(self, "generator_ema"):
            rank_zero_warn(DROPPED)
            for key in saved:
                del weights[key]
        elif hasattr(self, "generator_ema") and not saved:  # the average starts from the checkpoint's generator
            prefix = "generator."
            current = {key: value for key, value in weights.items() if key.startswith(prefix)}
            weights.update({f"generator_ema.{key[len(prefix) :]}": value for key, value in current.items()})

    def configure_model(self) -> None:
        """Build, and before sharding in order to test or predict, make room for averaged weights."""
        self.build_once()
        if self.device_mesh is not None and not is_sharded(self) and self.trainer.state.fn != TrainerFn.FITTING:
            self.add_generator_ema()
        super().configure_model()

    @contextlib.contextmanager
    def shaped_like(self, names: set[str]) -> Iterator[None]:
        """Without averaged weights while a checkpoint is read that has none; in a fit they start from its generator."""
        average = getattr(self, "generator_ema", None)
        saved = any(name.startswith("generator_ema.") for name in names)
        if saved and average is None:
            rank_zero_warn(DROPPED)
        if saved or average is None:
            yield
            return
        del self.generator_ema
        yield
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.generator_ema = average
            torch._foreach_copy_(local(average.parameters()), local(self.generator.parameters()))
            for kept, new in zip(average.buffers(), self.generator.buffers(), strict=True):
                kept.copy_(new)

    def add_generator_ema(self) -> None:
        """Keep a frozen copy of the generator for averaged weights; it lies in the state dict beside the original."""
        if hasattr(self, "generator_ema"):
            return
        if is_sharded(self.generator):
            raise ValueError("GeneratorEMA: the generator is sharded already; allowed is a callback of its first run")
        self.generator_ema = averaged_copy(self.generator)

    def networks_to_shard(self) -> list[nn.Module]:
        """The averaged generator goes with the trained one."""
        averaged = [self.generator_ema] if hasattr(self, "generator_ema") else []
        return [*super().networks_to_shard(), *([] if "generator" in self.replicated_players() else averaged)]
