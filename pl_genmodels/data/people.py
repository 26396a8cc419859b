"""Small drawn people whose identity, pose and age are known: rendered, the same on every machine."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.data.factors import FactorData, FactorSet
from pl_genmodels.data.pictures import check_picture
from pl_genmodels.data.seeds import stable_seed
from pl_genmodels.types import Batch

FACTORS = ("identity", "pose", "age")
WIDEST = math.radians(60)  # of the first and the last pose, to either side

# Measures of a person, each between its ends: shares of half the picture, and angles on the head
MEASURES = {
    "width": (0.34, 0.46),
    "height": (0.46, 0.56),
    "eyes": (0.35, 0.65),
    "eye_size": (0.05, 0.09),
    "mouth": (0.25, 0.6),
    "hair": (0.05, 0.5),
    "fringe": (0.35, 0.75),
    "shoulders": (0.55, 0.8),
}
FACE_TOP = -0.15  # height of the middle of a face
GREY = torch.tensor([0.8, 0.8, 0.82])


class Looks:
    """What people look like, by their numbers: measures and colours of hair, skin, shirt and background.

    Args:
        identities: int64 (B,).
    """

    def __init__(self, identities: Tensor) -> None:
        numbers, places = identities.unique(return_inverse=True)
        values = torch.stack([_draw(number) for number in numbers.tolist()])[places]  # (B, measures + 12)
        lows, highs = torch.tensor(list(MEASURES.values())).T
        scaled = lows + (highs - lows) * values[:, : len(MEASURES)]
        self.measures = {name: scaled[:, place, None, None] for place, name in enumerate(MEASURES)}
        colours = values[:, len(MEASURES) :].unflatten(1, (4, 3))[..., None, None]  # (B, 4, 3, 1, 1)
        hair, skin, shirt, back = colours.unbind(1)
        self.hair = hair * torch.tensor([0.9, 0.6, 0.4])[:, None, None]
        light = 0.45 + 0.5 * skin.mean(1, keepdim=True)
        self.skin = light * torch.tensor([1.0, 0.8, 0.65])[:, None, None]
        self.shirt, self.back = shirt, 0.3 * back


@functools.cache
def _draw(identity: int) -> Tensor:
    generator = torch.Generator().manual_seed(stable_seed("people", identity))
    return torch.rand(len(MEASURES) + 12, generator=generator)


def render_people(identity: Tensor, yaw: Tensor, age: Tensor, size: int) -> Tensor:
    """People from the front or turned, young or old.

    A turned head moves eyes, nose and mouth as on a cylinder, and hides what comes to lie behind. Age greys the hair,
    bares the forehead and draws lines below the eyes.

    Args:
        identity: Which person, int64 (B,).
        yaw: Turn of the head in radians, to the right, (B,).
        age: From 0 to 1, (B,).
        size: Height and width in pixels.

    Returns:
        uint8 (B, 3, size, size).
    """
    looks, soft = Looks(identity), size / 3.0  # edges are about three pixels wide
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    down, right = torch.meshgrid(axis, axis, indexing="ij")
    yaw, age = yaw.float()[:, None, None], age.float()[:, None, None]
    of, picture = looks.measures, looks.back.expand(-1, -1, size, size)

    def ellipse(x: Tensor | float, y: Tensor | float, width: Tensor | float, height: Tensor | float) -> Tensor:
        """How far each pixel lies inside, from 0 to 1, (B, size, size)."""
        distance = (((right - x) / width).square() + ((down - y) / height).square()).clamp(min=1e-9).sqrt()
        least = torch.minimum(torch.as_tensor(width), torch.as_tensor(height))
        return ((1 - distance) * least * soft + 0.5).clamp(0, 1)

    def paint(over: Tensor, colour: Tensor) -> None:
        nonlocal picture
        picture = picture + over[:, None] * (colour - picture)

    hair = looks.hair + age[:, None] * (GREY[:, None, None] - looks.hair)
    width, height, top = of["width"], of["height"], FACE_TOP
    paint(ellipse(0.0, 1.1, of["shoulders"], 0.62), looks.shirt)
    paint(ellipse(-0.08 * yaw.sin(), top + 0.4 * of["hair"], width + 0.1, height + 0.08 + of["hair"] / 2), hair)
    face = ellipse(0.0, top, width, height)
    paint(face, looks.skin)
    bald = of["fringe"] + 0.25 * age
    forehead = ((top - height * bald - down) * soft + 0.5).clamp(0, 1)
    paint(face * forehead, hair)

    def feature(angle: Tensor | float, y: Tensor | float, wide: Tensor | float, high: Tensor | float) -> Tensor:
        """A spot on the head at an angle from its middle, as far as it is not behind."""
        seen = (yaw + angle).cos().clamp(min=0)
        return face * ellipse(width * (yaw + angle).sin(), y, wide * seen + 1e-3, high) * (seen > 0)

    eyes, sizes = top - 0.05, of["eye_size"]
    for side in (-1.0, 1.0):
        paint(feature(side * of["eyes"], eyes, 1.6 * sizes, sizes), torch.zeros(3, 1, 1))
        paint(0.6 * age * feature(side * of["eyes"], eyes + 2.2 * sizes, 2 * sizes, 0.03), 0.4 * looks.skin)
    paint(0.7 * feature(0.0, top + 0.12, 0.06, 0.1), 0.6 * looks.skin)
    paint(feature(0.0, top + 0.3, of["mouth"] * width, 0.05), torch.tensor([0.6, 0.1, 0.15])[:, None, None])
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)


class People(FactorData):
    """Drawn people in all poses and ages, some of whom are kept from training.

    Pictures are rendered on the fly. `val` and `test` hold people that training never shows, half of `num_held_out`
    each, in all poses and ages. Batches have `image`, `factors` (identity, pose, age), and by itself
    `identity`, `pose` and `label`.

    Args:
        size: Height and width, 16 or more.
        num_identities: People that train.
        num_held_out: People for `val` and `test`, an even number; they are numbered behind the others.
        num_poses: Turns of the head, evenly from 60 degrees to the left to 60 to the right; a single one is the front.
        num_ages: Ages, evenly from young to old; a single one is young.
        label: Which factor a batch's `label` is: `identity`, `pose` or `age`.
        images_per_person: With more than one, n, batches have as `others` n - 1 more of each picture's person in other
            poses or ages, always the same ones, (B, n - 1, 3, size, size), and their `other_poses`, (B, n - 1).
        **kwargs: Of `FactorData`, without `val_fraction`.

    Raises:
        ValueError: If an argument is out of range.
    """

    factor_names = FACTORS
    categorical = ("identity",)
    grey_levels = 256

    def __init__(
        self,
        size: int = 32,
        num_identities: int = 40,
        num_held_out: int = 10,
        num_poses: int = 9,
        num_ages: int = 4,
        label: str = "identity",
        images_per_person: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(val_fraction=0.0, **kwargs)
        if size < 16:
            raise ValueError(f"size: got {size}, allowed is 16 or more")
        self.image_shape = check_picture(size, 3)
        counts = {"num_identities": num_identities, "num_poses": num_poses, "num_ages": num_ages}
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name}: got {count}, allowed is 1 or more")
        if num_held_out < 2 or num_held_out % 2:
            raise ValueError(f"num_held_out: got {num_held_out}, allowed are even numbers of 2 or more")
        if label not in FACTORS:
            raise ValueError(f"label: got {label!r}, allowed are {', '.join(FACTORS)}")
        if not 1 <= images_per_person <= num_poses * num_ages:
            raise ValueError(f"images_per_person: got {images_per_person}, allowed is 1 to {num_poses * num_ages}")
        self.images_per_person = images_per_person
        self.num_identities, self.num_held_out, self.label = num_identities, num_held_out, label
        self._sizes = (num_identities + num_held_out, num_poses, num_ages)
        place = FACTORS.index(label)
        self.num_classes = num_identities if label == "identity" else self._sizes[place]
        self.save_hyperparameters()

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Number of people, held-out ones included, of poses and of ages."""
        return self._sizes

    def details(self) -> list[str]:
        """The counts, and what is the label."""
        return ["x".join(map(str, (self.num_held_out, *self.factor_sizes))), self.label]

    def images_of(self, indices: Tensor) -> Tensor:
        """Pictures of combinations, int64 (B,) to uint8 (B, 3, size, size)."""
        identity, pose, age = self.factors_of(indices).unbind(-1)
        return render_people(identity, self.yaw_of(pose), self.age_of(age), self.image_shape[-1]).to(indices.device)

    def yaw_of(self, pose: Tensor, widest: float = WIDEST) -> Tensor:
        """Turns of the head of numbers of poses, evenly from -widest to widest, (B,)."""
        poses = self.factor_sizes[FACTORS.index("pose")]
        return widest * (2 * pose / (poses - 1) - 1) if poses > 1 else torch.zeros(len(pose))

    def age_of(self, age: Tensor) -> Tensor:
        """Ages from 0 to 1 of numbers of ages, (B,)."""
        return age / max(self.factor_sizes[FACTORS.index("age")] - 1, 1)

    def read(self, indices: Tensor) -> Batch:
        """Pictures, factors, people and labels of combinations, int64 (B,)."""
        found = super().read(indices)
        factors = found["factors"]
        named = {"label": self.label, "pose": "pose", "identity": "identity"}
        found |= {key: factors[:, FACTORS.index(factor)] for key, factor in named.items()}
        if self.images_per_person == 1:
            return found
        others = self.others_of(indices)  # (B, n - 1)
        images, poses = self.images_of(others.flatten()), self.factors_of(others.flatten())[:, FACTORS.index("pose")]
        return {**found, "others": images.unflatten(0, others.shape), "other_poses": poses.unflatten(0, others.shape)}

    def others_of(self, indices: Tensor) -> Tensor:
        """Combinations of the same people, int64 (B,) to (B, `images_per_person` - 1), each person's in a ring."""
        rings, places = self._rings
        who, which = indices.div(len(rings[0]), rounding_mode="floor"), indices % len(rings[0])
        steps = torch.arange(1, self.images_per_person)
        following = (places[who, which][:, None] + steps) % len(rings[0])
        return len(rings[0]) * who[:, None] + rings[who[:, None], following]

    @functools.cached_property
    def _rings(self) -> tuple[Tensor, Tensor]:
        """Each person's combinations in a random order, and the place of each in it, (people, combinations) both."""
        generator = torch.Generator().manual_seed(stable_seed("others", *self.factor_sizes))
        rings = torch.rand(self.factor_sizes[0], math.prod(self.factor_sizes[1:]), generator=generator).argsort(1)
        return rings, rings.argsort(1)

    def people_of(self, split: str) -> Sequence[int]:
        """Numbers of the people of a split: "train", "val" or "test"."""
        first, half = self.num_identities, self.num_held_out // 2
        bounds = {"train": (0, first), "val": (first, first + half), "test": (first + half, first + 2 * half)}
        return range(*bounds[split])

    def load(self, split: str) -> FactorSet:
        """Combinations of the people of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            The data set, whose pictures are made batch by batch.
        """
        each, people = math.prod(self.factor_sizes[1:]), self.people_of(split)
        indices = torch.arange(people[0] * each, (people[-1] + 1) * each)
        return FactorSet(indices, self.read, f"People {split}")
