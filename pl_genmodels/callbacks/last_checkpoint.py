"""The checkpoint to resume from: never half-written, at most an interval old."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_info

from pl_genmodels.callbacks.output import run_folder


class LastCheckpoint(Checkpoint):
    """Overwrites `checkpoints/last.ckpt` at an interval, at the end, and when the run is interrupted.

    Ctrl-C and SIGTERM finish the batch at hand first, so that the file holds a whole round and resuming is exact; a
    second Ctrl-C stops at once. Lightning's ModelCheckpoint(train_time_interval=...) never fires for models with
    several optimisers; this interval counts updates of the generator.

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
        self._interrupted = False
        self._handler: Any = None

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Decide where to write while all ranks are together."""
        if stage == "fit":
            self.path = run_folder(trainer) / "checkpoints" / "last.ckpt"

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Listen for Ctrl-C."""
        self._saved_step, self._saved_batch = trainer.global_step, -1
        self._interrupted = False
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save at the interval; save and leave when asked to."""
        leave = self._interrupted or trainer.received_sigterm
        if trainer.world_size > 1:  # signals reach ranks between different batches
            leave = trainer.strategy.reduce_boolean_decision(leave, all=False)
        if leave or trainer.global_step - self._saved_step >= self.every_n_train_steps:
            self._save(trainer)
        if leave:
            rank_zero_info(f"\nInterrupted. Checkpoint: {self.path}\nResume with: fit ... --ckpt_path {self.path}")
            if not trainer.received_sigterm:  # Lightning itself ends the run on SIGTERM
                raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save the final state."""
        if self._saved_batch != trainer.fit_loop.total_batch_idx:
            self._save(trainer)

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Give Ctrl-C back."""
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None

    def _save(self, trainer: Trainer) -> None:
        assert self.path is not None
        part = self.path.with_name(self.path.name + ".part")
        try:
            trainer.save_checkpoint(part)  # by way of the system's temporary folder, perhaps of another disk
            if trainer.is_global_zero:
                if self.path.is_dir():  # sharded strategies write folders
                    shutil.rmtree(self.path)
                os.replace(part, self.path)
        finally:
            if trainer.is_global_zero and part.is_file():
                part.unlink()
        self._saved_step, self._saved_batch = trainer.global_step, trainer.fit_loop.total_batch_idx
