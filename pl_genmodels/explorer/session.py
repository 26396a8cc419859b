"""What the page shows and does, without the page: a place among a model's latents, and ways to leave it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.editing import edit, lerp, project, slerp
from pl_genmodels.explorer.explorer import Explorer, Place
from pl_genmodels.explorer.strokes import read_stroke
from pl_genmodels.explorer.uploads import read_upload
from pl_genmodels.networks import UniformPrior

NUM_SAMPLES = 10_000  # of the seed, among which random ones are
MOST_KEPT = 100  # steps that can be taken back


class Session:
    """What one visitor sees: a place, the one before to compare with, wishes painted on it, and the way back.

    Every method that leaves the place says in a sentence what it did.

    Args:
        explorer: Of the model.

    Attributes:
        now: Where the visitor is.
        before: What `now` is compared with.
        strip: Places between the two, after `interpolate`.
        colour: Painted wishes, in [-1, 1], (C, H, W).
        mask: Where there are some, booleans (H, W).
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        first = explorer.space.draw(1, seed=explorer.seed)
        self.now = self.before = explorer.place(first, explorer.first_values())
        self.strip: list[Place] = []
        self.forget()
        self._past: list[tuple[Place, Place]] = []
        self._axis: int | None = None  # that the last step was along: a dragged slider is one step to take back

    # ---- where the visitor is

    def positions(self) -> list[float]:
        """Component of the latents along each axis, cut to its ends."""
        found = (self.now.latents[0] @ torch.stack([axis.vector for axis in self.explorer.axes]).T).tolist()
        return [min(max(value, axis.low), axis.high) for value, axis in zip(found, self.explorer.axes, strict=True)]

    def forget(self) -> None:
        """Take the painted wishes away; the picture stays."""
        self.colour = torch.zeros(self.explorer.shape)
        self.mask = torch.zeros(self.explorer.shape[1:], dtype=torch.bool)

    def _go(self, now: Place, before: Place | None = None, axis: int | None = None) -> None:
        if axis is None or axis != self._axis:
            self._past = [*self._past[-MOST_KEPT + 1 :], (self.now, self.before)]
        self.now, self.before, self._axis = now, before or self.before, axis
        self.strip = []

    # ---- ways to leave it

    def sample(self, number: int | None = None) -> str:
        """Go to a sample of the seed, a random one by default.

        Raises:
            ValueError: For a negative number.
        """
        number = random.randrange(NUM_SAMPLES) if number is None else number
        if number < 0:
            raise ValueError(f"number: got {number}, allowed is 0 or more")
        seed = self.explorer.seed
        self._go(self.explorer.place(self.explorer.space.draw(1, seed=seed, first=number), self.now.values))
        self.forget()
        return f"Latents of sample {number} of seed {seed}."

    def move(self, axis: int, value: float) -> str:
        """Move along one axis.

        Raises:
            ValueError: For a value beyond the axis' ends.
        """
        one, latents = self.explorer.axes[axis], self.now.latents
        if not one.low - 1e-3 <= value <= one.high + 1e-3:
            raise ValueError(f"{one.name}: got {value:.3g}, allowed is {one.low:.3g} to {one.high:.3g}")
        moved = latents + (value - latents @ one.vector)[:, None] * one.vector
        low, high = torch.minimum(self.explorer.low, latents), torch.maximum(self.explorer.high, latents)
        self._go(self.explorer.place(moved.clamp(low, high), self.now.values), axis=axis)
        self.forget()
        return f"{one.name[0].upper()}{one.name[1:]} is {value:.2f}."

    def tell(self, values: Any) -> str:
        """Change the condition, and nothing else.

        Raises:
            ValueError: For values that there are not, or a model without condition.
        """
        condition = self.explorer.condition
        if condition is None:
            raise ValueError(f"values: got some, but a {type(self.explorer.model).__name__} knows no conditions")
        told = condition.checked(torch.as_tensor(values), 1)[0]
        self._go(self.explorer.place(self.now.latents, told))
        self.forget()
        return f"The same latents with {condition.entry} {_shown(told)}."

    def upload(self, path: str | Path) -> str:
        """Go to the picture of the model's that is nearest to a given one, which becomes what is compared with.

        Raises:
            ValueError: If the file is no picture.
        """
        image, note = read_upload(Path(path), self.explorer.shape)
        values = self.explorer.values_of(image)
        values = self.now.values if values is None else values
        found = project(self.explorer.model, image, num_starts=4, num_steps=100, **self.explorer.told(values))
        now = self.explorer.place(found.latents, values)
        self._go(now, replace(now, image=image[0]))
        self.forget()
        error = (now.image - image[0]).square().mean()
        return f"{note} Now is the nearest picture that the model makes, mean squared error {error:.2g}."

    def paint(self, stroke: Mapping[str, Any]) -> str:
        """Go to a picture near by that has the painted colours, those of earlier strokes too.

        Args:
            stroke: See `read_stroke`.

        Raises:
            ValueError: If it is no stroke.
        """
        colour, mask = read_stroke(stroke, self.explorer.shape)
        wish, where = torch.where(mask, colour[:, None, None], self.colour), self.mask | mask
        told = self.explorer.told(self.now.values)
        found = edit(self.explorer.model, self.now.latents, colour=wish[None], colour_mask=where[None].float(), **told)
        self._go(self.explorer.place(found.latents, self.now.values))
        self.colour, self.mask = wish, where
        error = (self.now.image - wish).square().mean(0)[where].mean()
        return f"{int(where.sum())} pixels are painted, mean squared error there {error:.2g}."

    def keep(self) -> str:
        """Compare with the present place from now on."""
        self._go(self.now, self.now)
        return "Before is now."

    def clear(self) -> str:
        """Take the painted wishes away; the picture stays."""
        self.forget()
        return "No pixel is painted."

    def undo(self) -> str:
        """Take the last step back.

        Raises:
            ValueError: If there is none.
        """
        if not self._past:
            raise ValueError("There is nothing to undo.")
        self.now, self.before = self._past.pop()
        self.strip, self._axis = [], None
        self.forget()
        return "One step back."

    def interpolate(self, num_steps: int = 9) -> str:
        """Fill the strip with places between before and now, both included, all of the present condition.

        Raises:
            ValueError: If both have the same latents.
        """
        start, end = self.before.latents, self.now.latents
        if torch.equal(start, end):
            raise ValueError("Before and now have the same latents: change the picture, then interpolate.")
        path = lerp if isinstance(getattr(self.explorer.model, "prior", None), UniformPrior) else slerp
        latents = path(start, end, torch.linspace(0, 1, num_steps, device=start.device)[:, None])
        images = self.explorer.images(latents, self.now.values)
        self.strip = [Place(one[None], self.now.values, image) for one, image in zip(latents, images, strict=True)]
        return f"{num_steps} pictures from before to now; click on one to go there."

    def pick(self, number: int) -> str:
        """Go to a place of the strip, which stays.

        Raises:
            ValueError: For one that there is not.
        """
        if not 0 <= number < len(self.strip):
            raise ValueError(f"number: got {number}, allowed is 0 to {len(self.strip) - 1}, those of the strip")
        strip = self.strip
        self._go(strip[number])
        self.forget()
        self.strip = strip
        return f"Picture {number + 1} of {len(strip)}."


def _shown(values: Tensor) -> str:
    """A condition's values as the command line takes them."""
    return ",".join(f"{value:.3g}" for value in values.reshape(-1).tolist())
