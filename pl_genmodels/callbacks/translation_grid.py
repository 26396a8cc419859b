"""Pictures of what a translation model makes of the same sources while it learns."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from PIL import Image

from pl_genmodels.callbacks.fixed_images import fixed_images
from pl_genmodels.callbacks.output import RunPictures, require_positive
from pl_genmodels.callbacks.sample_grid import grid_picture, scatter_picture
from pl_genmodels.types import Batch

POINTS_PER_SAMPLE = 32


class TranslationGrid(RunPictures):
    """Saves translations of fixed sources as PNG in the run's `translations` folder and sends them to every logger.

    A row is one source: itself, its translation, the way back if the model has one, and the true target if the data
    hold it; in the same row follows the other direction, if the model has it, from the target on. Points are drawn as
    translations over targets, a scatter for each direction.

    Sources are taken evenly from the validation data, or from the training data if there are no others; from loaders
    that are not of this package, they are the first ones.

    Args:
        every_n_images: Interval in images seen; also at the start and at the end.
        num_samples: How many sources (points: 32 times as many).
        seed: Of the generator's noise.
        paired: Whether source and target belong together; by default what the data module says, and true for data
            that do not say it.

    Raises:
        ValueError: For counts below 1, and for a model that translates nothing.
    """

    key = "translations"

    def __init__(
        self, every_n_images: int = 10_000, num_samples: int = 8, seed: int = 0, paired: bool | None = None
    ) -> None:
        super().__init__(every_n_images)
        require_positive(num_samples=num_samples)
        self.num_samples, self.seed, self.paired = num_samples, seed, paired
        self._batch: Batch | None = None

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Refuse models that translate nothing."""
        self._batch = None
        if not hasattr(pl_module, "panels"):
            raise ValueError(f"TranslationGrid: got {type(pl_module).__name__}, allowed are models that translate")

    def picture(self, trainer: Trainer, module: Any) -> Image.Image:
        """The same sources every time."""
        if self._batch is None:
            points = len(module.image_shape) == 1
            number = self.num_samples * (POINTS_PER_SAMPLE if points else 1)
            self._batch = fixed_images(trainer, module, number)
        batch = {key: value.to(module.device) for key, value in self._batch.items()}
        panels = [module.panels(batch, direction, self.seed) for direction in module.directions]
        if len(module.image_shape) == 1:
            return side_by_side([scatter_picture(p["translation"][:, :2], p["target"][:, :2]) for p in panels])
        data: Any = getattr(trainer, "datamodule", None)
        paired = getattr(data, "paired", True) if self.paired is None else self.paired
        columns = [image for panel in panels for name, image in panel.items() if paired or name != "target"]
        colours = max(image.shape[1] for image in columns)
        rows = torch.stack([image.float().cpu().expand(-1, colours, -1, -1) for image in columns], dim=1)
        return grid_picture(rows.flatten(0, 1), len(columns), scale=max(1, 64 // rows.shape[-1]))


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one height as one."""
    whole = Image.new("RGB", (sum(picture.width for picture in pictures), pictures[0].height), "white")
    place = 0
    for picture in pictures:
        whole.paste(picture, (place, 0))
        place += picture.width
    return whole
