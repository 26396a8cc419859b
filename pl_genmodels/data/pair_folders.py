"""Folders of two domains as the official CycleGAN and pix2pix projects lay them out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from pl_genmodels.data.folder import PictureFiles, by_threads, find_pictures
from pl_genmodels.data.loader import TensorSet
from pl_genmodels.data.pairs import PairData, UnpairedSet, UnpairedTensors, check_direction
from pl_genmodels.data.pictures import check_picture, fit, opened, to_mode, to_tensor
from pl_genmodels.types import ImageShape

FITS = ("center", "stretch")
STAND_INS = {"train": ("train",), "val": ("val", "test"), "test": ("test", "val")}
"""Folders that a split is read from: the first that exists."""


class PairFolders(PairData):
    """What folders of both layouts have in common: how a picture becomes one of `size` pixels.

    Training pictures are made squares of `load_size`, of which a square of `size` is cut at a random place, another
    each epoch (the jitter of pix2pix: 286 and 256). Those of `val` and `test` are made squares of `size` at once.
    Pictures may be grey, colour, palette, 16-bit or transparent (on white), see `ImageFolder`.

    Args:
        root: The folder.
        size: Height and width.
        load_size: Height and width of the training pictures before the cut; None for `size`, no cut.
        crop: How a picture becomes a square: "stretch", both sides are resized, as in the official projects; or
            "center", the shorter side is resized and the longer one cropped.
        direction: "AtoB", or "BtoA" to exchange the domains.
        source_channels: 1 (luminance) or 3 (RGB) for the source.
        target_channels: Likewise for the target.
        in_memory: Whether to decode all pictures at the start, by threads; otherwise they are decoded batch by batch,
            by `num_workers` processes.
        flip: See `PairData`.
        **kwargs: Of `PairData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        root: str,
        size: int = 256,
        load_size: int | None = None,
        crop: str = "stretch",
        direction: str = "AtoB",
        source_channels: int = 3,
        target_channels: int = 3,
        in_memory: bool = True,
        flip: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(flip=flip, **kwargs)
        self.source_shape: ImageShape = check_picture(size, source_channels)
        self.target_shape: ImageShape = check_picture(size, target_channels)
        if load_size is not None and load_size < size:
            raise ValueError(f"load_size: got {load_size}, allowed is {size} (the size) or more")
        if crop not in FITS:
            raise ValueError(f"crop: got {crop!r}, allowed are {', '.join(FITS)}")
        self.root = os.fspath(root)
        self.crop = crop
        self.direction = check_direction(direction)
        self.in_memory = in_memory
        self.load_size: int = load_size or size

    def folder_for(self, split: str, suffix: str = "") -> str:
        """Folder that a split is read from.

        Args:
            split: "train", "val" or "test".
            suffix: Behind the split's name.

        Returns:
            Its name below `root`.

        Raises:
            FileNotFoundError: If there is none.
        """
        names = [name + suffix for name in STAND_INS[split]]
        for name in names:
            if os.path.isdir(os.path.join(self.root, name)):
                return name
        found = sorted(entry.name for entry in os.scandir(self.root)) if os.path.isdir(self.root) else None
        what = "which is no folder" if found is None else f"in which there is no folder {' or '.join(names)}"
        raise FileNotFoundError(f"root: got {self.root!r}, {what}, allowed is {self.layout}")

    layout = "a folder with train, val, test"

    def side(self, split: str) -> int:
        """Side of the pictures of a split as they are read."""
        return self.load_size if split == "train" else self.target_shape[-1]


class UnalignedFolders(PairFolders):
    """Two folders of pictures that show different things: `trainA`, `trainB`, `testA`, `testB` below `root`.

    The layout of CycleGAN's data sets. An epoch visits each source once, with targets in a random order of their own.
    `val` is read from `valA` and `valB` if they exist, else it is the test set; `test` likewise. Crops and flips of
    source and target are independent.

    Args:
        root: The folder.
        **kwargs: Of `PairFolders`.

    Raises:
        ValueError: If an argument is out of range.
    """

    paired = False
    layout = "a folder with trainA, trainB, testA and testB"

    def __init__(self, root: str, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.save_hyperparameters()

    def files(self, split: str) -> tuple[tuple[str, list[str]], tuple[str, list[str]]]:
        """Folder and names of the files below it, for source and for target.

        Raises:
            FileNotFoundError: If a folder is missing or empty.
        """
        first = self.folder_for(split, "A")
        second = first[:-1] + "B"  # not a mixture of val and test
        if not os.path.isdir(os.path.join(self.root, second)):
            raise FileNotFoundError(
                f"root: got {self.root!r}, in which there is {first} but no folder {second}, allowed is {self.layout}"
            )
        folders = [os.path.join(self.root, name) for name in (first, second)]
        source, target = ((folder, find_pictures(folder)) for folder in folders)
        return (source, target) if self.direction == "AtoB" else (target, source)

    def details(self) -> list[str]:
        """Paths and sizes in bytes of all files, and how they are read."""
        found = [
            f"{split} {Path(folder).name}/{file} {os.path.getsize(os.path.join(folder, file))}"
            for split in ("train", "val", "test")
            for folder, files in self.files(split)
            for file in files
        ]
        return [f"{self.source_shape} {self.load_size} {self.crop}", *found]

    def load(self, split: str) -> UnpairedSet:
        """Pictures of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `source` and `target`, uint8 (C, side, side).

        Raises:
            FileNotFoundError: If a folder is missing or empty.
            ValueError: If a file is no picture.
        """
        shapes = (self.source_shape, self.target_shape)
        source, target = (
            PictureFiles(folder, files, None, self.side(split), shape[0], self.crop, self.seed, folder)
            for (folder, files), shape in zip(self.files(split), shapes, strict=True)
        )
        name = f"{self.root} {split}"
        if not self.in_memory:
            return UnpairedSet(source, target, name)
        return UnpairedTensors(source.in_memory().tensors["image"], target.in_memory().tensors["image"], name)


class AlignedFiles(Dataset[dict[str, Tensor]]):
    """Pictures that hold A in their left half and B in their right one, decoded whenever they are asked for.

    Args:
        root: Folder of the files.
        files: Paths below it.
        side: Height and width that each half is brought to.
        channels: Of source and target.
        crop: "center" or "stretch".
        swap: Whether the right half is the source.
        name: What error messages call the data set.
    """

    def __init__(
        self, root: str, files: list[str], side: int, channels: tuple[int, int], crop: str, swap: bool, name: str
    ) -> None:
        self.root, self.files, self.name = Path(root), files, name
        self.side, self.channels, self.crop, self.swap = side, channels, crop, swap

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        source, target = self.read(index)
        return {"source": source, "target": target}

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Decode one pair.

        Args:
            index: Of the file.

        Returns:
            Source and target, uint8 (C, side, side).

        Raises:
            ValueError: If the file is no picture, or its width is odd; names its path.
        """
        path = self.root / self.files[index]
        with opened(path) as picture:
            halves = split_pair(to_mode(picture, 3))  # grey of grey in RGB is the same grey
            if halves is not None:
                source, target = reversed(halves) if self.swap else halves
                first, second = (
                    to_tensor(fit(to_mode(half, channels), self.side, self.crop))
                    for half, channels in zip((source, target), self.channels, strict=True)
                )
                return first, second
        raise ValueError(f"{path}: has an odd width, allowed are two pictures of equal width side by side")

    def in_memory(self) -> TensorSet:
        """The same pictures, decoded now, by threads."""
        source, target = (
            torch.empty(len(self), channels, self.side, self.side, dtype=torch.uint8) for channels in self.channels
        )

        def fill(index: int) -> None:
            source[index], target[index] = self.read(index)

        by_threads(fill, len(self))
        return TensorSet({"source": source, "target": target}, self.name)


def split_pair(picture: Image.Image) -> tuple[Image.Image, Image.Image] | None:
    """Left and right half of a picture, None if its width is odd."""
    width, height = picture.size
    if width % 2:
        return None
    return picture.crop((0, 0, width // 2, height)), picture.crop((width // 2, 0, width, height))


class AlignedFolder(PairFolders):
    """Pictures with A in their left half and B in their right one, in `train`, `val` and `test` below `root`.

    The layout of pix2pix's data sets, of which some lack `val` or `test`; the other stands in. Both halves get the same
    crop and flip.

    Args:
        root: The folder.
        **kwargs: Of `PairFolders`.

    Raises:
        ValueError: If an argument is out of range.
    """

    layout = "a folder with train, val and test, or one of the last two"

    def __init__(self, root: str, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.save_hyperparameters()

    def files(self, split: str) -> tuple[str, list[str]]:
        """Folder and names of the files below it.

        Raises:
            FileNotFoundError: If the folder is missing or empty.
        """
        folder = os.path.join(self.root, self.folder_for(split))
        return folder, find_pictures(folder)

    def details(self) -> list[str]:
        """Paths and sizes in bytes of all files, and how they are read."""
        found = []
        for split in ("train", "val", "test"):
            folder, files = self.files(split)
            found += [f"{split} {file} {os.path.getsize(os.path.join(folder, file))}" for file in files]
        return [f"{self.direction} {self.source_shape} {self.load_size} {self.crop}", *found]

    def load(self, split: str) -> TensorSet | Dataset[Any]:
        """Pairs of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `source` and `target`, uint8 (C, side, side).

        Raises:
            FileNotFoundError: If the folder is missing or empty.
            ValueError: If a file is no picture, or of odd width.
        """
        folder, files = self.files(split)
        channels = (self.source_shape[0], self.target_shape[0])
        swap = self.direction == "BtoA"
        data = AlignedFiles(folder, files, self.side(split), channels, self.crop, swap, f"{self.root} {split}")
        return data.in_memory() if self.in_memory else data
