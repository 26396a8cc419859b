"""The checkpoint to resume from: never half-written, at most an interval old."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import SIGTERMException

from pl_genmodels.callbacks.output import run_folder
from pl_genmodels.models.ranks import LOST_RANK, names_lost_rank

BATCHES_A_STEP = 10  # of an interval, where the generator plays more seldom or not at all


class LastCheckpoint(Checkpoint):
    """Overwrites `checkpoints/last.ckpt` at an interval, at the end, and when the run is interrupted.

    Ctrl-C and SIGTERM, at any rank, finish the batch at hand first (one more with several ranks, which stop together),
    so that the file holds a whole round and resuming is exact; a second Ctrl-C stops at once. The signal on which SLURM
    jobs are queued again waits for the end of the batch too. Where validation or the end of an epoch follows a batch,
    the file is written after that: a run resumed from in between would leave them out. An interrupt waits as long, but
    a file is there at once. Lightning's ModelCheckpoint(train_time_interval=...) never
    fires for models with several optimisers; this interval counts updates of the generator, and where there are hardly
    any, such as while encoders of a finished generator learn, ten times as many batches.

    Args:
        every_n_train_steps: Interval in `global_step`s.

    Raises:
        ValueError: For an interval below 1.
    """

    def __init__(self, every_n_train_steps: int = 500) -> None:
        if every_n_train_steps < 1:
            raise ValueError(f"every_n_train_steps: got {every_n_train_steps}, allowed is 1 or more")
        self.every_n_train_steps = every_n_train_steps
        self.path: Path | None = None
        self._saved_step = 0
        self._saved_batch = -1
        self._first_batch = -1  # the last one before this interval
        self._due = False  # as soon as validation and the end of the epoch are over
        self._leaving = 0  # the signal on which all ranks agreed to leave
        self._asked = 0  # the signal that this process got
        self._vote: _Vote | None = None
        self._requeued = False
        self._handlers: dict[int, Any] = {}  # of others, put aside while training

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Decide where to write while all ranks are together."""
        if stage == "fit":
            self.path = run_folder(trainer) / "checkpoints" / "last.ckpt"

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Listen for signals, and keep Lightning from exchanging them between ranks in the middle of a batch."""
        self._saved_step, self._saved_batch = trainer.global_step, -1
        self._first_batch = trainer.fit_loop.total_batch_idx
        self._asked, self._vote, self._requeued = 0, None, False
        self._due, self._leaving = False, 0
        if threading.current_thread() is threading.main_thread():
            for signum in _signals(trainer):
                self._handlers[signum] = signal.signal(signum, self._note)
            # it would make every rank wait for its GPU at each batch
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if signum == self._asked == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = max(self._asked, signum)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Leave when asked to: by now loggers have what belongs to the batch before."""
        if self._leaving:
            rank_zero_info(f"\nInterrupted. Checkpoint: {self.path}\nResume with: fit ... --ckpt_path {self.path}")
            raise SIGTERMException(128 + signal.SIGTERM) if self._leaving == signal.SIGTERM else KeyboardInterrupt

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save at the interval, and before leaving."""
        asked = self._asked_of_any(trainer)
        if asked not in (0, signal.SIGINT, signal.SIGTERM):
            self._requeue(asked)
            asked = 0
        self._leaving = asked
        steps = trainer.global_step - self._saved_step
        batches = trainer.fit_loop.total_batch_idx - self._first_batch
        self._due |= bool(asked) or max(steps, batches // BATCHES_A_STEP) >= self.every_n_train_steps
        loop = trainer.fit_loop.epoch_loop
        if loop._num_ready_batches_reached() or loop._should_check_val_fx(trainer.fit_loop._data_fetcher):  # type: ignore
            if asked:  # should nobody wait for what follows
                self._save(trainer)
        else:
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """What was due before validation."""
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if fitting and not trainer.fit_loop.epoch_loop._num_ready_batches_reached():
            self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """What was due before the end of the epoch."""
        self._save_if_due(trainer)

    def _save_if_due(self, trainer: Trainer) -> None:
        if trainer.world_size == 1 and self._asked in (signal.SIGINT, signal.SIGTERM):  # meanwhile
            self._leaving = self._asked
        if self._due or self._leaving:
            self._save(trainer)
            self._due = False

    def _asked_of_any(self, trainer: Trainer) -> int:
        """The signal that this process got; of several ranks, any one's as of the batch before."""
        if trainer.world_size == 1:
            return self._asked
        before, self._vote = self._vote, _Vote(self._asked, trainer.strategy.root_device)
        return 0 if before is None else before.result()

    def _requeue(self, asked: int) -> None:
        """Let Lightning save and queue the SLURM job again, on all ranks together, and go on until SLURM ends it."""
        self._vote = None
        if self._asked == asked:
            self._asked = 0
        if not self._requeued:
            self._requeued = True
            self._handlers[asked](asked, None)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save the final state."""
        if self._saved_batch != trainer.fit_loop.total_batch_idx:
            self._save(trainer)

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Give the signals back."""
        while self._handlers:
            signal.signal(*self._handlers.popitem())
        vars(trainer.fit_loop.epoch_loop).pop("_broadcast_sigterm_tensor", None)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Say how to go on after a failure or another process's end; Lightning gives the signals back."""
        vars(trainer.fit_loop.epoch_loop).pop("_broadcast_sigterm_tensor", None)
        if names_lost_rank(exception) and self.path is not None:
            there = self.path.exists()
            resume = f"resume with: fit ... --ckpt_path {self.path}" if there else "there is no checkpoint yet"
            reason = f"rank {trainer.global_rank}: {LOST_RANK} (its own message tells why; none if it was killed)"
            exception.args = (f"{reason}; {resume}", *exception.args)
        elif isinstance(exception, Exception) and self.path is not None and self.path.exists():
            rank_zero_info(f"Checkpoint: {self.path}\nResume with: fit ... --ckpt_path {self.path}")

    def _save(self, trainer: Trainer) -> None:
        assert self.path is not None
        if not _writes_folders(trainer.strategy):
            trainer.save_checkpoint(self.path)
        else:
            part = self.path.with_name(self.path.name + ".part")
            trainer.save_checkpoint(part)
            if trainer.is_global_zero:
                _put_in_place(part, self.path)
        self._saved_step = trainer.global_step
        self._saved_batch = self._first_batch = trainer.fit_loop.total_batch_idx


class _Vote:
    """The highest of the ranks' numbers, to be read later: until then, no process waits for its GPU.

    Args:
        number: Of this rank.
        device: Where the strategy exchanges tensors.
    """

    def __init__(self, number: int, device: torch.device) -> None:
        ballot = torch.full((), number, dtype=torch.int32, device=device)
        dist.all_reduce(ballot, dist.ReduceOp.MAX)
        on_cuda = device.type == "cuda"
        self._ballot = ballot.to("cpu", non_blocking=on_cuda)
        self._counted = torch.cuda.Event() if on_cuda else None
        if self._counted is not None:
            self._counted.record()

    def result(self) -> int:
        """The same on every rank."""
        if self._counted is not None:
            self._counted.synchronize()
        return int(self._ballot)


def _signals(trainer: Trainer) -> list[int]:
    """Ctrl-C, SIGTERM, and what announces the end of a SLURM job that Lightning queues again."""
    environment = trainer._accelerator_connector.cluster_environment
    requeues = isinstance(environment, SLURMEnvironment) and environment.auto_requeue
    return [signal.SIGINT, signal.SIGTERM, *([environment.requeue_signal] if requeues else [])]  # type: ignore


def _nothing() -> None:
    pass


def _put_in_place(part: Path, path: Path) -> None:
    old = path.with_name(path.name + ".old")  # a folder is not replaced in one step
    _remove(old)
    if path.exists():
        os.replace(path, old)
    os.replace(part, path)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _writes_folders(strategy: Any) -> bool:
    """Whether each rank writes its own shard; a folder cannot be written in one step as a file is."""
    return getattr(strategy, "_save_distributed_checkpoint", getattr(strategy, "_state_dict_type", "") == "sharded")
