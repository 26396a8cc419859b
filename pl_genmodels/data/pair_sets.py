"""Two domains made of what comes with scikit-learn and scikit-image, and of points: nothing is downloaded."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.data.embedded import Digits, Photographs, part_of
from pl_genmodels.data.loader import TensorSet
from pl_genmodels.data.pairs import PairData, UnpairedTensors, check_direction
from pl_genmodels.data.pictures import check_picture, luminance, resize, with_channels
from pl_genmodels.data.points import Ring8
from pl_genmodels.data.seeds import stable_seed
from pl_genmodels.types import ImageShape

BACKGROUNDS = ("astronaut", "chelsea", "coffee", "immunohistochemistry", "motorcycle", "rocket")
"""Photographs in colour with some colour everywhere."""

EDGE_KINDS = ("sobel", "canny")


class DigitsToColour(PairData):
    """Handwritten digits, black on white, against digits in the colours of photographs: the recipe of MNIST-M.

    A target is |patch - digit|, with a patch of a photograph of scikit-image and white digits of scikit-learn on black,
    so that a photograph shows its negative where the pen went. Training is unpaired: of the 1,500 training digits of
    `Digits`, one half are sources and the other one, on several patches each, targets. `val` (149) and `test` (148) are
    pairs: the same digit in both domains, with its `label`. Their patches are from other parts of the photographs.

    Reference: Ganin et al., "Domain-adversarial training of neural networks", 2016, section 5.2.2.

    Args:
        size: Height and width, one of 8, 16, 32, 64.
        source_channels: Of the black and white digits, 3 (as RGB) or 1.
        patches_per_digit: Training targets made of each digit of their half.
        brightness: Patches are scaled into [brightness, 255] first. At 0, MNIST-M's recipe, the pen is darker than its
            background here and lighter there, and nothing but the shape tells which is which; from 128 on it is darker
            everywhere.
        direction: "AtoB" (to colour), or "BtoA" to exchange the domains.
        **kwargs: Of `PairData`; digits are not mirrored.

    Raises:
        ValueError: If an argument is out of range.
    """

    num_classes = 10

    def __init__(
        self,
        size: int = 32,
        source_channels: int = 3,
        patches_per_digit: int = 4,
        brightness: int = 0,
        direction: str = "AtoB",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._digits = Digits(size)  # which checks the size
        shapes: list[ImageShape] = [check_picture(size, source_channels), check_picture(size, 3)]
        if patches_per_digit < 1:
            raise ValueError(f"patches_per_digit: got {patches_per_digit}, allowed is 1 or more")
        if not 0 <= brightness <= 254:
            raise ValueError(f"brightness: got {brightness}, allowed is 0 to 254")
        self.direction = check_direction(direction)
        self.source_shape, self.target_shape = shapes if direction == "AtoB" else shapes[::-1]
        self.patches_per_digit, self.brightness = patches_per_digit, brightness
        self.save_hyperparameters()

    def load(self, split: str) -> TensorSet | UnpairedTensors:
        """Digits of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `source` and `target` uint8 (N, C, size, size), and for pairs `label` int64 (N,).
        """
        images, labels = self._white_on_black(split)
        name = f"DigitsToColour {split}"
        swap = self.direction == "BtoA"
        if split == "train":
            plain, hidden = images[::2], images[1::2].repeat(self.patches_per_digit, 1, 1, 1)
            domains = [self._black_on_white(plain), self._in_colour(hidden, split)]
        else:
            domains = [self._black_on_white(images), self._in_colour(images, split)]
        source, target = domains[::-1] if swap else domains
        if split == "train":
            return UnpairedTensors(source, target, name)
        return TensorSet({"source": source, "target": target, "label": labels}, name)

    def labelled(self, split: str, domain: str) -> TensorSet:
        """All digits of a split in one domain with their classes, as something that reads them learns from.

        Args:
            split: "train", "val" or "test".
            domain: "source" or "target".

        Returns:
            `image` uint8 (N, C, size, size) and `label` int64 (N,); digits in colour twice, on different patches.
        """
        images, labels = self._white_on_black(split)
        if (domain == "source") == (self.direction == "AtoB"):
            return TensorSet({"image": self._black_on_white(images), "label": labels})
        return TensorSet({"image": self._in_colour(images.repeat(2, 1, 1, 1), split), "label": labels.repeat(2)})

    def _white_on_black(self, split: str) -> tuple[Tensor, Tensor]:
        """Digits and labels; for training sorted by class, so that every second one is half of each class."""
        digits = self._digits.load(split).tensors
        if split == "train":
            return digits["image"], digits["label"]
        order = torch.randperm(len(digits["label"]), generator=torch.Generator().manual_seed(stable_seed(split)))
        return digits["image"][order], digits["label"][order]

    def _black_on_white(self, digits: Tensor) -> Tensor:
        channels = (self.source_shape if self.direction == "AtoB" else self.target_shape)[0]
        return with_channels(255 - digits, channels)

    def _in_colour(self, digits: Tensor, split: str) -> Tensor:
        patches = self._patches(len(digits), split).int()
        patches = self.brightness + patches * (255 - self.brightness) // 255
        return (patches - digits).abs().to(torch.uint8)

    def _patches(self, number: int, split: str) -> Tensor:
        """As many patches of the split's own parts of the photographs, in random order; uint8 (N, 3, size, size)."""
        size = self.source_shape[-1]
        each = -(-number // len(BACKGROUNDS))
        each_in_training = each if split == "train" else 4 * each
        photographs = Photographs(size, 3, each_in_training, scale=1)  # smooth enough to read most digits on them
        names = list(photographs.photographs())
        found = photographs.load(split).tensors
        chosen = torch.isin(found["label"], torch.tensor([names.index(name) for name in BACKGROUNDS]))
        patches = found["image"][chosen]
        order = torch.randperm(len(patches), generator=torch.Generator().manual_seed(stable_seed("patches", split)))
        return patches[order[:number]]


class EdgesToPhotos(PairData):
    """Patches of the photographs inside scikit-image and their edges, black on white, aligned.

    `val` and `test` are cut from parts of each photograph that do not train, see `Photographs`: what a pair is learnt
    from there is true here, as in a data set of facades, maps or shoes. A part is reduced first and its edges found in
    the whole, so that no patch has edges of its own border.

    Args:
        size: Height and width of the patches in pixels.
        source_channels: Of the edges, 3 (as RGB) or 1.
        num_patches: Training patches of each photograph; `val` and `test` have a quarter as many each, at least one.
        edges: "sobel", the size of the gradient, or "canny", thin lines.
        scale: How much the photographs are reduced: by 1, 2 or any whole number with `scale * size` of at most 96.
        direction: "AtoB" (to photographs), or "BtoA" to exchange the domains.
        photographs: Names of the photographs, some of those of `Photographs`; None takes all.
        **kwargs: Of `PairData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        size: int = 32,
        source_channels: int = 3,
        num_patches: int = 256,
        edges: str = "sobel",
        scale: int = 2,
        direction: str = "AtoB",
        photographs: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        shapes: list[ImageShape] = [check_picture(size, source_channels), check_picture(size, 3)]
        known = list(Photographs().photographs())
        self.photographs = known if photographs is None else photographs
        if not self.photographs or not set(self.photographs) <= set(known):
            raise ValueError(f"photographs: got {photographs}, allowed are one or more of {', '.join(known)}")
        if num_patches < 1:
            raise ValueError(f"num_patches: got {num_patches}, allowed is 1 or more")
        if edges not in EDGE_KINDS:
            raise ValueError(f"edges: got {edges!r}, allowed are {', '.join(EDGE_KINDS)}")
        largest = Photographs.max_side
        if scale < 1 or scale * size > largest:
            raise ValueError(
                f"scale: got {scale}, allowed is 1 or more with scale * size (here {scale * size}) of at most {largest}"
            )
        self.direction = check_direction(direction)
        self.source_shape, self.target_shape = shapes if direction == "AtoB" else shapes[::-1]
        self.num_patches, self.edges, self.scale = num_patches, edges, scale
        self.save_hyperparameters()

    def load(self, split: str) -> TensorSet:
        """Patches of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `source` and `target` uint8 (N, C, size, size).
        """
        number = self.num_patches if split == "train" else max(1, self.num_patches // 4)
        readers = Photographs().photographs()
        pairs = [self._cut(name, torch.from_numpy(readers[name]()), split, number) for name in self.photographs]
        edges, photos = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        if split != "train":  # the first few shall show all photographs
            order = torch.randperm(len(edges), generator=torch.Generator().manual_seed(stable_seed("order", split)))
            edges, photos = edges[order], photos[order]
        if self.direction == "BtoA":
            edges, photos = photos, edges
        return TensorSet({"source": edges, "target": photos}, f"EdgesToPhotos {split}")

    def _cut(self, name: str, photograph: Tensor, split: str, number: int) -> tuple[Tensor, Tensor]:
        """Patches of the edges and of the photograph, (H, W) or (H, W, 3), at the same random places of its part."""
        colour = photograph.ndim == 3
        part = part_of(photograph if colour else photograph[..., None], split).permute(2, 0, 1)[None]
        height, width = (side // self.scale for side in part.shape[2:])
        picture = resize(part, (height, width))  # (1, 1 or 3, H, W)
        lines = edge_map(luminance(picture) if colour else picture, self.edges)
        channels = self.source_shape[0] if self.direction == "AtoB" else self.target_shape[0]
        both = torch.cat([with_channels(lines, channels), picture.expand(-1, 3, -1, -1)], dim=1)[0]
        size = self.source_shape[-1]
        generator = torch.Generator().manual_seed(stable_seed("edges", name, split))
        tops = torch.randint(height - size + 1, (number,), generator=generator).tolist()
        lefts = torch.randint(width - size + 1, (number,), generator=generator).tolist()
        places = zip(tops, lefts, strict=True)
        patches = torch.stack([both[:, top : top + size, left : left + size] for top, left in places])
        return patches[:, :channels].contiguous(), patches[:, channels:].contiguous()


def edge_map(grey: Tensor, kind: str) -> Tensor:
    """Edges of one grey picture, black on white.

    Args:
        grey: uint8 (1, 1, H, W).
        kind: "sobel" or "canny".

    Returns:
        uint8 (1, 1, H, W); of "canny" 0 or 255.
    """
    from skimage.feature import canny
    from skimage.filters import sobel

    values = grey[0, 0].numpy() / 255
    if kind == "canny":
        found = torch.from_numpy(canny(values, sigma=1.0)).float()
    else:
        found = (3 * torch.from_numpy(sobel(values)).float()).clamp(max=1)  # most gradients are far below 1
    return ((1 - found) * 255).round().to(torch.uint8)[None, None]


class RingToRing(PairData):
    """Eight modes on a circle against the same circle turned by half the angle between two of them.

    `val` and `test` are pairs: a target is its source turned; `label` is the mode. Training is unpaired.

    Args:
        num_samples: Training points of each domain; `val` and `test` have a quarter as many.
        sigma: Standard deviation of each mode.
        **kwargs: Of `PairData`; `seed` also decides the draws.

    Attributes:
        source_centers: Means of the modes of the source, float32 (8, 2).
        centers: Those of the target.
    """

    num_classes = 8
    source_shape = (2,)
    target_shape = (2,)

    def __init__(self, num_samples: int = 10_000, sigma: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "flip": False})
        self._ring = Ring8(num_samples, sigma, seed=self.seed)
        self._other = Ring8(num_samples, sigma, seed=stable_seed("target", self.seed))
        self.save_hyperparameters()

    @property
    def source_centers(self) -> Tensor:
        """Means of the modes of the source, float32 (8, 2)."""
        return self._ring.centers

    @property
    def centers(self) -> Tensor:
        """Means of the modes of the target, float32 (8, 2)."""
        return turned(self._ring.centers)

    def load(self, split: str) -> TensorSet | UnpairedTensors:
        """Points of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `source` and `target` float32 (N, 2), and for pairs `label` int64 (N,).
        """
        source = self._ring.load(split).tensors
        name = f"RingToRing {split}"
        if split == "train":
            return UnpairedTensors(source["image"], turned(self._other.load(split).tensors["image"]), name)
        pairs = {"source": source["image"], "target": turned(source["image"]), "label": source["label"]}
        return TensorSet(pairs, name)


def turned(points: Tensor, angle: float = math.pi / 8) -> Tensor:
    """Points (N, 2), turned counter-clockwise by an angle in radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return points @ torch.tensor([[cos, sin], [-sin, cos]])
