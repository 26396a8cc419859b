"""What a visitor has asked of a picture with the brushes, as constraints of `edit`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.editing import grey_of, warped
from pl_genmodels.editing.edges import cell_of


@dataclass(frozen=True)
class Wishes:
    """Colours and edges that a picture is to have, and where.

    Attributes:
        colour: In [-1, 1], (C, H, W).
        colour_mask: Where colours are asked for, booleans (H, W).
        sketch: Whose edges are wanted, in [0, 1], (H, W).
        sketch_mask: Where edges are asked for, booleans (H, W).
        strokes: Where these are lines that were drawn, booleans (H, W).
    """

    colour: Tensor
    colour_mask: Tensor
    sketch: Tensor
    sketch_mask: Tensor
    strokes: Tensor

    @classmethod
    def none(cls, shape: tuple[int, int, int]) -> Wishes:
        """No wishes for a picture of (C, H, W)."""
        nowhere = torch.zeros(shape[1:], dtype=torch.bool)
        return cls(torch.zeros(shape), nowhere, torch.zeros(shape[1:]), nowhere, nowhere)

    def painted(self, colour: Tensor, where: Tensor) -> Wishes:
        """And a colour, (C,), where a brush has been, (H, W)."""
        wish = torch.where(where, colour[:, None, None], self.colour)
        return replace(self, colour=wish, colour_mask=self.colour_mask | where)

    def sketched(self, where: Tensor) -> Wishes:
        """And a line where a pen has been, (H, W)."""
        mask, strokes = self.sketch_mask | where, self.strokes | where
        return replace(self, sketch=self.sketch.masked_fill(where, 1.0), sketch_mask=mask, strokes=strokes)

    def moved(self, image: Tensor, region: Tensor, shift: tuple[int, int]) -> Wishes:
        """And a patch of a picture elsewhere, with its colours and edges; wishes within the patch go with it.

        Args:
            image: In [-1, 1], (C, H, W).
            region: The patch, booleans (H, W).
            shift: Pixels down and to the right.

        Raises:
            ValueError: If none of the patch stays in the picture.
        """
        picture, mask = warped(image[None], region[None].float(), shift)
        patch, kept = mask[0] > 0, self.sketch_mask & ~region
        reach = 2 * cell_of(*region.shape) + 1  # of a histogram: cells that meet the patch see as far beyond it
        around = F.max_pool2d(mask[None], 2 * reach + 1, 1, reach)[0, 0] > 0
        return Wishes(
            torch.where(patch, picture[0], self.colour),
            (self.colour_mask & ~region) | patch,
            torch.where(patch | (around & ~kept), grey_of(picture)[0], self.sketch),
            kept | patch,
            self.strokes & ~region & ~patch,
        )

    def arguments(self) -> dict[str, Any]:
        """Of `edit`."""
        asked: dict[str, Any] = {}
        if self.colour_mask.any():
            asked |= {"colour": self.colour[None], "colour_mask": self.colour_mask[None].float()}
        if self.sketch_mask.any():
            asked |= {"sketch": self.sketch[None], "sketch_mask": self.sketch_mask[None].float()}
        return asked
