"""What the page shows and does, without the page: a place among a model's latents, and ways to leave it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.data.pictures import to_float
from pl_genmodels.editing import carry_over, edit, lerp, project, slerp
from pl_genmodels.explorer.explorer import Explorer, Place
from pl_genmodels.explorer.strokes import brush_of, read_drag, read_stroke
from pl_genmodels.explorer.uploads import read_upload
from pl_genmodels.explorer.wishes import Wishes
from pl_genmodels.networks import UniformPrior

NUM_SAMPLES = 10_000  # of the seed, among which random ones are
MOST_KEPT = 100  # steps that can be taken back
PATH_STEPS = 8  # pictures between which motion is followed to the upload


class Session:
    """What one visitor sees: a place, the one before to compare with, wishes painted on it, and the way back.

    Every method that leaves the place says in a sentence what it did.

    Args:
        explorer: Of the model.

    Attributes:
        now: Where the visitor is.
        before: What `now` is compared with.
        strip: Places between the two, after `interpolate`.
        wishes: What the brushes have asked of the picture.
        edited: The upload with what led from it to `now` done to it, in [-1, 1], (C, H', W'), after `carry_over`.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        first = explorer.space.draw(1, seed=explorer.seed)
        self.now = self.before = explorer.place(first, explorer.first_values())
        self.strip: list[Place] = []
        self.forget()
        self.edited: Tensor | None = None
        self._upload: tuple[Place, Tensor] | None = None  # the model's picture of the last one, and itself
        self._past: list[tuple[Place, Place]] = []
        self._axis: int | None = None  # that the last step was along: a dragged slider is one step to take back

    # ---- where the visitor is

    def positions(self) -> list[float]:
        """Component of the latents along each axis, cut to its ends."""
        found = (self.now.latents[0] @ torch.stack([axis.vector for axis in self.explorer.axes]).T).tolist()
        return [min(max(value, axis.low), axis.high) for value, axis in zip(found, self.explorer.axes, strict=True)]

    def forget(self) -> None:
        """Take the brushes' wishes away; the picture stays."""
        self.wishes = Wishes.none(self.explorer.shape)

    def _go(self, now: Place, before: Place | None = None, axis: int | None = None) -> None:
        if axis is None or axis != self._axis:
            self._past = [*self._past[-MOST_KEPT + 1 :], (self.now, self.before)]
        self.now, self.before, self._axis = now, before or self.before, axis
        self.strip, self.edited = [], None

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
        image, whole, note = read_upload(Path(path), self.explorer.shape)
        values = self.explorer.values_of(image)
        values = self.now.values if values is None else values
        found = project(self.explorer.model, image, num_starts=4, num_steps=100, **self.explorer.told(values))
        now = self.explorer.place(found.latents, values)
        self._go(now, replace(now, image=image[0]))
        self._upload = None if whole is None else (now, whole)
        self.forget()
        error = (now.image - image[0]).square().mean()
        return f"{note} Now is the nearest picture that the model makes, mean squared error {error:.2g}."

    def paint(self, stroke: Mapping[str, Any]) -> str:
        """Go to a picture near by that is as the brushes want it, by earlier strokes too.

        Args:
            stroke: `brush`, colour by default, and what `read_stroke` takes, or for the warp `read_drag`.

        Raises:
            ValueError: If it is no stroke.
        """
        brush, shape = brush_of(stroke), self.explorer.shape
        if brush == "warp":
            region, (down, right) = read_drag(stroke, shape)
            wishes = self.wishes.moved(self.now.image, region, (down, right))
            way = f"{abs(right)} {'left' if right < 0 else 'right'} and {abs(down)} {'up' if down < 0 else 'down'}"
            note = f"A patch of {int(region.sum())} pixels is dragged {way}"
        else:
            colour, where = read_stroke(stroke, shape)
            sketching = brush == "sketch"
            wishes = self.wishes.sketched(where) if sketching else self.wishes.painted(colour, where)
            number = int((wishes.strokes if sketching else wishes.colour_mask).sum())
            note = f"{number} pixels are {'sketched' if sketching else 'painted'}"
        found = edit(self.explorer.model, self.now.latents, **wishes.arguments(), **self.explorer.told(self.now.values))
        self._go(self.explorer.place(found.latents, self.now.values))
        self.wishes = wishes
        if brush == "sketch":
            return f"{note}, where edges are to be."
        error = (self.now.image - wishes.colour).square().mean(0)[wishes.colour_mask].mean()
        return f"{note}, mean squared error there {error:.2g}."

    def carry_over(self) -> str:
        """Do to the upload, in its own resolution, what leads from the model's picture of it to now.

        Raises:
            ValueError: Without an upload.
        """
        if self._upload is None:
            raise ValueError("There is no upload to edit: upload a picture, change it here, then ask for this.")
        start, whole = self._upload
        shares = torch.linspace(0, 1, PATH_STEPS, device=start.latents.device)[1:, None]
        images = self.explorer.images(lerp(start.latents, self.now.latents, shares), self.now.values)
        path = torch.cat([start.image[None], images])
        self.edited = carry_over(to_float(whole)[None], path[None])[0]
        return f"The same is done to the upload, {whole.shape[1]}x{whole.shape[2]} pixels (height x width)."

    def keep(self) -> str:
        """Compare with the present place from now on."""
        self._go(self.now, self.now)
        return "Before is now."

    def clear(self) -> str:
        """Take the brushes' wishes away; the picture stays."""
        self.forget()
        return "Nothing is painted."

    def undo(self) -> str:
        """Take the last step back.

        Raises:
            ValueError: If there is none.
        """
        if not self._past:
            raise ValueError("There is nothing to undo.")
        self.now, self.before = self._past.pop()
        self.strip, self._axis, self.edited = [], None, None
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
