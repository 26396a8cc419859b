"""Pictures of what a model makes of half pictures while it learns."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from pl_genmodels.callbacks.fixed_images import fixed_images
from pl_genmodels.callbacks.output import RunPictures, require_positive
from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.models.autoregression import AutoregressiveModule
from pl_genmodels.models.known_pixels import HALVES, known_half
from pl_genmodels.types import Batch


def completion_picture(image: Tensor, mask: Tensor, completions: Tensor, truth: Tensor | None = None) -> Image.Image:
    """A row for each picture: what is known of it, its completions, and the whole picture.

    Args:
        image: In [-1, 1], (B, C, H, W).
        mask: Where it is known, booleans (H, W).
        completions: (B, n, C, H, W).
        truth: The whole pictures where they are known, (B, C, H, W).
    """
    given = torch.where(mask, image, 0.0)[:, None].to(completions)  # the rest is grey
    columns = [given, completions] if truth is None else [given, completions, truth[:, None].to(completions)]
    rows = torch.cat(columns, 1)
    return grid_picture(rows.flatten(0, 1), rows.shape[1], scale=max(1, 64 // rows.shape[-1]))


class Completions(RunPictures):
    """Saves completions of half pictures as PNG in the run's `completions` folder and sends them to every logger.

    A row is one picture: the half that is given, completions from the same random numbers every time, and the whole.
    Pictures are some of the validation data, or of the training data if there are no others.

    Args:
        every_n_images: Interval in images seen; also at the start and at the end.
        num_samples: How many pictures.
        num_completions: Completions of each.
        known: Which half is given: top, bottom, left or right. Pixels are drawn from the top left, given what is known
            before them: only a given top is taken into account completely.
        seed: Of the completions.

    Raises:
        ValueError: For counts below 1, another half, and models that do not draw pixel by pixel.
    """

    key = "completions"

    def __init__(
        self,
        every_n_images: int = 10_000,
        num_samples: int = 8,
        num_completions: int = 6,
        known: str = "top",
        seed: int = 0,
    ) -> None:
        super().__init__(every_n_images)
        require_positive(num_samples=num_samples, num_completions=num_completions)
        if known not in HALVES:
            raise ValueError(f"known: got {known!r}, allowed are {', '.join(HALVES)}")
        self.num_samples, self.num_completions, self.known, self.seed = num_samples, num_completions, known, seed
        self._batch: Batch | None = None

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Refuse models that cannot complete."""
        self._batch = None
        if not isinstance(pl_module, AutoregressiveModule):
            raise ValueError(
                f"Completions: got {type(pl_module).__name__}, allowed are models that draw pixel by pixel"
            )

    def picture(self, trainer: Trainer, module: Any) -> Image.Image:
        """The same halves every time."""
        if self._batch is None:
            self._batch = fixed_images(trainer, module, self.num_samples)
        image = module.likelihood.quantize(self._batch["image"])
        label = self._batch.get("label") if module.num_classes else None
        mask = known_half(self.known, *image.shape[2:])
        completions = module.complete(image, mask, self.num_completions, seed=self.seed, label=label)
        return completion_picture(image, mask, completions.cpu(), image)
