"""When something is measured while a model learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from lightning.pytorch import Callback, Trainer

from pl_genmodels.metrics import FeatureExtractor
from pl_genmodels.specs import to_spec

SPLITS = ("train", "val", "test")


class Measurement(Callback, ABC):
    """Measures at the end of every validation and of every test.

    If the trainer validates nothing, it does so at the end of every training epoch (each `check_val_every_n_epoch`-th).

    Args:
        split: What to measure on: `train`, `val` or `test`. A test always uses `test`.

    Raises:
        ValueError: If the split is unknown.
    """

    def __init__(self, split: str) -> None:
        super().__init__()
        if split not in SPLITS:
            raise ValueError(f"split: got {split!r}, allowed are {', '.join(SPLITS)}")
        self.split = split

    @abstractmethod
    def measure(self, trainer: Trainer, module: Any, stage: str, split: str) -> None:
        """Measure on a split and log the results as `<stage>/<measure>`."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Measure on the chosen split."""
        if not trainer.sanity_checking:
            self.measure(trainer, pl_module, "val", self.split)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Measure on the chosen split, unless validation does."""
        interval = trainer.check_val_every_n_epoch or 1
        if not trainer.enable_validation and (trainer.current_epoch + 1) % interval == 0:
            self.measure(trainer, pl_module, "val", self.split)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Measure on the test split."""
        self.measure(trainer, pl_module, "test", "test")


def plain_extractor(extractor: FeatureExtractor | None) -> dict[str, Any] | None:
    """Class path and arguments, as a checkpoint can hold them; None for one of someone else that has no plain form."""
    try:
        return to_spec(extractor)
    except ValueError:
        return None
