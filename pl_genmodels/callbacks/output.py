"""Where a run writes, and how a picture reaches every logger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger
from PIL import Image

from pl_genmodels.models.checkpoint_files import CheckpointError, readable_checkpoints
from pl_genmodels.models.sharding import gathered


def run_folder(trainer: Trainer) -> Path:
    """Folder of the run, agreed on by all ranks: a collective call.

    It is that of the first logger's version, else the Trainer's root, where ModelCheckpoint puts its `checkpoints`.
    """
    return Path(trainer.strategy.broadcast(str(own_run_folder(trainer))))


def own_run_folder(trainer: Trainer) -> Path:
    """Folder of the run as this rank sees it; what rank 0 sees counts."""
    logger = trainer.loggers[0] if trainer.loggers else None
    if logger is None or logger.save_dir is None:
        return Path(trainer.default_root_dir)
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir) / str(logger.name) / version


def newest_checkpoint(trainer: Trainer) -> Path:
    """The newest checkpoint that can be read, of this run or of those before it in the same folder.

    Raises:
        CheckpointError: If there is none.
    """
    folder = own_run_folder(trainer)
    folders = [folder, *folder.parent.glob("*/")] if trainer.loggers else [folder]
    files = {file for each in folders for file in (each / "checkpoints").glob("*.ckpt")}
    for path, _ in readable_checkpoints(files, "meta"):
        return path
    raise CheckpointError(
        f"ckpt_path: got 'last', but there is no checkpoint in {folder.parent if trainer.loggers else folder}"
    )


def log_picture(trainer: Trainer, module: Any, key: str, picture: Image.Image) -> None:
    """Send a picture to every logger that takes pictures, on the step and `images_seen` of the scalars.

    Args:
        trainer: Whose loggers.
        module: The model being trained.
        key: Name of the picture, e.g. `samples`.
        picture: What to show.
    """
    step = trainer.fit_loop.epoch_loop._batches_that_stepped
    for logger in trainer.loggers:
        kind = type(logger).__name__
        experiment: Any = getattr(logger, "experiment", None)
        if isinstance(logger, WandbLogger):
            import wandb

            values: dict[str, Any] = {key: wandb.Image(picture), "images_seen": float(module.images_seen)}
            logger.log_metrics(values, step=step)
        elif kind == "TensorBoardLogger":
            experiment.add_image(key, np.asarray(picture.convert("RGB")), step, dataformats="HWC")
        elif hasattr(logger, "log_image"):
            logger.log_image(key=key, images=[picture], step=step)


class RunPictures(Callback, ABC):
    """Draws a picture at intervals, at the start and at the end, into a folder of the run and for every logger.

    Args:
        every_n_images: Interval in images seen.

    Raises:
        ValueError: For an interval below 1.
    """

    key: ClassVar[str]
    """Name of the folder and of the picture in loggers."""

    def __init__(self, every_n_images: int) -> None:
        require_positive(every_n_images=every_n_images)
        self.every_n_images = every_n_images
        self._last = -1

    @abstractmethod
    def picture(self, trainer: Trainer, module: Any) -> Image.Image:
        """What to show of the model's current state; called on rank 0."""

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """The state before this run's first step."""
        self._draw(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """At the interval."""
        if pl_module.images_seen // self.every_n_images > self._last // self.every_n_images:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """The final state."""
        if self._last != pl_module.images_seen:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, module: Any) -> None:
        self._last = module.images_seen
        folder = run_folder(trainer) / self.key
        with gathered(module):
            if trainer.is_global_zero:
                self._write(trainer, module, folder)

    def _write(self, trainer: Trainer, module: Any, folder: Path) -> None:
        picture = self.picture(trainer, module)
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{module.images_seen:09d}.png")
        log_picture(trainer, module, self.key, picture)


def require_positive(**counts: int) -> None:
    """Refuse counts below 1.

    Raises:
        ValueError: If there is one; names it.
    """
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name}: got {value}, allowed is 1 or more")
