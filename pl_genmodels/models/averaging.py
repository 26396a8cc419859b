"""A network that may have an averaged copy of itself, from which samples are then drawn."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from pl_genmodels.models.adversarial import AdversarialModule
from pl_genmodels.models.base import GenerativeModule
from pl_genmodels.models.engine import averaged_copy
from pl_genmodels.models.sharding import is_sharded, local

DROPPED = "The checkpoint holds averaged weights, but no GeneratorEMA is configured: they are dropped."


class AveragedModule(GenerativeModule):
    """A model one of whose networks, named by `averaged`, is what samples are drawn from.

    The callback `GeneratorEMA` keeps its average beside it, under the same name with `_ema`.
    """

    averaged: ClassVar[str]

    @property
    @abstractmethod
    def averaged_updates(self) -> int:
        """How often the network has been updated."""

    @property
    def trained(self) -> nn.Module:
        """The network that is trained."""
        return getattr(self, self.averaged)

    @property
    def average(self) -> nn.Module | None:
        """Its average, if there is one."""
        return getattr(self, f"{self.averaged}_ema", None)

    @property
    def sampler(self) -> Any:
        """What samples are made by: the averaged network if there is one, else the trained one."""
        return self.trained if self.average is None else self.average

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make averaged weights of the checkpoint and of the module agree: both have them or neither."""
        super().on_load_checkpoint(checkpoint)
        if "state_dict" not in checkpoint:  # ModelParallelStrategy has put the weights in their place already
            return
        weights, prefix, averaged = checkpoint["state_dict"], f"{self.averaged}.", f"{self.averaged}_ema."
        saved = [key for key in weights if key.startswith(averaged)]
        fitting = self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING
        if saved and not fitting:
            self.add_average()
        elif saved and self.average is None:
            rank_zero_warn(DROPPED)
            for key in saved:
                del weights[key]
        elif self.average is not None and not saved:  # the average starts from the checkpoint's trained network
            current = {key: value for key, value in weights.items() if key.startswith(prefix)}
            weights.update({f"{averaged}{key[len(prefix) :]}": value for key, value in current.items()})

    def configure_model(self) -> None:
        """Build, and before sharding in order to test or predict, make room for averaged weights."""
        self.build_once()
        if self.device_mesh is not None and not is_sharded(self) and self.trainer.state.fn != TrainerFn.FITTING:
            self.add_average()
        super().configure_model()

    @contextlib.contextmanager
    def shaped_like(self, names: set[str]) -> Iterator[None]:
        """Without averaged weights while a checkpoint is read that has none; in a fit they start from trained ones."""
        average = self.average
        saved = any(name.startswith(f"{self.averaged}_ema.") for name in names)
        if saved and average is None:
            rank_zero_warn(DROPPED)
        if saved or average is None:
            yield
            return
        delattr(self, f"{self.averaged}_ema")
        yield
        if self.trainer.state.fn == TrainerFn.FITTING:
            setattr(self, f"{self.averaged}_ema", average)
            torch._foreach_copy_(local(average.parameters()), local(self.trained.parameters()))
            for kept, new in zip(average.buffers(), self.trained.buffers(), strict=True):
                kept.copy_(new)

    def add_average(self) -> None:
        """Keep a frozen copy of the network for averaged weights; it lies in the state dict beside the original."""
        if self.average is not None:
            return
        if is_sharded(self.trained):
            raise ValueError(
                f"GeneratorEMA: the {self.averaged} is sharded already; allowed is a callback of its first run"
            )
        setattr(self, f"{self.averaged}_ema", averaged_copy(self.trained))


class AveragedGeneratorModule(AveragedModule, AdversarialModule):
    """Players of which one owns `generator`, a network or several in one `ModuleDict`, with an average or without.

    The average, `generator_ema`, has the same entries.
    """

    averaged = "generator"
    generator: nn.Module
    generator_ema: nn.Module

    @property
    def averaged_updates(self) -> int:
        """Steps of the generator's optimiser."""
        return self.generator_updates

    def networks_to_shard(self) -> list[nn.Module]:
        """The averaged generator goes with the trained one."""
        averaged = [] if self.average is None else [self.average]
        return [*super().networks_to_shard(), *([] if "generator" in self.replicated_players() else averaged)]
