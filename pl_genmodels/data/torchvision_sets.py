"""Standard data sets that fit into memory, read (and if wanted downloaded) by torchvision."""

from __future__ import annotations

import functools
import os
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

from pl_genmodels.data.base import ImageData
from pl_genmodels.data.labels import FewLabels
from pl_genmodels.data.loader import TensorSet
from pl_genmodels.data.pictures import centred, check_picture, luminance, resize, with_channels


def read_or_explain(read: Callable[[], Any], root: str, layout: str, download: bool) -> Any:
    """Call a reader of torchvision, and say in one sentence what to do if it finds no data.

    Args:
        read: The call.
        root: The folder that it was given.
        layout: What it looks for below that folder.
        download: Whether it was told to download.

    Returns:
        What the reader returns.

    Raises:
        FileNotFoundError: If there are no data, or broken ones.
    """
    try:
        return read()
    except (RuntimeError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        advice = (
            f"and the download failed ({reason})" if download else "give the folder that holds it, or set download=True"
        )
        raise FileNotFoundError(f"root: got {root!r}, below which {layout} is missing or broken, {advice}") from error


class TorchvisionArrays(ImageData):
    """Small data sets of torchvision with ten classes, held in memory as uint8 and resized once.

    Args:
        root: Folder with torchvision's layout below it.
        download: Whether to download what is missing.
        size: Height and width.
        channels: 1 or 3.
        num_val: Images at the end of the training set that are `val` and do not train; with 0 all train, and `val` is
            the test set.
        **kwargs: Of `ImageData`.

    Attributes:
        source: Torchvision's class.
        layout: What it looks for in `root`.

    Raises:
        ValueError: If an argument is out of range.
    """

    num_classes = 10
    source: ClassVar[Callable[..., Any]]
    layout: ClassVar[str]

    def __init__(
        self,
        root: str = "data",
        download: bool = False,
        size: int = 32,
        channels: int = 1,
        num_val: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_shape = check_picture(size, channels)
        if num_val < 0:
            raise ValueError(f"num_val: got {num_val}, allowed is 0 or more")
        self.root = os.fspath(root)
        self.download = download
        self.num_val = num_val

    @abstractmethod
    def pictures(self, data: Any) -> Tensor:
        """Pictures of the wanted size and number of channels.

        Args:
            data: The attribute `data` of torchvision's data set, or a part of it.

        Returns:
            uint8 (N, C, size, size).
        """

    def prepare_data(self) -> None:
        """Download, in one process only."""
        if self.download:
            self.load("train")
            self.load("test")

    def load(self, split: str) -> TensorSet:
        """Images of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `image` uint8 (N, C, size, size) and `label` int64 (N,).

        Raises:
            FileNotFoundError: If there are no data in `root`.
            ValueError: If `num_val` leaves no training images.
        """
        if split == "val" and self.num_val == 0:
            return self.load("test")
        read = functools.partial(type(self).source, self.root, train=split != "test", download=self.download)
        source = read_or_explain(read, self.root, self.layout, self.download)
        cut = len(source.data) - self.num_val
        if cut < 1 and split != "test":
            raise ValueError(
                f"num_val: got {self.num_val}, allowed is 0 to {len(source.data) - 1}, one less than there are images"
            )
        part = {"train": slice(cut), "val": slice(cut, None), "test": slice(None)}[split]
        images, labels = self.pictures(source.data[part]), torch.as_tensor(source.targets).long()[part]
        return TensorSet({"image": images, "label": labels}, f"{type(self).__name__} {split}")


class PaddedArrays(TorchvisionArrays):
    """The family of MNIST: grey pictures of 28x28 pixels, which size 28 leaves as they are in the files.

    For all other sizes they get a margin of two black pixels, which makes them 32x32, and are then resized if need
    be, bicubic with antialiasing.
    """

    def pictures(self, data: Any) -> Tensor:
        """Pictures with a margin, resized.

        Args:
            data: uint8 (N, 28, 28).

        Returns:
            uint8 (N, C, size, size).
        """
        channels, size, _ = self.image_shape
        images = data[:, None]  # (N, 1, 28, 28)
        if size != 28:
            images = resize(F.pad(images, (2, 2, 2, 2)), size)
        return with_channels(images, channels)


class MNIST(PaddedArrays):
    """Handwritten digits: 60,000 training and 10,000 test images of 28x28 grey pixels (LeCun et al., 1998).

    Args:
        size: Height and width: 28 as in the files, 32 with a margin of two black pixels, others resized from 32.
        channels: 1, or 3 for the grey pictures as RGB.
        num_val: Images at the end of the training set that are `val` and do not train; with 0 all train, and `val` is
            the test set.
        **kwargs: Of `TorchvisionArrays`: `root` holds `MNIST/raw/train-images-idx3-ubyte` and its companions.

    Raises:
        ValueError: If an argument is out of range.
    """

    source = torchvision.datasets.MNIST
    layout = "MNIST/raw"

    def __init__(self, size: int = 32, channels: int = 1, num_val: int = 5000, **kwargs: Any) -> None:
        super().__init__(size=size, channels=channels, num_val=num_val, **kwargs)
        self.save_hyperparameters()


class FashionMNIST(PaddedArrays):
    """Pictures of clothes in the format of MNIST, 60,000 and 10,000 of 28x28 grey pixels (Xiao et al., 2017).

    Args:
        size: Height and width: 28 as in the files, 32 with a margin of two black pixels, others resized from 32.
        channels: 1, or 3 for the grey pictures as RGB.
        num_val: Images at the end of the training set that are `val` and do not train; with 0 all train, and `val` is
            the test set.
        **kwargs: Of `TorchvisionArrays`: `root` holds `FashionMNIST/raw/train-images-idx3-ubyte` and its companions.

    Raises:
        ValueError: If an argument is out of range.
    """

    source = torchvision.datasets.FashionMNIST
    layout = "FashionMNIST/raw"

    def __init__(self, size: int = 32, channels: int = 1, num_val: int = 5000, **kwargs: Any) -> None:
        super().__init__(size=size, channels=channels, num_val=num_val, **kwargs)
        self.save_hyperparameters()


class CIFAR10(TorchvisionArrays):
    """Photographs of ten kinds of things, 50,000 and 10,000 of 32x32 RGB pixels (Krizhevsky, 2009).

    Args:
        size: Height and width; other than 32 is resized, bicubic with antialiasing.
        channels: 3, or 1 for the luminance.
        num_val: Images at the end of the training set that are `val` and do not train. With 0 all 50,000 train, as
            for published FIDs, which compare with all of them, and `val` is the test set.
        **kwargs: Of `TorchvisionArrays`: `root` holds `cifar-10-batches-py`.

    Raises:
        ValueError: If an argument is out of range.
    """

    source = torchvision.datasets.CIFAR10
    layout = "cifar-10-batches-py"

    def __init__(self, size: int = 32, channels: int = 3, num_val: int = 0, **kwargs: Any) -> None:
        super().__init__(size=size, channels=channels, num_val=num_val, **kwargs)
        self.save_hyperparameters()

    def pictures(self, data: Any) -> Tensor:
        """Photographs, resized.

        Args:
            data: uint8 array (N, 32, 32, 3).

        Returns:
            uint8 (N, C, size, size).
        """
        return _as_asked(torch.from_numpy(data).permute(0, 3, 1, 2).contiguous(), self.image_shape)


class STL10(TorchvisionArrays):
    """Photographs of ten kinds of things in 96x96 RGB pixels: few with labels, 100,000 without (Coates et al., 2011).

    5,000 training images, or 1,000 of them, have labels; 8,000 are `test`, and `val` too. With unlabelled images each
    training image comes with a labelled one, `labelled_image` and `labelled_label`, and has itself the label -1 where
    there is none. All of them take 2.9 GB of memory.

    Args:
        size: Height and width; other than 96 is resized, bicubic with antialiasing, unless `load_size` says more.
        channels: 3, or 1 for the luminance.
        load_size: Height and width to which pictures are resized before squares of `size` are cut out of them: for
            training at random places, another one each epoch, else out of the middle. None for `size`, no cut.
        fold: Which 1,000 labels are told, 0 to 9, as published results are measured; None tells all.
        unlabelled: Whether the unlabelled images train too.
        **kwargs: Of `TorchvisionArrays` without `num_val`: `root` holds `stl10_binary`.

    Raises:
        ValueError: If an argument is out of range, or labels are to be hidden from images of which most have none.
    """

    source = torchvision.datasets.STL10
    layout = "stl10_binary"

    def __init__(
        self,
        size: int = 96,
        channels: int = 3,
        fold: int | None = None,
        unlabelled: bool = True,
        load_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size=size, channels=channels, num_val=0, **kwargs)
        if load_size is not None and load_size < size:
            raise ValueError(f"load_size: got {load_size}, allowed is {size} (the size) or more")
        if fold is not None and not 0 <= fold <= 9:
            raise ValueError(f"fold: got {fold}, allowed are 0 to 9")
        if unlabelled and (self.labels_per_class is not None or self.partners):
            raise ValueError("unlabelled: got true, allowed with labels_per_class or partners is false")
        self.fold, self.unlabelled, self.load_size = fold, unlabelled, load_size
        self.save_hyperparameters()

    def pictures(self, data: Any) -> Tensor:
        """Photographs, resized.

        Args:
            data: uint8 array (N, 3, 96, 96).

        Returns:
            uint8 (N, C, L, L), L = `load_size`, or `size` without one.
        """
        channels, size, _ = self.image_shape
        side = self.load_size or size
        return _as_asked(torch.from_numpy(data).contiguous(), (channels, side, side))

    def load(self, split: str) -> TensorSet:
        """Images of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `image` uint8 (N, C, size, size), of training pictures that are yet to be cut (N, C, load_size, load_size),
            and `label` int64 (N,).

        Raises:
            FileNotFoundError: If there are no data in `root`.
        """
        if split == "val":
            return self.load("test")
        trains = split == "train"
        kind = ("train+unlabeled" if self.unlabelled else "train") if trains else "test"
        options = {"split": kind, "folds": self.fold if trains else None, "download": self.download}
        read = functools.partial(type(self).source, self.root, **options)
        source = read_or_explain(read, self.root, self.layout, self.download)
        pictures, labels = self.pictures(source.data), torch.as_tensor(source.labels).long()
        tensors = {"image": pictures if trains else centred(pictures, self.image_shape[-1]).contiguous()}
        tensors["label"] = labels
        images = TensorSet(tensors, f"STL10 {split}")
        if not (trains and self.unlabelled):
            return images
        return FewLabels(images, (tensors["label"] >= 0).nonzero().flatten())


def _as_asked(images: Tensor, image_shape: tuple[int, ...]) -> Tensor:
    """Colour pictures in a shape (C, size, size), of which one channel is the luminance."""
    channels, size, _ = image_shape
    return resize(luminance(images) if channels == 1 else images, size)
