"""Pictures of what the model makes while it learns."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from pl_genmodels.callbacks.output import RunPictures, require_positive
from pl_genmodels.models.conditions import condition_grid, rows_of
from pl_genmodels.types import as_batch


def grid_picture(images: Tensor, columns: int, scale: int = 1) -> Image.Image:
    """Lay pictures out row by row.

    Args:
        images: In [-1, 1], (N, C, H, W) with 1 or 3 channels.
        columns: Pictures in a row.
        scale: Each pixel becomes a square of this side.
    """
    from torchvision.utils import make_grid

    grid = make_grid(images.float().cpu(), nrow=columns, padding=1, normalize=True, value_range=(-1, 1), pad_value=1.0)
    pixels = (grid * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()  # (H, W, 3)
    picture = Image.fromarray(pixels)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def scatter_picture(points: Tensor, real: Tensor | None) -> Image.Image:
    """Draw generated points over real ones.

    Args:
        points: Generated, (N, 2).
        real: From the data, (M, 2), or None.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="tight")
    axes = figure.add_subplot()
    if real is not None:
        axes.scatter(real[:, 0].cpu(), real[:, 1].cpu(), s=6, color="0.75", label="real")
    points = points.float().cpu()
    axes.scatter(points[:, 0], points[:, 1], s=6, color="tab:red", alpha=0.6, label="generated")
    axes.set_aspect("equal")
    axes.legend(loc="upper right")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.frombytes("RGBA", canvas.get_width_height(), canvas.buffer_rgba().tobytes()).convert("RGB")


class SampleGrid(RunPictures):
    """Saves samples from fixed latents as PNG in the run's `samples` folder and sends them to every logger.

    Pictures are laid out in a grid, small ones enlarged; points are drawn as a scatter over the last real batch.

    Args:
        every_n_images: Interval in images seen; also at the start and at the end.
        num_samples: How many pictures (points: 32 times as many).
        columns: Pictures in a row.
        seed: Of the latents.

    Raises:
        ValueError: For counts below 1.
    """

    key = "samples"

    def __init__(self, every_n_images: int = 10_000, num_samples: int = 64, columns: int = 8, seed: int = 0) -> None:
        super().__init__(every_n_images)
        require_positive(num_samples=num_samples, columns=columns)
        self.num_samples, self.columns, self.seed = num_samples, columns, seed
        self._real: Tensor | None = None

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """The state before this run's first step."""
        self._real = None
        super().on_train_start(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """At the interval."""
        if len(pl_module.image_shape) == 1:
            self._real = as_batch(batch, pl_module.batch_keys)[pl_module.batch_keys[0]]
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def picture(self, trainer: Trainer, module: Any) -> Image.Image:
        """Samples from the same latents every time."""
        if len(module.image_shape) == 1:
            points = module.sample(32 * self.num_samples, seed=self.seed)
            return scatter_picture(points[:, :2], None if self._real is None else self._real[:, :2])
        samples = module.sample(self.num_samples, seed=self.seed)
        return grid_picture(samples, self.columns, scale=max(1, 64 // samples.shape[-1]))


class ConditionGrid(RunPictures):
    """Saves a row of samples for each condition as PNG in the run's `conditions` folder and sends it to every logger.

    A column has the same latent, all through training.

    Args:
        every_n_images: Interval in images seen; also at the start and at the end.
        rows: Conditions as the command `sample` takes them, such as `0..9` for labels or `0..9,_,_` for codes; by
            default all labels, the categories of the first code, or each attribute by itself.
        columns: Pictures in a row.
        seed: Of the latents.

    Raises:
        ValueError: For counts below 1, a model without a condition, or conditions that there are not.
    """

    key = "conditions"

    def __init__(self, every_n_images: int = 10_000, rows: str | None = None, columns: int = 10, seed: int = 0) -> None:
        super().__init__(every_n_images)
        require_positive(columns=columns)
        self.rows, self.columns, self.seed = rows, columns, seed

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Refuse models and rows that do not fit each other."""
        condition = getattr(pl_module, "condition", None)
        if condition is None:
            raise ValueError(f"ConditionGrid: got {type(pl_module).__name__}, allowed are models with a condition")
        if self.rows is not None:
            rows_of(condition, self.rows)

    def picture(self, trainer: Trainer, module: Any) -> Image.Image:
        """The same latents and conditions every time."""
        condition = module.condition
        rows = condition.all_of_one() if self.rows is None else rows_of(condition, self.rows)
        samples = condition_grid(module, rows, self.columns, self.seed)
        return grid_picture(samples, self.columns, scale=max(1, 64 // samples.shape[-1]))
