"""Which modes of a known distribution a generator finds, in numbers and as a moving picture."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from pl_genmodels.callbacks.output import RunPictures, require_positive, run_folder
from pl_genmodels.metrics import mode_coverage, symmetric_kl, wasserstein

MATCHED = 1000  # points of the exact matching, whose time grows with their cube
MARGIN = 1.0  # around the outermost modes, in units of the data


def cloud_picture(points: Tensor, real: Tensor, limit: float, title: str) -> Image.Image:
    """Generated points over real ones, in a square around the origin.

    Args:
        points: Generated, (N, 2).
        real: (M, 2).
        limit: Half the side of the square, in units of the data.
        title: Above it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4.3), layout="tight")
    axes = figure.add_subplot(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.set_title(title, fontsize=9)  # fits with millions of points
    axes.scatter(real[:, 0], real[:, 1], s=5, color="0.8")
    axes.scatter(points[:, 0], points[:, 1], s=5, color="tab:red", alpha=0.5)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.frombytes("RGBA", canvas.get_width_height(), canvas.buffer_rgba().tobytes()).convert("RGB")


class ModeCoverage(RunPictures):
    """Measures how well a generator of points covers the modes of its data, while it learns.

    Logged are `modes/covered`, `modes/high_quality` and `modes/kl` (see `mode_coverage`), `modes/symmetric_kl` and
    `modes/wasserstein` of 1,000 points, against fresh draws of the data. The folder `modes` gets the cloud over its
    target at every measurement, and at the end of the run all of them as `modes.gif`.

    Args:
        every_n_images: Interval in images seen; also at the start and at the end.
        num_samples: Generated points; 2,500 in the published protocol.
        seed: Of the latents and of the fresh draws.

    Raises:
        ValueError: For counts below 1; when fitting starts, for data whose modes are not known.
    """

    key = "modes"

    def __init__(self, every_n_images: int = 100_000, num_samples: int = 2500, seed: int = 0) -> None:
        super().__init__(every_n_images)
        require_positive(num_samples=num_samples)
        self.num_samples, self.seed = num_samples, seed
        self.values: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Look for the modes, and measure the state before this run's first step."""
        data: Any = getattr(trainer, "datamodule", None)
        if getattr(data, "centers", None) is None:
            raise ValueError(f"ModeCoverage: got {type(data).__name__}, allowed are data with centers, such as Ring8")
        super().on_train_start(trainer, pl_module)

    def picture(self, trainer: Trainer, module: Any) -> Image.Image:
        """Measure, log and draw."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        generator = torch.Generator().manual_seed(self.seed)
        real, _ = data.draw(self.num_samples, generator)
        real = real + data.sigma * torch.randn(real.shape, generator=generator)
        points = module.sample(self.num_samples, seed=self.seed).float().cpu()
        limit = float(data.centers.abs().max()) + MARGIN
        found = mode_coverage(points, data.centers, data.sigma)
        self.values = {
            "modes/covered": found["modes"],
            "modes/high_quality": found["high_quality"],
            "modes/kl": found["kl"],
            "modes/symmetric_kl": symmetric_kl(points, real, -limit, limit),
            "modes/wasserstein": wasserstein(points[:MATCHED], real[:MATCHED]),
        }
        step = trainer.fit_loop.epoch_loop._batches_that_stepped
        for logger in trainer.loggers:
            logger.log_metrics({**self.values, "images_seen": float(module.images_seen)}, step=step)
        title = f"{module.images_seen:,} points: {found['modes']:.0f} of {len(data.centers)} modes"
        return cloud_picture(points, real, limit, f"{title}, {found['high_quality']:.0%} near one")

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """The final state, and all states in motion."""
        super().on_train_end(trainer, pl_module)
        folder = run_folder(trainer) / self.key
        if trainer.is_global_zero:
            frames = [Image.open(path) for path in sorted(folder.glob("*.png"))]
            frames[0].save(folder / "modes.gif", save_all=True, append_images=frames[1:], duration=250, loop=0)
