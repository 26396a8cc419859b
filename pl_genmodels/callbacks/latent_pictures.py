"""Pictures of what a model does with its latents while it learns: manifolds, traversals, reconstructions."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image
from torch import Tensor

from pl_genmodels.callbacks.fixed_images import fixed_images
from pl_genmodels.callbacks.output import RunPictures, require_positive
from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.models.conditions import values_for
from pl_genmodels.models.latent_grids import decoded, given_label, manifold, traversals
from pl_genmodels.types import Batch

NUM_CODES = 64  # images whose codes tell how they are spread, where a model draws no latents


class LatentPictures(RunPictures):
    """Pictures that are made through a model's decoder, of the same images or latents every time.

    Args:
        every_n_images: See `RunPictures`.
    """

    needs: ClassVar[tuple[str, ...]] = ("decode",)
    """Methods that a model has to have."""
    num_images: int = NUM_CODES

    def __init__(self, every_n_images: int) -> None:
        super().__init__(every_n_images)
        self._batch: Batch | None = None

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Refuse models that cannot.

        Raises:
            ValueError: For a model without the methods.
        """
        self._batch = None
        missing = [name for name in self.needs if not hasattr(pl_module, name)]
        if missing or not (hasattr(pl_module, "encode") or hasattr(pl_module, "draw_latents")):
            raise ValueError(
                f"{type(self).__name__}: got {type(pl_module).__name__}, allowed are models with a latent and "
                f"{' and '.join(self.needs)}"
            )

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """The state before this run's first step.

        Raises:
            ValueError: If the samples are no pictures.
        """
        if len(pl_module.image_shape) != 3:
            raise ValueError(
                f"{type(self).__name__}: the model makes samples of shape {tuple(pl_module.image_shape)}, allowed are "
                "pictures"
            )
        super().on_train_start(trainer, pl_module)

    def images(self, trainer: Trainer, module: Any) -> Batch:
        """The images, on the model's device."""
        if self._batch is None:
            self._batch = fixed_images(trainer, module, self.num_images)
        return {key: value.to(module.device) for key, value in self._batch.items()}

    def codes(self, trainer: Trainer, module: Any) -> tuple[Tensor | None, Tensor | None]:
        """Codes of the images and the first one's label, each None where there is none."""
        if not hasattr(module, "encode"):
            return None, None
        batch = self.images(trainer, module)
        label = batch["label"][0] if "label" in batch else None
        return module.encode(batch["image"], **given_label(module.encode, module, batch)), label


def tiled(images: Tensor, columns: int) -> Image.Image:
    """Pictures (N, C, H, W) row by row, small ones enlarged."""
    return grid_picture(images, columns, scale=max(1, 64 // images.shape[-1]))


class LatentTraversals(LatentPictures):
    """Saves what each coordinate of the latent does, as PNG in the run's `traversals` folder and to every logger.

    A row is one coordinate, from low to high, the others as in the code of one image of the validation data; where the
    model has no encoder, in the middle of the prior.

    Args:
        every_n_images: Interval in images seen; also at the start and at the end.
        num_steps: Pictures in a row.
        num_dims: Rows: the first coordinates, at most all.
        span: Values reach so many standard deviations to each side of the prior's mean.

    Raises:
        ValueError: For counts below 1 or a span that is not positive.
    """

    key = "traversals"

    def __init__(
        self, every_n_images: int = 10_000, num_steps: int = 10, num_dims: int = 10, span: float = 2.0
    ) -> None:
        super().__init__(every_n_images)
        require_positive(num_steps=num_steps, num_dims=num_dims)
        if span <= 0:
            raise ValueError(f"span: got {span}, allowed is more than 0")
        self.num_steps, self.num_dims, self.span = num_steps, num_dims, span

    def picture(self, trainer: Trainer, module: Any) -> Image.Image:
        """From the same image every time."""
        codes, label = self.codes(trainer, module)
        start = codes[0] if codes is not None else torch.zeros_like(module.draw_latents(1, seed=0)[0])
        latents = traversals(module, start, self.num_steps, self.num_dims, self.span, codes)
        return tiled(decoded(module, latents.flatten(0, 1), label), self.num_steps)


class SwapGrid(LatentPictures):
    """Saves images with the specified factor of others, as PNG in the run's `swaps` folder and to every logger.

    The first row and the first column are images; where they cross stands what is in the column's code, such as the
    style, with what is specified in the row's, such as the digit (Mathieu et al. 2016, figure 3).

    Args:
        every_n_images: Interval in images seen; also at the start and at the end.
        num_samples: Images in the first row and in the first column.

    Raises:
        ValueError: For counts below 1, and models that do not swap.
    """

    key = "swaps"
    needs = ("encode", "swap")

    def __init__(self, every_n_images: int = 10_000, num_samples: int = 8) -> None:
        super().__init__(every_n_images)
        require_positive(num_samples=num_samples)
        self.num_images = self.num_samples = num_samples

    def picture(self, trainer: Trainer, module: Any) -> Image.Image:
        """The same images every time: the row's specify, the column's are the style."""
        image = self.images(trainer, module)["image"]
        number = len(image)
        made = module.swap(image.repeat_interleave(number, 0), image.repeat(number, 1, 1, 1)).to(image)
        rows = torch.cat([image[:, None], made.unflatten(0, (number, number))], 1)
        corner = torch.cat([torch.ones_like(image[:1]), image])[None]
        return tiled(torch.cat([corner, rows]).flatten(0, 1), number + 1)


class CodeTraversals(RunPictures):
    """Saves what each code of a model does, as PNG in the run's `codes` folder and to every logger.

    A row is one code: a categorical one through its categories, a number from -span to span (Chen et al. 2016, figure
    2). The latent and all other codes stay as they are.

    Args:
        every_n_images: Interval in images seen; also at the start and at the end.
        num_steps: Pictures in a row.
        span: How far a number goes to each side; it is drawn from [-1, 1] in training.
        seed: Of the latent and the other codes.

    Raises:
        ValueError: For counts below 1, a span that is not positive, and a model without codes.
    """

    key = "codes"

    def __init__(self, every_n_images: int = 10_000, num_steps: int = 10, span: float = 2.0, seed: int = 0) -> None:
        super().__init__(every_n_images)
        require_positive(num_steps=num_steps)
        if span <= 0:
            raise ValueError(f"span: got {span}, allowed is more than 0")
        self.num_steps, self.span, self.seed = num_steps, span, seed

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Refuse models without codes."""
        if getattr(getattr(pl_module, "condition", None), "entry", None) != "code":
            raise ValueError(f"CodeTraversals: got {type(pl_module).__name__}, allowed are models with codes")

    def picture(self, trainer: Trainer, module: Any) -> Image.Image:
        """Of the same latent every time."""
        codes = module.condition
        values = values_for(codes, None, 1, module.device, seed=self.seed).expand(codes.length, self.num_steps, -1)
        values, steps = values.clone(), torch.arange(self.num_steps, device=module.device)
        for place in range(codes.length):
            number = place >= len(codes.categories)
            values[place, :, place] = (
                torch.linspace(-self.span, self.span, self.num_steps, device=module.device)
                if number
                else (steps % codes.categories[place]).to(values.dtype)
            )
        latent = module.draw_latents(1, seed=self.seed).expand(codes.length * self.num_steps, -1)
        return tiled(module.decode(latent, code=values.flatten(0, 1)), self.num_steps)


class LatentManifold(LatentTraversals):
    """Saves the images of a grid over a latent of two coordinates as PNG in the run's `manifold` folder and to loggers.

    Evenly spaced in probability, from the 5th to the 95th percentile of the prior: Kingma, Welling 2014, figure 4. For
    a latent of another length it says so once and draws traversals instead.

    Args:
        every_n_images: Interval in images seen; also at the start and at the end.
        num_steps: Pictures in a row and in a column.

    Raises:
        ValueError: For counts below 1.
    """

    key = "manifold"

    def __init__(self, every_n_images: int = 10_000, num_steps: int = 20) -> None:
        super().__init__(every_n_images, num_steps=num_steps)
        self._told = False

    def picture(self, trainer: Trainer, module: Any) -> Image.Image:
        """The same grid every time."""
        codes, label = self.codes(trainer, module)
        length = (codes if codes is not None else module.draw_latents(1, seed=0)).shape[1]
        if length != 2:
            if not self._told:
                rank_zero_warn(f"LatentManifold: the latent has {length} coordinates, not 2; traversals are drawn.")
            self._told = True
            return super().picture(trainer, module)
        return tiled(decoded(module, manifold(module, self.num_steps, codes), label), self.num_steps)


class Reconstructions(LatentPictures):
    """Saves images beside what is left of them after their codes, as PNG in `reconstructions` and to every logger.

    Args:
        every_n_images: Interval in images seen; also at the start and at the end.
        num_samples: How many images, evenly taken from the validation data.
        columns: Pairs in a row.

    Raises:
        ValueError: For counts below 1.
    """

    key = "reconstructions"
    needs = ("reconstruct",)

    def __init__(self, every_n_images: int = 10_000, num_samples: int = 32, columns: int = 4) -> None:
        super().__init__(every_n_images)
        require_positive(num_samples=num_samples, columns=columns)
        self.num_images, self.columns = num_samples, columns

    def picture(self, trainer: Trainer, module: Any) -> Image.Image:
        """The same images every time."""
        batch = self.images(trainer, module)
        back = module.reconstruct(batch["image"], **given_label(module.reconstruct, module, batch))
        return tiled(torch.stack([batch["image"], back.to(batch["image"])], 1).flatten(0, 1), 2 * self.columns)


class EditGrid(LatentPictures):
    """Saves images beside what they would be under each condition, as PNG in the run's `edits` folder and to loggers.

    A row is one image of the validation data: itself, then its edits.

    Args:
        every_n_images: Interval in images seen; also at the start and at the end.
        num_samples: How many images, evenly taken.

    Raises:
        ValueError: For counts below 1, and models that do not edit.
    """

    key = "edits"
    needs = ("encode", "edits")

    def __init__(self, every_n_images: int = 10_000, num_samples: int = 8) -> None:
        super().__init__(every_n_images)
        require_positive(num_samples=num_samples)
        self.num_images = num_samples

    def picture(self, trainer: Trainer, module: Any) -> Image.Image:
        """The same images every time."""
        image = self.images(trainer, module)["image"]
        made = module.edits(image, module.condition.all_of_one()).to(image)
        return tiled(torch.cat([image[:, None], made], 1).flatten(0, 1), 1 + made.shape[1])
