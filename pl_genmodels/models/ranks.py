"""What a run of several processes needs besides gradients: a strategy that fits, epochs of one length, a last word."""

from __future__ import annotations

import re
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.data import sized_len

LOST_RANK = "another process of this run has ended or cannot be reached"
_SIGNS = (
    LOST_RANK,
    r"(Connection closed|Connection reset) by peer",
    r"gloo.*(Broken pipe|[Tt]imed? ?out)",
    r"NCCL.*(remote process exited|remote error|unhandled system error|[Tt]imed? ?out|aborted)",
)


def refuse_single_optimizer_strategies(trainer: Trainer) -> None:
    """Tell before anything is built that a strategy cannot train players that take turns.

    Raises:
        ValueError: For the strategies that handle exactly one optimiser.
    """
    if isinstance(trainer.strategy, (FSDPStrategy, DeepSpeedStrategy)):
        raise ValueError(
            f"strategy: got {type(trainer.strategy).__name__}, which trains models with one optimiser only, and this "
            "one has one for each player; allowed are 'ddp', and ModelParallelStrategy, which shards parameters too"
        )


def names_lost_rank(error: BaseException) -> bool:
    """Whether an error says that another process of the run is gone."""
    return isinstance(error, RuntimeError) and any(re.search(sign, str(error), re.DOTALL) for sign in _SIGNS)


class EqualEpochs(Callback):
    """Ends an epoch on all ranks together, with the rank whose batches are the fewest; the others would wait for ever.

    Loaders with a length are compared once an epoch. Where one has none (an iterable data set) the ranks ask each other
    at every batch, which makes them wait for their GPUs. Each rank needs one batch at least.
    """

    def __init__(self) -> None:
        self._epoch: int | None = None  # whose loaders were compared
        self._asks = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing is known about this run's loaders."""
        self._epoch = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Before the step, which may ask whether this batch is the epoch's last."""
        if trainer.world_size == 1:
            return
        if self._epoch != trainer.current_epoch:
            self._epoch = trainer.current_epoch
            self._compare(trainer)
        progress = trainer.fit_loop.epoch_loop.batch_progress
        if self._asks:
            progress.is_last_batch = bool(_highest(trainer, [float(progress.is_last_batch)])[0])
        elif progress.current.ready >= trainer.num_training_batches:
            progress.is_last_batch = True

    def _compare(self, trainer: Trainer) -> None:
        loaders = trainer.fit_loop._combined_loader
        unknown = loaders is None or any(sized_len(loader) is None for loader in loaders.flattened)
        length = float(trainer.num_training_batches)
        highest, negative, asks = _highest(trainer, [length, -length, float(unknown)])
        self._asks = bool(asks)
        if self._asks or highest == -negative:
            return
        shortest = int(-negative)
        rank_zero_warn(f"The ranks have {shortest} to {highest:.0f} batches an epoch; all stop after {shortest}.")
        trainer.fit_loop.max_batches = shortest
        interval = trainer.val_check_interval
        if isinstance(interval, float) and trainer.val_check_batch is not None:
            trainer.val_check_batch = max(1, int(shortest * interval))


def _highest(trainer: Trainer, numbers: list[float]) -> list[float]:
    """Each number's highest value over ranks; a collective call."""
    tensor = torch.tensor(numbers, dtype=torch.float64, device=trainer.strategy.root_device)
    return trainer.strategy.reduce(tensor, reduce_op="max").tolist()
