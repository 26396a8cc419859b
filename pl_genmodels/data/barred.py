"""Pictures with and without something: digits below a bar, and celebrities by an attribute."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset

from pl_genmodels.data.embedded import grey_digits
from pl_genmodels.data.large_sets import CelebA
from pl_genmodels.data.loader import TensorSet
from pl_genmodels.data.pairs import PairData, UnpairedSet, UnpairedTensors
from pl_genmodels.data.pictures import check_picture, resize, with_channels
from pl_genmodels.data.seeds import stable_seed

BARRED_SIZES = (16, 32, 64)


class BarredDigits(PairData):
    """Handwritten digits with a white bar above, somewhere from left to right, against digits without.

    A digit of `Digits` fills the lower three quarters of the picture, white on black. The bar is a quarter as wide as
    the picture and an eighth as high, with a margin of a sixteenth above. Training is unpaired: one half of the 1,500
    training digits are sources, each with several bars, and the other half targets. `val` (149) and `test` (148) are
    pairs, the same digit with and without a bar, with its `label`.

    Args:
        size: Height and width, one of 16, 32, 64.
        channels: 1, or 3 for grey pictures as RGB.
        bars_per_digit: Training sources made of each digit of their half.
        **kwargs: Of `PairData`; digits are not mirrored.

    Raises:
        ValueError: If an argument is out of range.
    """

    num_classes = 10
    direction = "AtoB"

    def __init__(self, size: int = 16, channels: int = 1, bars_per_digit: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if size not in BARRED_SIZES:
            raise ValueError(f"size: got {size}, allowed are {', '.join(map(str, BARRED_SIZES))}")
        if bars_per_digit < 1:
            raise ValueError(f"bars_per_digit: got {bars_per_digit}, allowed is 1 or more")
        if kwargs.get("flip"):
            raise ValueError("flip: got true, allowed is false, since digits are not mirrored")
        self.source_shape = self.target_shape = check_picture(size, channels)
        self.bars_per_digit = bars_per_digit
        self.save_hyperparameters()

    @property
    def bar_rows(self) -> slice:
        """The rows of all bars."""
        size = self.target_shape[-1]
        return slice(size // 16, size // 16 + size // 8)

    def load(self, split: str) -> TensorSet | UnpairedTensors:
        """Digits of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `source` (with a bar) and `target` uint8 (N, C, size, size), and for pairs `label` int64 (N,).
        """
        images, labels = self._digits(split)
        name = f"BarredDigits {split}"
        if split == "train":
            sources = images[::2].repeat(self.bars_per_digit, 1, 1, 1)
            return UnpairedTensors(self._with_bar(sources, split), images[1::2], name)
        return TensorSet({"source": self._with_bar(images, split), "target": images, "label": labels}, name)

    def labelled(self, split: str, domain: str) -> TensorSet:
        """All digits of a split in one domain with their classes, as something that reads them learns from.

        Args:
            split: "train", "val" or "test".
            domain: "source" or "target".

        Returns:
            `image` uint8 (N, C, size, size) and `label` int64 (N,).
        """
        images, labels = self._digits(split)
        return TensorSet({"image": self._with_bar(images, split) if domain == "source" else images, "label": labels})

    def _digits(self, split: str) -> tuple[Tensor, Tensor]:
        """Digits in their place and labels; for training sorted by class, so that every second one is half of each."""
        pixels, labels = grey_digits(split)
        channels, size, _ = self.target_shape
        side, left = 3 * size // 4, size // 8
        images = torch.zeros(len(pixels), channels, size, size, dtype=torch.uint8)
        images[:, :, size - side :, left : left + side] = with_channels(resize(pixels, side), channels)
        if split == "train":
            return images, labels
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(stable_seed(split)))
        return images[order], labels[order]

    def _with_bar(self, images: Tensor, split: str) -> Tensor:
        """A bar at a random place of each, which is always the same."""
        size = images.shape[-1]
        width = size // 4
        generator = torch.Generator().manual_seed(stable_seed("bars", split))
        lefts = torch.randint(size - width + 1, (len(images), 1), generator=generator)
        columns = torch.arange(size)
        inside = (columns >= lefts) & (columns < lefts + width)  # (N, size)
        marked = images.clone()
        marked[:, :, self.bar_rows] = (255 * inside)[:, None, None].to(torch.uint8)
        return marked


class CelebAByAttribute(PairData):
    """Faces of celebrities with an attribute against those without, see `CelebA`; no pairs in any split.

    Args:
        attribute: Name of one of the 40 attributes, such as Smiling, Eyeglasses or Bangs.
        root: Folder that holds `celeba/img_align_celeba` and the lists.
        download: Whether to download what is missing; see `CelebA`.
        size: Height and width.
        channels: 3, or 1 for the luminance.
        crop: Side of the central square in pixels, 1 to 178.
        **kwargs: Of `PairData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    paired = False

    def __init__(
        self,
        attribute: str = "Smiling",
        root: str = "data",
        download: bool = False,
        size: int = 64,
        channels: int = 3,
        crop: int = 148,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._faces = CelebA(root, download, size, channels, crop)  # which checks them
        self.source_shape = self.target_shape = self._faces.image_shape
        self.attribute, self.root, self.crop = attribute, os.fspath(root), crop
        self.save_hyperparameters()

    def details(self) -> list[str]:
        """The attribute and the crop."""
        return [self.attribute, str(self.crop)]

    def prepare_data(self) -> None:
        """Download, in one process only."""
        self._faces.prepare_data()

    def load(self, split: str) -> UnpairedSet:
        """Faces of one split, as their authors divided them.

        Args:
            split: "train", "val" or "test".

        Returns:
            Items with `source` (with the attribute) and `target` uint8 (C, size, size).

        Raises:
            FileNotFoundError: If there are no data in `root`.
            ValueError: If there is no such attribute.
        """
        faces: Any = self._faces.load(split)
        names = [name for name in faces.source.attr_names if name]
        if self.attribute not in names:
            raise ValueError(f"attribute: got {self.attribute!r}, allowed are {', '.join(names)}")
        has = faces.source.attr[:, names.index(self.attribute)] == 1
        source, target = (Subset(faces, which.nonzero().flatten().tolist()) for which in (has, ~has))
        return UnpairedSet(source, target, f"CelebAByAttribute {split}")
