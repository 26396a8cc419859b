"""Standard data sets that are too large for memory, read by torchvision and decoded batch by batch."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torchvision
from torch.utils.data import Dataset

from pl_genmodels.data.base import ImageData
from pl_genmodels.data.pictures import check_picture, fit, to_mode, to_tensor
from pl_genmodels.data.torchvision_sets import read_or_explain

LSUN_CATEGORIES = (
    "bedroom",
    "bridge",
    "church_outdoor",
    "classroom",
    "conference_room",
    "dining_room",
    "kitchen",
    "living_room",
    "restaurant",
    "tower",
)


class CroppedPictures(Dataset[dict[str, Any]]):
    """Pictures of a torchvision data set, decoded whenever they are asked for.

    Args:
        open_source: Makes torchvision's data set of (picture, target); called anew in each process that this data set
            is sent to, because open data bases cannot be sent.
        crop: Side of the central square that is cut out first, in pixels; None takes the largest.
        size: Height and width.
        channels: 1 or 3.
        target: Name of the targets in the items; None leaves them out.
        name: What error messages call the data set.
    """

    def __init__(
        self,
        open_source: Callable[[], Any],
        crop: int | None,
        size: int,
        channels: int,
        target: str | None,
        name: str,
    ) -> None:
        self.open_source = open_source
        self.crop = crop
        self.size = size
        self.channels = channels
        self.target = target
        self.name = name
        self.source = open_source()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "source"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.source = self.open_source()

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        picture, target = self.source[index]
        if self.crop is not None:
            left, top = (picture.width - self.crop) // 2, (picture.height - self.crop) // 2
            picture = picture.crop((left, top, left + self.crop, top + self.crop))
        image = to_tensor(fit(to_mode(picture, self.channels), self.size))
        return {"image": image} if self.target is None else {"image": image, self.target: target}


class CelebA(ImageData):
    """Faces of celebrities: 162,770 training, 19,867 validation and 19,962 test images of 178x218 RGB pixels.

    The central square of `crop` pixels is cut out and resized to `size` (bicubic, antialiased). Batches also hold
    `attributes`, the 40 properties as int64 0 or 1, (B, 40). Images are decoded batch by batch by `num_workers`
    processes. Source: Liu et al., "Deep Learning Face Attributes in the Wild", 2015.

    Args:
        root: Folder that holds `celeba/img_align_celeba` and the lists `celeba/list_*.txt`, `celeba/identity_*.txt`.
        download: Whether to download what is missing (from Google Drive; needs the package gdown).
        size: Height and width.
        channels: 3, or 1 for the luminance.
        crop: Side of the central square in pixels, 1 to 178; papers have 108, 140, 148 or 160.
        **kwargs: Of `ImageData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        root: str = "data",
        download: bool = False,
        size: int = 64,
        channels: int = 3,
        crop: int = 148,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_shape = check_picture(size, channels)
        if not 1 <= crop <= 178:
            raise ValueError(f"crop: got {crop}, allowed is 1 to 178, the width of the images")
        self.root = os.fspath(root)
        self.download = download
        self.crop = crop
        self.save_hyperparameters()

    def prepare_data(self) -> None:
        """Download, in one process only."""
        if self.download:
            self.load("train")

    def load(self, split: str) -> Dataset[Any]:
        """Images of one split, as their authors divided them.

        Args:
            split: "train", "val" or "test".

        Returns:
            Items with `image` uint8 (C, size, size) and `attributes` int64 (40,).

        Raises:
            FileNotFoundError: If there are no data in `root`.
        """
        part = {"train": "train", "val": "valid", "test": "test"}[split]
        source = functools.partial(torchvision.datasets.CelebA, self.root, part, download=self.download)
        channels, size, _ = self.image_shape
        return read_or_explain(
            lambda: CroppedPictures(source, self.crop, size, channels, "attributes", f"CelebA {split}"),
            self.root,
            "celeba",
            self.download,
        )


@functools.cache
def open_lsun(root: str, database: str) -> Any:
    """Torchvision's data set of one data base of LSUN; a process can open each only once.

    Args:
        root: Folder that holds `<database>_lmdb`.
        database: Such as "bedroom_train".

    Returns:
        The data set of (picture, 0).
    """
    return torchvision.datasets.LSUN(root, classes=[database])


class LSUN(ImageData):
    """Scenes of one category, such as 3,033,042 bedrooms; `val` and `test` are both its 300 validation images.

    The shorter side is resized to `size` (bicubic, antialiased) and the longer one cropped. Images are decoded batch
    by batch by `num_workers` processes. torchvision keeps a list of the keys in a file named `_cache_...` in the
    working directory. Source: Yu et al., "LSUN", 2015.

    Args:
        root: Folder that holds `<category>_train_lmdb` and `<category>_val_lmdb`; torchvision cannot download them.
        category: One of LSUN's ten, such as "bedroom" or "church_outdoor".
        size: Height and width.
        channels: 3, or 1 for the luminance.
        **kwargs: Of `ImageData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, root: str = "data", category: str = "bedroom", size: int = 64, channels: int = 3, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.image_shape = check_picture(size, channels)
        if category not in LSUN_CATEGORIES:
            raise ValueError(f"category: got {category!r}, allowed are {', '.join(LSUN_CATEGORIES)}")
        self.root = os.fspath(root)
        self.category = category
        self.save_hyperparameters()

    def load(self, split: str) -> Dataset[Any]:
        """Scenes of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            Items with `image` uint8 (C, size, size).

        Raises:
            FileNotFoundError: If there are no data in `root`.
            ModuleNotFoundError: If the package lmdb, in whose format they are, is missing.
        """
        if split == "test":
            return self.load("val")
        database = f"{self.category}_{split}"
        if not (Path(self.root) / f"{database}_lmdb").is_dir():
            raise FileNotFoundError(
                f"root: got {self.root!r}, below which {database}_lmdb is missing, download and unpack it with the "
                "scripts of github.com/fyu/lsun"
            )
        if importlib.util.find_spec("lmdb") is None:
            raise ModuleNotFoundError("LSUN: needs the package lmdb to read its files, install it by: pip install lmdb")
        source = functools.partial(open_lsun, self.root, database)
        channels, size, _ = self.image_shape
        return CroppedPictures(source, None, size, channels, None, f"LSUN {split}")
