"""What a person sees of a run: the progress bar, and where everything is when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, TQDMProgressBar

from pl_genmodels.callbacks.output import RunPictures, own_run_folder


class GenerativeProgressBar(TQDMProgressBar):
    """Lightning's bar with the losses, the number of images seen and the latest FID.

    Args:
        refresh_rate: In batches.
    """

    def __init__(self, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate)

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        """Values beside the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        short = {"discriminator/loss": "D", "generator/loss": "G", "fid": "FID"}
        shown: dict[str, Any] = {short.get(name, name): value for name, value in metrics.items()}
        return {"images": f"{pl_module.images_seen:,}", **shown}


class RunSummary(Callback):
    """Says at the end of a fit where pictures, checkpoints, curves and the resolved config are."""

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Print what exists."""
        if stage != "fit" or not trainer.is_global_zero or trainer.sanity_checking:
            return
        folder = own_run_folder(trainer)
        best = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.best_model_path]
        last = [c for c in trainer.checkpoint_callbacks if isinstance(c, Checkpoint) and getattr(c, "path", None)]
        pictures = [c.key for c in trainer.callbacks if isinstance(c, RunPictures)]  # type: ignore[attr-defined]
        places = {
            **{"pictures" if key == "samples" else key: folder / key for key in pictures},
            "best checkpoint": best[0].best_model_path if best else None,
            "last checkpoint": last[0].path if last else None,  # type: ignore[attr-defined]
            "curves": folder / "metrics.csv",
            "config": folder / "config.yaml",
        }
        found = [f"{name}: {place}" for name, place in places.items() if place and Path(place).exists()]
        print("Run finished. " + "; ".join(found))
