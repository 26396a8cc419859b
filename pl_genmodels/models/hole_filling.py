"""Generators that fill a square hole in a picture: the holes, and what one does with such a generator."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.averaging import AveragedGeneratorModule
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.known_pixels import square_holes
from pl_genmodels.models.latents import draw_of_seed
from pl_genmodels.networks import Translator
from pl_genmodels.networks.base import require_picture
from pl_genmodels.types import Batch, ImageShape, as_batch


class HoleFillingModule(AveragedGeneratorModule):
    """Players of which one owns `generator`, which turns a picture with a grey hole (0) into a whole one.

    Args:
        hole: Least and greatest side of the square hole that each picture gets at a random place, in pixels.
        *args: See `AdversarialModule`.
        **kwargs: See `AdversarialModule`.
    """

    directions: ClassVar[tuple[str, ...]] = ("AtoB",)
    generator: Translator
    generator_ema: Translator

    def __init__(self, hole: tuple[int, int], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hole = tuple(hole)

    @property
    def is_built(self) -> bool:
        """Whether the networks exist."""
        return hasattr(self, "generator")

    source_shape = property(lambda self: self.image_shape, doc="Shape of a picture with a hole, as of the result.")

    def require_room(self, image_shape: ImageShape) -> None:
        """Refuse holes that do not fit into a picture.

        Raises:
            ValueError: If they do not, or there is no picture.
        """
        _, height, width = require_picture(type(self).__name__, image_shape)
        smallest, largest = self.hole
        if not 1 <= smallest <= largest <= min(height, width):
            raise ValueError(
                f"hole: got {list(self.hole)}, allowed are two sides from 1 to {min(height, width)}, the smaller first"
            )

    # ---- training

    def draw(self, batch: Batch) -> Batch:
        """Add `mask`, true where a picture is known, (B, 1, H, W)."""
        return {**batch, "mask": self._masks(batch["image"])}

    def draw_for_clock(self, batch: Batch) -> Batch:
        """Other holes."""
        return self.draw(batch)

    def _masks(self, image: Tensor, seed: int | None = None) -> Tensor:
        def draw(count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
            return torch.rand(count, 3, generator=generator, device=device, dtype=torch.float32)

        shares = draw_of_seed(draw, len(image), image.device, seed=seed)
        return square_holes(shares, *self.hole, *image.shape[2:])

    def generate(self, batch: Batch) -> Batch:
        """`made`, the whole picture of the generator, and `image`, with it in the hole alone."""
        made = self.forward(batch["image"], batch["mask"])
        return {"image": torch.where(batch["mask"], batch["image"], made), "made": made}

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """What the trained (not averaged) generator makes of pictures with holes, with gradient."""
        return self.generator(torch.where(mask, image, 0.0))

    # ---- what one does with it

    def make(self, image: Tensor, mask: Tensor) -> Tensor:
        """What averaged weights, if there are any, make of pictures with holes, in evaluation mode.

        Args:
            image: In [-1, 1], (B, C, H, W).
            mask: True where they are known, booleans (B, 1, H, W) or one (H, W) for all.

        Returns:
            In at least single precision, (B, C, H, W).
        """
        with evaluating(self.sampler):
            dtype = next(self.sampler.parameters()).dtype
            holed = torch.where(mask.to(self.device), image.to(self.device), 0.0)
            return at_least_single(self.sampler(holed.to(dtype))).clamp(-1, 1)

    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        """Pictures as they are where they are known, and elsewhere what the generator makes; see `make`."""
        made = self.make(image, mask)
        return torch.where(mask.to(made.device), image.to(made), made)

    def translate(self, images: Tensor, direction: str = "AtoB", seed: int | None = None) -> Tensor:
        """Pictures in each of which a hole, at a random place, has been filled.

        Args:
            images: In [-1, 1], (B, *image_shape).
            direction: `AtoB`, the only one.
            seed: Of the holes; hole i of a seed is always the same.

        Raises:
            ValueError: For another direction.
        """
        if direction not in self.directions:
            raise ValueError(f"direction: got {direction!r}, which a CCGAN has not, allowed: AtoB")
        return self.fill(images, self._masks(images, seed))

    def panels(self, batch: Batch, direction: str = "AtoB", seed: int | None = None) -> dict[str, Tensor]:
        """Columns of a grid: a picture with a hole, the filled one, all that was made, and the whole picture."""
        image, mask = batch["image"], self._masks(batch["image"], seed)
        holed, made = torch.where(mask, image, 0.0), self.make(image, mask)
        return {"source": holed, "translation": torch.where(mask, image, made), "made": made, "target": image}

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The batch's pictures with a filled hole each."""
        return self.translate(as_batch(batch, self.batch_keys)["image"])
