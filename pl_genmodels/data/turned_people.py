"""Drawn people turned to a side, with the same people from the front, and what is known of their heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pl_genmodels.data.factors import FactorSet
from pl_genmodels.data.pairs import PairData
from pl_genmodels.data.people import FACE_TOP, FACTORS, MEASURES, Looks, People, render_people
from pl_genmodels.types import Batch

YAW = "yaw"


def head_coefficients(identity: Tensor, yaw: Tensor, names: Sequence[str]) -> Tensor:
    """What describes heads, evenly spread over [-1, 1] each: the turn, and measures of a person.

    Args:
        identity: Which person, int64 (B,).
        yaw: Turn of the head as a share of the widest one, (B,).
        names: `yaw`, or measures.

    Returns:
        (B, K).
    """
    looks = Looks(identity)
    found = []
    for name in names:
        if name == YAW:
            found.append(yaw.float())
        else:
            low, high = MEASURES[name]
            found.append(2 * (looks.measures[name].flatten() - low) / (high - low) - 1)
    return torch.stack(found, 1)


def visible_from_front(identity: Tensor, yaw: Tensor, size: int) -> Tensor:
    """Which pixels of a face from the front show skin that was in sight when the head was turned.

    What lies at an angle a from the middle of a head was in sight if it was less than a right angle from the eye.

    Args:
        identity: Which person, int64 (B,).
        yaw: Turn of the head in radians, to the right, (B,).
        size: Height and width in pixels.

    Returns:
        bool (B, 1, size, size), false outside of the face.
    """
    of, axis = Looks(identity).measures, (torch.arange(size) + 0.5) / size * 2 - 1
    down, right = torch.meshgrid(axis, axis, indexing="ij")
    across, along = right / of["width"], (down - FACE_TOP) / of["height"]  # (B, size, size)
    angle = across.clamp(-1, 1).asin() + yaw.float()[:, None, None]
    return ((across.square() + along.square() < 1) & (angle.cos() > 0))[:, None]


class TurnedPeople(PairData):
    """Pairs of drawn people: turned to any side, and from the front; see `People`, who they are.

    Batches have `source` and `target`, `label` (who it is), `coefficients` (float32 (B, K), evenly spread over
    [-1, 1]: what `head_coefficients` says) and `visible` (bool (B, 1, size, size), where the front was in sight of the
    source). `val` and `test` hold people that training never shows.

    Args:
        size: Height and width, 16 or more.
        num_identities: People that train.
        num_held_out: People for `val` and `test`, an even number.
        num_poses: Turns of the head, evenly from 60 degrees to the left to 60 to the right.
        num_ages: Ages, evenly from young to old; a single one is young.
        coefficients: Of the head: `yaw`, and measures of a person.
        batch_size: See `PairData`.
        seed: See `PairData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    grey_levels = 256

    def __init__(
        self,
        size: int = 32,
        num_identities: int = 40,
        num_held_out: int = 10,
        num_poses: int = 9,
        num_ages: int = 1,
        coefficients: Sequence[str] = (YAW, "width", "height", "eyes", "mouth"),
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed=seed)
        allowed = (YAW, *MEASURES)
        if not coefficients or len(set(coefficients)) < len(coefficients) or not set(coefficients) <= set(allowed):
            raise ValueError(
                f"coefficients: got {list(coefficients)}, allowed are some of {', '.join(allowed)}, each once"
            )
        self.people = People(size, num_identities, num_held_out, num_poses, num_ages)
        self.source_shape = self.target_shape = self.people.image_shape
        self.num_classes, self.coefficients = num_identities, tuple(coefficients)
        self.save_hyperparameters()

    def details(self) -> list[str]:
        """The counts, and what the coefficients are."""
        return [*self.people.details(), *self.coefficients]

    def read(self, indices: Tensor) -> Batch:
        """Pairs of combinations of the people's factors, int64 (B,)."""
        people, size = self.people, self.target_shape[-1]
        factors = people.factors_of(indices)
        identity, pose, age = (factors[:, FACTORS.index(name)] for name in ("identity", "pose", "age"))
        yaw, age = people.yaw_of(pose), people.age_of(age)
        return {
            "source": render_people(identity, yaw, age, size),
            "target": render_people(identity, torch.zeros_like(yaw), age, size),
            "label": identity,
            "coefficients": head_coefficients(identity, people.yaw_of(pose, widest=1.0), self.coefficients),
            "visible": visible_from_front(identity, yaw, size),
        }

    def load(self, split: str) -> FactorSet:
        """Pairs of the people of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            The data set, whose pictures are made batch by batch.
        """
        return FactorSet(self.people.load(split).indices, self.read, f"TurnedPeople {split}")
