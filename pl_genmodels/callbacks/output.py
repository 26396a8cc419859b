"""Where a run writes, and how a picture reaches every logger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from PIL import Image


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
