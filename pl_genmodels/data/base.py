"""What every data module of images has in common."""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torch.utils.data import Dataset

from pl_genmodels.data.intensities import BINARIZE, binarized, black_and_white, dequantized, is_picture
from pl_genmodels.data.labels import with_few_labels, with_partners
from pl_genmodels.data.loader import Loader, TensorSet, named
from pl_genmodels.data.pictures import cut, to_float
from pl_genmodels.types import Batch, ImageShape

SPLITS = ("train", "val", "test")

NUM_HASHED = 64
"""Items per split that enter the fingerprint: a few milliseconds, also where each has to be decoded."""

STAGES = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}
"""Splits that a stage of the Trainer needs."""


def held_out(num_items: int, num_held_out: int) -> Tensor:
    """Which items of an ordered data set are kept from training: evenly spread, so that sorted classes stay balanced.

    Args:
        num_items: Size of the data set, N.
        num_held_out: How many to keep, 0 to N.

    Returns:
        Boolean (N,).
    """
    steps = torch.arange(num_items)
    return (steps + 1) * num_held_out // num_items > steps * num_held_out // num_items


def _cached(load: Callable[[Any, str], Dataset[Any]]) -> Callable[[Any, str], Dataset[Any]]:
    @functools.wraps(load)
    def load_once(self: ImageData, split: str) -> Dataset[Any]:
        if split not in SPLITS:
            raise ValueError(f"split: got {split!r}, allowed are {', '.join(SPLITS)}")
        if split not in self._splits:
            data = load(self, split)
            drawn_anew = self.binarize == "dynamic" and split == "train"
            data = data if self.binarize == "none" or drawn_anew else self._drawn_once(data)
            if self.partners and split == "train":
                data = with_partners(data)
            if self.labels_per_class is not None and split == "train":
                data = with_few_labels(data, self.labels_per_class, self.seed)
            self._splits[split] = data
        return self._splits[split]

    return load_once


class ImageData(LightningDataModule, ABC):
    """Data module of images: uint8 until they are on the device, float32 in [-1, 1] from there on.

    A leaf sets `image_shape` from its arguments alone, calls `self.save_hyperparameters()` last in its constructor,
    and says in `load` what a split holds. Batches are dicts: `image`, and `label` where there are classes.
    Loaders are resumable at any batch and share their data among ranks by themselves (see `Loader`).
    The data module's arguments enter a checkpoint as plain values from which `rebuild` makes it again.

    Args:
        batch_size: Images per batch and process.
        num_workers: Processes that decode images; without effect on data sets that are held in memory.
        seed: Of the order of the training images, of the crops, the flips and the labels that are told; does not change
            the splits.
        flip: Whether half of the training images, drawn anew each epoch, are mirrored left to right.
        binarize: How images become black and white: `none`, not at all; `dynamic`, a training image's grey value is the
            probability of white, drawn anew each epoch; `static`, drawn once and for all; `threshold`, white from 128
            of 255 on. Held-out images are drawn once and for all also with `dynamic`, and for every `seed` alike.
        dequantize: Whether each value gets a uniform share of its level, (k + u) / `num_levels`, so that a density has
            a finite likelihood; drawn anew each epoch for training images, once and for all for held-out ones.
        labels_per_class: Training images of each class whose labels are told, for semi-supervised learning; the others
            have the label -1. Each image comes with a labelled one, `labelled_image` and `labelled_label`. None tells
            all labels.
        partners: Whether each training image comes with another one of its label, `partner`, always the same.

    Attributes:
        image_shape: Shape of one image, (C, H, W), or (2,) for points; known before any data are read.
        num_classes: Number of values of `label`, None if there are no labels.
        grey_levels: Number of intensities that the pictures come in, evenly spaced; None for what is no picture.
        load_size: Side of the training pictures if they are larger than `image_shape` says: squares are cut out of them
            at random places, drawn anew each epoch, and out of the middle where they are evaluated.

    Raises:
        ValueError: If an argument is out of range.
    """

    image_shape: ImageShape
    num_classes: int | None = None
    grey_levels: int | None = 256
    load_size: int | None = None

    def __init__(
        self,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        flip: bool = False,
        binarize: str = "none",
        dequantize: bool = False,
        labels_per_class: int | None = None,
        partners: bool = False,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size: got {batch_size}, allowed is 1 or more")
        if num_workers < 0:
            raise ValueError(f"num_workers: got {num_workers}, allowed is 0 or more")
        if binarize not in BINARIZE:
            raise ValueError(f"binarize: got {binarize!r}, allowed are {', '.join(BINARIZE)}")
        if partners and labels_per_class is not None:
            raise ValueError(f"partners: got true with labels_per_class={labels_per_class}, allowed is one of the two")
        if dequantize and binarize != "none":
            raise ValueError(f"dequantize: got true with binarize={binarize!r}, allowed is one of the two")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.flip = flip
        self.binarize = binarize
        self.dequantize = dequantize
        self.labels_per_class = labels_per_class
        self.partners = partners
        self._splits: dict[str, Dataset[Any]] = {}
        self._positions: list[dict[str, int]] = []

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "load" in vars(cls):
            cls.load = _cached(vars(cls)["load"])  # type: ignore[assignment, method-assign]

    @abstractmethod
    def load(self, split: str) -> TensorSet | Dataset[Any]:
        """Data set of one split; read at the first call, the same object ever after.

        Args:
            split: "train", "val" or "test".

        Returns:
            A `TensorSet`, or a map-style data set of dicts with uint8 images (C, H, W).

        Raises:
            ValueError: If there is no such split.
        """

    @property
    def num_levels(self) -> int | None:
        """Number of intensities that a model sees, before `dequantize`; bits per dimension refer to it."""
        return self.grey_levels if self.binarize == "none" else 2

    def details(self) -> list[str]:
        """What else than images and sizes tells this data set from another in its fingerprint."""
        return []

    @functools.cached_property
    def fingerprint(self) -> str:
        """Name of exactly these data, for statistics kept on disk: class, shape, sizes and a hash of the content.

        It does not depend on the order, the batch size or where the data lie. Of large splits the hash sees a few
        items, evenly spread.
        """
        content = hashlib.sha256("\n".join(self.details()).encode())
        if self.binarize == "dynamic":  # else the images tell
            content.update(b"dynamic")
        sizes = []
        for split in SPLITS:
            data = self.load(split)
            size = len(data)  # type: ignore[arg-type]
            sizes.append(size)
            for index in torch.linspace(0, size - 1, min(size, NUM_HASHED)).round().int().tolist():
                for key, value in sorted(named(data[index]).items()):
                    content.update(key.encode())
                    content.update(
                        value.encode() if isinstance(value, str) else torch.as_tensor(value).numpy().tobytes()
                    )
        shape = "x".join(map(str, self.image_shape))
        return "-".join([type(self).__name__, shape, *map(str, sizes), content.hexdigest()[:12]])

    def setup(self, stage: str) -> None:
        """Read the splits that a stage needs, so that what is wrong with them is told before training.

        Args:
            stage: Of the Trainer: "fit", "validate", "test" or "predict".
        """
        for split in STAGES[stage]:
            self.load(split)

    def train_dataloader(self) -> Loader:
        """Shuffled whole batches, from the position in the checkpoint that the Trainer resumes from.

        If the Trainer is told to `overfit_batches`, the order is fixed and nothing is flipped.
        """
        overfit = getattr(self.trainer, "overfit_batches", 0) > 0
        noise = ("item" if overfit else "visit") if self.dequantize or self.binarize == "dynamic" else None
        loader = self._loader(
            self.load("train"), shuffle=not overfit, drop_last=True, flip=self.flip and not overfit, noise=noise
        )
        if self._positions:
            loader.load_state_dict(self._positions.pop(0))
        return loader

    def val_dataloader(self) -> Loader:
        """All images of the split `val`, in order."""
        return self.evaluation_loader("val")

    def test_dataloader(self) -> Loader:
        """All images of the split `test`, in order."""
        return self.evaluation_loader("test")

    def predict_dataloader(self) -> Loader:
        """All images of the split `test`, in order."""
        return self.evaluation_loader("test")

    def evaluation_loader(self, split: str) -> Loader:
        """Each image of a split exactly once over all ranks, in order, not flipped, as uint8, drawn once.

        Args:
            split: "train", "val" or "test".

        Returns:
            The loader, outside of Lightning's hooks too.
        """
        data = self.load(split)
        if self.binarize == "dynamic" and split == "train":
            data = self._splits.setdefault("train, drawn once", self._drawn_once(data))
        return self._loader(data, shuffle=False, noise="item" if self.dequantize else None)

    def state_dict(self) -> dict[str, Any]:
        """Positions of the Trainer's training loaders.

        Lightning keeps these too, but does not restore them from a checkpoint that was written at the end of an epoch.
        """
        loaders, _ = tree_flatten(self.trainer.train_dataloader if self.trainer is not None else None)
        return {"positions": [loader.state_dict() for loader in loaders if isinstance(loader, Loader)]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training loader start where the checkpoint's was; not when a checkpoint is only evaluated.

        Args:
            state_dict: What `state_dict` returned.
        """
        if self.trainer is not None and self.trainer.state.fn == "fit":
            self._positions = list(state_dict["positions"])

    def _drawn_once(self, data: Dataset[Any]) -> Dataset[Any]:
        return black_and_white(data, draws=self.binarize != "threshold")

    def _loader(self, data: Dataset[Any], **options: Any) -> Loader:
        on_cuda = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        side = self.image_shape[-1]
        if self.load_size not in (None, side):
            options |= {"size": side, "jitter": options["shuffle"]}
        return self._make_loader(
            data,
            self.batch_size,
            seed=self.seed,
            num_workers=self.num_workers,
            pin_memory=on_cuda,
            **options,
        )

    def _make_loader(self, data: Dataset[Any], batch_size: int, **options: Any) -> Loader:
        return Loader(data, batch_size, **options)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Batch:
        """Crop, flip, draw, and turn uint8 images into float32 in [-1, 1], on the device that the batch is on.

        Args:
            batch: With uint8 images (B, C, H, W), or videos, under any keys; other entries are left as they are.
            dataloader_idx: Not used.

        Returns:
            The batch as models read it.
        """
        batch = named(batch)
        flip, places, noise = (batch.pop(key, None) for key in ("flip", "crop", "noise"))
        for key, value in batch.items():
            if is_picture(value, 4):
                if places is not None:
                    value = cut(value, self.image_shape[-1], places, flip)
                elif flip is not None:
                    value = torch.where(flip.view(-1, *[1] * (value.ndim - 1)), value.flip(-1), value)
                batch[key] = self._to_float(value, noise)
        return batch

    def _to_float(self, images: Tensor, noise: Tensor | None) -> Tensor:
        if noise is None:
            return to_float(images)
        if self.dequantize:
            return dequantized(images, noise, self.num_levels or 256)
        return to_float(binarized(images, noise))

    def save_hyperparameters(self, *args: Any, **kwargs: Any) -> None:
        """Keep the constructor's arguments as Lightning does, plus the class, in plain types.

        They are stored in checkpoints but not sent to loggers: Lightning refuses to train when a model and a data
        module log different values under one name.

        Args:
            *args: As for Lightning.
            **kwargs: As for Lightning.
        """
        caller = inspect.currentframe()
        kwargs = {"logger": False, "frame": caller.f_back if caller else None, **kwargs}
        super().save_hyperparameters(*args, **kwargs)
        plain = {key: os.fspath(value) for key, value in self.hparams.items() if isinstance(value, os.PathLike)}
        self.hparams.update(plain)
        self.hparams.setdefault("_class_path", f"{type(self).__module__}.{type(self).__qualname__}")
        self.hparams.setdefault("_instantiator", "lightning.pytorch.cli.instantiate_module")
        self._hparams_initial = copy.deepcopy(self._hparams)


def rebuild(hparams: Mapping[str, Any]) -> ImageData:
    """Data module from what a checkpoint says about it; reads no data and imports nothing.

    Args:
        hparams: `checkpoint["datamodule_hyper_parameters"]`.

    Returns:
        The data module with the same arguments.

    Raises:
        ValueError: If the class is not named, or names no concrete subclass of `ImageData` that is already imported.
    """
    arguments = {key: value for key, value in hparams.items() if key not in ("_class_path", "_instantiator")}
    class_path = str(hparams.get("_class_path"))
    module, _, name = class_path.rpartition(".")
    found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    if not (isinstance(found, type) and issubclass(found, ImageData)) or inspect.isabstract(found):
        raise ValueError(
            f"_class_path: got {class_path!r}, allowed are the concrete subclasses of ImageData that are imported"
        )
    return found(**arguments)
