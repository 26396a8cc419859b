"""A model as the page sees it: axes to move along, a condition, and pictures of both."""

from __future__ import annotations

import inspect
import threading
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.editing import LatentSpace, principal_directions
from pl_genmodels.layers import Codes, Condition
from pl_genmodels.models.conditions import read_off

NUM_AXES = 10
REACH = 3.72  # standard deviations to each side that a slider spans; beyond each lie 0.01 %


@dataclass(frozen=True)
class Axis:
    """A direction in which a slider moves latents.

    Attributes:
        name: On the page.
        vector: Of length 1, (latent_dim,).
        low: The least value of the latents' component along it.
        high: The largest one.
    """

    name: str
    vector: Tensor
    low: float
    high: float


@dataclass(frozen=True)
class Place:
    """Latents, a condition, and their picture.

    Attributes:
        latents: (1, latent_dim).
        values: Of the condition, None without one.
        image: In [-1, 1], (C, H, W).
    """

    latents: Tensor
    values: Tensor | None
    image: Tensor


class Explorer:
    """A model, and what all who look at it share.

    Args:
        model: With latents; of pictures.
        seed: Of the samples.
        num_axes: How many sliders: the latent's coordinates if it has no more, else its principal directions.

    Raises:
        ValueError: For a model without latents.
    """

    def __init__(self, model: Any, seed: int = 0, num_axes: int = NUM_AXES) -> None:
        self.model, self.seed = model, seed
        self.space = LatentSpace(model)
        condition: Condition | None = getattr(model, "condition", None)
        told = condition is not None and condition.entry in inspect.signature(model.decode).parameters
        self.condition = condition if told else None
        self.low, self.high = self.space.limits()
        self.axes = self._axes(num_axes)
        self.lock = threading.Lock()  # one visitor at a time: a search freezes the model's weights

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return tuple(self.model.image_shape)

    def _axes(self, number: int) -> list[Axis]:
        length = len(self.low)
        if length <= number:
            rows = torch.eye(length, device=self.low.device)
            limits = zip(rows, self.low.tolist(), self.high.tolist(), strict=True)
            return [Axis(f"z{place + 1}", row, low, high) for place, (row, low, high) in enumerate(limits)]
        rows = principal_directions(self.space, number, self.seed)
        along = self.space.draw(4096, seed=self.seed) @ rows.T
        middle, reach = along.mean(0).tolist(), (REACH * along.std(0)).tolist()
        return [
            Axis(f"direction {place + 1}", row, centre - most, centre + most)
            for place, (row, centre, most) in enumerate(zip(rows, middle, reach, strict=True))
        ]

    def first_values(self) -> Tensor | None:
        """The condition at the start: the first class, no property, or codes of 0."""
        if self.condition is None:
            return None
        if isinstance(self.condition, Codes):
            return torch.zeros(self.condition.length)
        return torch.zeros_like(self.condition.all_of_one()[0])

    def told(self, values: Tensor | None) -> dict[str, Any]:
        """A condition as arguments of the model."""
        return {} if self.condition is None or values is None else {self.condition.entry: values}

    def images(self, latents: Tensor, values: Tensor | None) -> Tensor:
        """Pictures, (B, latent_dim) to (B, C, H, W)."""
        with torch.no_grad():
            return LatentSpace(self.model, **self.told(values)).decode(latents).float().cpu()

    def place(self, latents: Tensor, values: Tensor | None) -> Place:
        """Latents and a condition with their picture."""
        return Place(latents, values, self.images(latents, values)[0])

    def values_of(self, image: Tensor) -> Tensor | None:
        """The condition that the model reads off an image, (1, C, H, W); None if it reads none."""
        if self.condition is None:
            return None
        with torch.no_grad():
            found = read_off(self.model, image.to(self.model.device))
        return None if found is None else found[0].cpu()
