"""Real pictures that come with scikit-learn and scikit-image: nothing is downloaded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from pl_genmodels.data.base import ImageData, held_out
from pl_genmodels.data.loader import TensorSet
from pl_genmodels.data.pictures import check_picture, luminance, resize, unit_to_uint8, with_channels
from pl_genmodels.data.seeds import stable_seed

DIGIT_SIZES = (8, 16, 32, 64)


class Digits(ImageData):
    """Handwritten digits of scikit-learn: 1,797 real pictures of 8x8 pixels in 10 classes, with labels.

    The 17 intensities become 0 to 255; larger sizes are up-sampled once, bicubic. 1,500 digits train; of the other
    297, taken evenly from all classes, every second one is `val` (149) and the rest `test` (148). The split never
    changes. Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test set).

    Args:
        size: Height and width, one of 8, 16, 32, 64.
        channels: 1, or 3 for the grey pictures as RGB.
        **kwargs: Of `ImageData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    num_classes = 10

    def __init__(self, size: int = 16, channels: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_digit_size(size)
        self.image_shape = check_picture(size, channels)
        self.grey_levels = 17 if size == 8 else 256  # 0 to 16 in the file; up-sampling makes values in between
        self.save_hyperparameters()

    def load(self, split: str) -> TensorSet:
        """Digits of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `image` uint8 (N, C, size, size) and `label` int64 (N,).
        """
        images, labels = grey_digits(split)
        channels, size, _ = self.image_shape
        return TensorSet({"image": with_channels(resize(images, size), channels), "label": labels}, f"Digits {split}")


def require_digit_size(size: int) -> None:
    """Refuse a size that digits do not come in.

    Raises:
        ValueError: If it is none of `DIGIT_SIZES`.
    """
    if size not in DIGIT_SIZES:
        raise ValueError(f"size: got {size}, allowed are {', '.join(map(str, DIGIT_SIZES))}")


def grey_digits(split: str) -> tuple[Tensor, Tensor]:
    """The digits of a split, uint8 (N, 1, 8, 8), and their classes, int64 (N,)."""
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    labels = torch.from_numpy(classes).long()
    order = labels.argsort(stable=True)
    kept_out = held_out(len(order), 297)
    rest = order[kept_out]
    indices = {"train": order[~kept_out], "val": rest[::2], "test": rest[1::2]}[split]
    images = unit_to_uint8(torch.from_numpy(pixels[indices.numpy()]).float().view(-1, 1, 8, 8) / 16)
    return images, labels[indices]


class TintedDigits(ImageData):
    """The digits of `Digits`, each in colours of its own on black: small pictures in 3 times 256 levels.

    A digit's intensities are multiplied by a colour whose red, green and blue are drawn from [0.25, 1]. The colours of
    a split never change. The classes and the split are those of `Digits`.

    Args:
        size: Height and width, one of 8, 16, 32, 64.
        num_tints: Colours that each training digit comes in, a picture each; held-out digits come in one.
        **kwargs: Of `ImageData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    num_classes = 10

    def __init__(self, size: int = 8, num_tints: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_digit_size(size)
        if num_tints < 1:
            raise ValueError(f"num_tints: got {num_tints}, allowed is 1 or more")
        self.num_tints = num_tints
        self.image_shape = (3, size, size)
        self.save_hyperparameters()

    def load(self, split: str) -> TensorSet:
        """Digits of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `image` uint8 (N, 3, size, size) and `label` int64 (N,).
        """
        images, labels = grey_digits(split)
        repeats = self.num_tints if split == "train" else 1
        images, labels = images.repeat(repeats, 1, 1, 1), labels.repeat(repeats)
        generator = torch.Generator().manual_seed(stable_seed("TintedDigits", split))
        tints = 0.25 + 0.75 * torch.rand(len(images), 3, 1, 1, generator=generator)
        tinted = unit_to_uint8(resize(images, self.image_shape[1]) / 255 * tints)
        return TensorSet({"image": tinted, "label": labels}, f"TintedDigits {split}")


class StackedDigits(ImageData):
    """Three digits of `Digits` in the channels of one picture: 1,000 modes that can be counted.

    The digits of a picture are drawn independently of each other, from those of its split, once and for all; the label
    is their number, from 000 to 999. Metz et al., "Unrolled Generative Adversarial Networks", 2017, section 3.3.2, made
    25,600 such pictures of MNIST.

    Args:
        size: Height and width, one of 8, 16, 32, 64.
        num_samples: Training pictures; `val` and `test` have a tenth as many each, at least one.
        **kwargs: Of `ImageData`; `seed` also decides the draws.

    Raises:
        ValueError: If an argument is out of range.
    """

    num_classes = 1000

    def __init__(self, size: int = 16, num_samples: int = 25_600, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_digit_size(size)
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        self.num_samples = num_samples
        self.image_shape = (3, size, size)
        self.save_hyperparameters()

    def load(self, split: str) -> TensorSet:
        """Pictures of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `image` uint8 (N, 3, size, size) and `label` int64 (N,), 0 to 999.
        """
        images, labels = grey_digits(split)
        number = self.num_samples if split == "train" else max(1, self.num_samples // 10)
        generator = torch.Generator().manual_seed(stable_seed("StackedDigits", split, self.seed))
        drawn = torch.randint(len(images), (number, 3), generator=generator)
        stacked = resize(images, self.image_shape[1])[drawn, 0]
        return TensorSet(
            {"image": stacked, "label": labels[drawn] @ torch.tensor([100, 10, 1])}, f"StackedDigits {split}"
        )


class Faces(ImageData):
    """Faces of scikit-image: only 100 grey pictures of 25x25 pixels, without labels.

    Enough to see whether a model runs, or to over-fit; too few to learn faces from. 80 train, 10 are `val` and 10
    `test`, evenly taken in the order of the file. Source: "Labeled Faces in the Wild", Huang et al., 2007.

    Args:
        size: Height and width that the pictures are resized to, bicubic with antialiasing.
        channels: 1, or 3 for the grey pictures as RGB.
        **kwargs: Of `ImageData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, size: int = 32, channels: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.image_shape = check_picture(size, channels)
        self.save_hyperparameters()

    def load(self, split: str) -> TensorSet:
        """Faces of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `image` uint8 (N, C, size, size).
        """
        faces = torch.from_numpy(bundled("lfw_subset", "lfw_subset.npy")[:100]).float()  # the other 100 are no faces
        kept_out = held_out(len(faces), 20)
        rest = faces[kept_out]
        chosen = {"train": faces[~kept_out], "val": rest[::2], "test": rest[1::2]}[split]
        channels, size, _ = self.image_shape
        return TensorSet(
            {"image": with_channels(resize(unit_to_uint8(chosen[:, None]), size), channels)}, f"Faces {split}"
        )


def bundled(function: str, file: str) -> Any:
    """Array that a function of `skimage.data` reads from a file inside the installed package.

    Args:
        function: Its name.
        file: Name of its file; where that is missing, scikit-image would try to download it.

    Returns:
        What the function returns.

    Raises:
        FileNotFoundError: If this scikit-image comes without the file.
    """
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    if not (folder / file).is_file():
        raise FileNotFoundError(
            f"skimage.data.{function}: scikit-image {version('scikit-image')} has no {file} in {folder}, install a "
            "release of scikit-image from PyPI, whose wheels hold it"
        )
    return getattr(skimage.data, function)()


def _motorcycle() -> Any:
    return bundled("stereo_motorcycle", "motorcycle_left.png")[0]  # of (left, right, disparity)


class Patches(ImageData):
    """Square patches from fixed places of a few large photographs, labelled by the photograph they are from.

    The last quarter of a photograph's columns is kept from training: its upper half is `val`, its lower half `test`,
    so the splits share no pixel. The patches of a split lie at random places that never change.

    Args:
        size: Height and width of the patches in pixels.
        channels: 1 (luminance) or 3.
        num_patches: Training patches per photograph; `val` and `test` have a quarter as many each, at least one.
        scale: Patches are cut `scale * size` pixels wide and reduced to `size`, bicubic with antialiasing.
        **kwargs: Of `ImageData`.

    Attributes:
        max_side: Shorter side of the smallest region that patches are cut from, in pixels.

    Raises:
        ValueError: If an argument is out of range.
    """

    max_side: ClassVar[int]

    def __init__(self, size: int = 32, channels: int = 3, num_patches: int = 64, scale: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.image_shape = check_picture(size, channels)
        if num_patches < 1:
            raise ValueError(f"num_patches: got {num_patches}, allowed is 1 or more")
        if scale < 1 or scale * size > self.max_side:
            raise ValueError(
                f"scale: got {scale}, allowed is 1 or more with scale * size (here {scale * size}) of at most "
                f"{self.max_side}, so that a patch fits into the part of the smallest photograph that is kept for val"
            )
        self.num_patches = num_patches
        self.scale = scale
        self.num_classes = len(self.photographs())

    @abstractmethod
    def photographs(self) -> dict[str, Callable[[], Any]]:
        """The photographs by name: what reads each as a uint8 array (H, W) or (H, W, 3)."""

    def load(self, split: str) -> TensorSet:
        """Patches of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `image` uint8 (N, C, size, size), and `label` int64 (N,), the number of the photograph.
        """
        number = self.num_patches if split == "train" else max(1, self.num_patches // 4)
        patches = [self._cut(name, read(), split, number) for name, read in self.photographs().items()]
        labels = torch.arange(len(patches)).repeat_interleave(number)
        return TensorSet({"image": torch.cat(patches), "label": labels}, f"{type(self).__name__} {split}")

    def _cut(self, name: str, photograph: Any, split: str, number: int) -> Tensor:
        channels, size, _ = self.image_shape
        side = self.scale * size
        region = torch.from_numpy(photograph)
        region = part_of(region[..., None] if region.ndim == 2 else region, split).permute(2, 0, 1)  # (1 or 3, H, W)
        if channels == 1 and len(region) == 3:
            region = luminance(region[None])[0]
        generator = torch.Generator().manual_seed(stable_seed(name, split))
        _, height, width = region.shape
        tops = torch.randint(height - side + 1, (number,), generator=generator).tolist()
        lefts = torch.randint(width - side + 1, (number,), generator=generator).tolist()
        patches = torch.stack(
            [region[:, top : top + side, left : left + side] for top, left in zip(tops, lefts, strict=True)]
        )
        patches = resize(patches, size)
        return with_channels(patches, channels) if len(region) == 1 else patches


def part_of(photograph: Tensor, split: str) -> Tensor:
    """The part of a photograph (H, W, C) that a split is cut from: its left three quarters train; see `Patches`."""
    edge, middle = photograph.shape[1] * 3 // 4, photograph.shape[0] // 2
    return {"train": photograph[:, :edge], "val": photograph[:middle, edge:], "test": photograph[middle:, edge:]}[split]


class Photographs(Patches):
    """Patches of the eleven natural photographs inside scikit-image, such as a cat, a cup, a rocket and the moon.

    Args:
        size: Height and width of the patches in pixels; `scale * size` is at most 96.
        channels: 1 (luminance) or 3; grey photographs are then grey in RGB.
        num_patches: Training patches per photograph; `val` and `test` have a quarter as many each, at least one.
        scale: Patches are cut `scale * size` pixels wide and reduced to `size`, bicubic with antialiasing.
        **kwargs: Of `ImageData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    max_side = 96  # a quarter of the width of `coins`

    def __init__(self, size: int = 32, channels: int = 3, num_patches: int = 64, scale: int = 2, **kwargs: Any) -> None:
        super().__init__(size=size, channels=channels, num_patches=num_patches, scale=scale, **kwargs)
        self.save_hyperparameters()

    def photographs(self) -> dict[str, Callable[[], Any]]:
        """The photographs by the name of their function in `skimage.data`."""
        files = {
            "astronaut": "astronaut.png",
            "camera": "camera.png",
            "chelsea": "chelsea.png",
            "coffee": "coffee.png",
            "coins": "coins.png",
            "hubble_deep_field": "hubble_deep_field.jpg",
            "immunohistochemistry": "ihc.png",
            "moon": "moon.png",
            "retina": "retina.jpg",
            "rocket": "rocket.jpg",
        }
        pictures: dict[str, Callable[[], Any]] = {name: partial(bundled, name, file) for name, file in files.items()}
        return pictures | {"motorcycle": _motorcycle}


class Textures(Patches):
    """Patches of the three grey textures inside scikit-image, of 512x512 pixels each: brick, grass, gravel.

    Args:
        size: Height and width of the patches in pixels; `scale * size` is at most 128.
        channels: 1, or 3 for the grey pictures as RGB.
        num_patches: Training patches per texture; `val` and `test` have a quarter as many each, at least one.
        scale: Patches are cut `scale * size` pixels wide and reduced to `size`, bicubic with antialiasing.
        **kwargs: Of `ImageData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    max_side = 128

    def __init__(
        self, size: int = 32, channels: int = 1, num_patches: int = 512, scale: int = 2, **kwargs: Any
    ) -> None:
        super().__init__(size=size, channels=channels, num_patches=num_patches, scale=scale, **kwargs)
        self.save_hyperparameters()

    def photographs(self) -> dict[str, Callable[[], Any]]:
        """The textures by the name of their function in `skimage.data`."""
        return {name: partial(bundled, name, f"{name}.png") for name in ("brick", "grass", "gravel")}
