"""Any folder of pictures."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pl_genmodels.data.base import ImageData, held_out
from pl_genmodels.data.loader import TensorSet
from pl_genmodels.data.pictures import CROPS, check_picture, read_picture
from pl_genmodels.data.seeds import stable_seed

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".tif", ".tiff")


def find_pictures(root: str) -> list[str]:
    """Pictures below a folder.

    Args:
        root: The folder, searched with all its sub-folders and links; hidden files and folders are passed over.

    Returns:
        Paths relative to the folder, with forward slashes, sorted by their parts.

    Raises:
        FileNotFoundError: If there is no such folder, or no picture in it.
    """
    if not os.path.isdir(root):
        raise FileNotFoundError(f"root: got {root!r}, which is no folder, allowed is a folder of pictures")
    found = []
    for folder, subfolders, files in os.walk(root, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        parts = Path(folder).relative_to(root).parts
        found += [(*parts, file) for file in files if file.lower().endswith(EXTENSIONS) and not file.startswith(".")]
    if not found:
        raise FileNotFoundError(
            f"root: got {root!r}, in which there is no picture, allowed are files named *{', *'.join(EXTENSIONS)}"
        )
    return ["/".join(parts) for parts in sorted(found)]


def by_threads(decode: Callable[[int], None], number: int) -> None:
    """Decode files in parallel; one broken file is reason enough not to decode the rest.

    Args:
        decode: Called with 0 to number - 1.
        number: Of files.

    Raises:
        ValueError: The first that `decode` raised.
    """
    with ThreadPoolExecutor() as threads:
        try:
            for _ in threads.map(decode, range(number)):
                pass
        except ValueError:
            threads.shutdown(cancel_futures=True)
            raise


class PictureFiles(Dataset[dict[str, Any]]):
    """Pictures that are decoded whenever they are asked for.

    Args:
        root: Folder of the files.
        files: Paths below it.
        labels: Class of each file, or None.
        size: Height and width.
        channels: 1 or 3.
        crop: "center", "random" (at a place that depends on `seed` and the path alone) or "stretch".
        seed: Of the random places.
        name: What error messages call the data set.
    """

    def __init__(
        self,
        root: str,
        files: list[str],
        labels: list[int] | None,
        size: int,
        channels: int,
        crop: str,
        seed: int,
        name: str,
    ) -> None:
        self.root = Path(root)
        self.files = files
        self.labels = labels
        self.size = size
        self.channels = channels
        self.crop = crop
        self.seed = seed
        self.name = name

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self.read(index)
        return {"image": image} if self.labels is None else {"image": image, "label": self.labels[index]}

    def read(self, index: int) -> Tensor:
        """Decode one picture.

        Args:
            index: Of the file.

        Returns:
            uint8 (C, size, size).

        Raises:
            ValueError: If the file is no picture; names its path.
        """
        file = self.files[index]
        where = stable_seed("crop", self.seed, file) / 2**63
        return read_picture(self.root / file, self.channels, size=self.size, crop=self.crop, where=where)

    def in_memory(self) -> TensorSet:
        """The same pictures, decoded now, by threads."""
        images = torch.empty(len(self), self.channels, self.size, self.size, dtype=torch.uint8)

        def fill(index: int) -> None:
            images[index] = self.read(index)

        by_threads(fill, len(self))
        return TensorSet({"image": images} | self._label_tensor(), self.name)

    def _label_tensor(self) -> dict[str, Tensor]:
        return {} if self.labels is None else {"label": torch.tensor(self.labels)}


class ImageFolder(ImageData):
    """Pictures of a folder and its sub-folders: png, jpg, webp, bmp, ppm, tif; grey, colour, palette, 16-bit, alpha.

    If all pictures lie in sub-folders, and in at least two, the sub-folders (the first below `root`, sorted by name)
    are classes and there is a `label`. Pictures are turned as their EXIF data say, transparent parts become white.
    The shorter side is resized to `size`, bicubic with antialiasing, and the longer one cropped.

    Args:
        root: The folder.
        size: Height and width.
        channels: 1 (luminance) or 3 (RGB); grey pictures become grey in RGB.
        crop: "center"; "random", at a place along the longer side that `seed` and the file's name decide once and for
            all; "stretch", which resizes both sides to `size` and crops nothing.
        val_fraction: Share of the pictures, in [0, 1), kept from training: at least one picture, evenly spread over
            the sorted paths. They are both `val` and `test`. With 0 all pictures train, and are `val` and `test` too.
        in_memory: Whether to decode all pictures at the start, by threads, into `C * size * size` bytes each; otherwise
            they are decoded batch by batch, by `num_workers` processes.
        **kwargs: Of `ImageData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        root: str,
        size: int = 64,
        channels: int = 3,
        crop: str = "center",
        val_fraction: float = 0.1,
        in_memory: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_shape = check_picture(size, channels)
        if crop not in CROPS:
            raise ValueError(f"crop: got {crop!r}, allowed are {', '.join(CROPS)}")
        if not 0 <= val_fraction < 1:
            raise ValueError(f"val_fraction: got {val_fraction}, allowed is [0, 1)")
        self.root = os.fspath(root)
        self.crop = crop
        self.val_fraction = val_fraction
        self.in_memory = in_memory
        self.save_hyperparameters()

    @functools.cached_property
    def files(self) -> list[str]:
        """Paths of all pictures below `root`, sorted."""
        return find_pictures(self.root)

    @functools.cached_property
    def classes(self) -> list[str]:
        """Names of the classes, empty if the pictures have none."""
        folders = sorted({file.partition("/")[0] if "/" in file else "" for file in self.files})
        return folders if len(folders) > 1 and "" not in folders else []

    @property
    def num_classes(self) -> int | None:  # type: ignore[override]
        """Number of classes, None without; looks into the folder."""
        return len(self.classes) or None

    def details(self) -> list[str]:
        """Paths and sizes in bytes of all files."""
        return [f"{file} {(Path(self.root) / file).stat().st_size}" for file in self.files]

    def load(self, split: str) -> TensorSet | Dataset[Any]:
        """Pictures of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `image` uint8 (N, C, size, size), and `label` int64 (N,) if there are classes.

        Raises:
            FileNotFoundError: If there is no such folder, or no picture in it.
            ValueError: If a file is no picture, or only one is there and it is kept from training.
        """
        num_files = len(self.files)
        num_held_out = max(1, round(self.val_fraction * num_files)) if self.val_fraction else 0
        if num_held_out == num_files:
            raise ValueError(
                f"val_fraction: got {self.val_fraction} for the {num_files} picture(s) in {self.root!r}, of which none "
                "is left to train, allowed is 0"
            )
        if split == "test" or (split == "val" and num_held_out == 0):
            return self.load("val" if num_held_out else "train")
        chosen = held_out(num_files, num_held_out) == (split == "val")
        files = [self.files[index] for index in chosen.nonzero().flatten().tolist()]
        number = {name: index for index, name in enumerate(self.classes)}
        labels = [number[file.partition("/")[0]] for file in files] if self.classes else None
        channels, size, _ = self.image_shape
        data = PictureFiles(self.root, files, labels, size, channels, self.crop, self.seed, f"{self.root} {split}")
        return data.in_memory() if self.in_memory else data
