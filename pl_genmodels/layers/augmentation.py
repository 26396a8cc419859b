"""What a discriminator sees instead of the samples themselves: real and generated ones alike, with gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from pl_genmodels.layers.noise import normal_like
from pl_genmodels.specs import Recorded

POLICIES = ("color", "translation", "cutout")


class Augmentation(Recorded, ABC):
    """A random change of samples, differentiable in them."""

    @abstractmethod
    def __call__(self, images: Tensor, images_seen: int) -> Tensor:
        """Changed samples.

        Args:
            images: In [-1, 1], (B, ...).
            images_seen: Samples that training has seen so far, for schedules.

        Returns:
            Of the same shape.
        """


class InstanceNoise(Augmentation):
    """Normal noise on every sample, whose deviation falls linearly to nothing.

    Sønderby et al. 2017, section 3.4; Chintala et al. 2016 (ganhacks), item 13.

    Args:
        std: At the start, in units of the data.
        decay_images: Samples after which there is none.

    Raises:
        ValueError: For a negative deviation or a count below 1.
    """

    def __init__(self, std: float = 0.1, decay_images: int = 1_000_000) -> None:
        if std < 0:
            raise ValueError(f"std: got {std}, allowed is 0 or more")
        if decay_images < 1:
            raise ValueError(f"decay_images: got {decay_images}, allowed is 1 or more")
        self.std, self.decay_images = std, decay_images

    def __call__(self, images: Tensor, images_seen: int) -> Tensor:  # noqa: D102
        std = self.std * max(0.0, 1 - images_seen / self.decay_images)
        return images + std * normal_like(images) if std else images


class DiffAugment(Augmentation):
    """Random colour, translation and cut-out, drawn for each picture (Zhao et al. 2020, section 3.2).

    `color`: brightness + U(-1/2, 1/2), then saturation times U(0, 2), then contrast times U(1/2, 3/2), as in the
    authors' code. `translation`: by up to an eighth of each side, zeros come in. `cutout`: a square of half the sides
    becomes zero.

    Args:
        policy: Which of them.

    Raises:
        ValueError: For an unknown one, and for points.
    """

    def __init__(self, policy: list[str] | None = None) -> None:
        self.policy = list(POLICIES) if policy is None else policy
        unknown = [name for name in self.policy if name not in POLICIES]
        if unknown or not self.policy:
            raise ValueError(f"policy: got {self.policy}, allowed are some of {list(POLICIES)}")

    def __call__(self, images: Tensor, images_seen: int) -> Tensor:  # noqa: D102
        if images.ndim != 4:
            raise ValueError(f"DiffAugment: got samples of shape {tuple(images.shape[1:])}, allowed are pictures")
        for name in POLICIES:
            if name in self.policy:
                images = getattr(self, f"_{name}")(images)
        return images

    @staticmethod
    def _color(images: Tensor) -> Tensor:
        brightness, saturation, contrast = (_uniform(images)[:, None, None, None] for _ in range(3))
        images = images + brightness - 0.5
        grey = images.mean(1, keepdim=True)
        images = (images - grey) * 2 * saturation + grey
        mean = images.mean((1, 2, 3), keepdim=True)
        return (images - mean) * (contrast + 0.5) + mean

    @staticmethod
    def _translation(images: Tensor) -> Tensor:
        for side in (2, 3):
            length = images.shape[side]
            most = round(length / 8)
            shift = (_uniform(images) * (2 * most + 1)).floor().long() - most
            source = torch.arange(length, device=images.device) - shift[:, None]  # (B, length)
            shape = [len(images), 1, 1, 1]
            shape[side] = length
            source = source.view(shape)
            inside = (source >= 0) & (source < length)
            images = images.gather(side, source.clamp(0, length - 1).expand_as(images)) * inside.to(images.dtype)
        return images

    @staticmethod
    def _cutout(images: Tensor) -> Tensor:
        covered: Tensor | None = None
        for side in (2, 3):
            length = images.shape[side]
            half = length // 2
            # the square's middle lies anywhere, as in the authors' code, so that it may stick out
            start = (_uniform(images) * (length + 1 - half % 2)).floor().long() - half // 2
            place = torch.arange(length, device=images.device) - start[:, None]
            shape = [len(images), 1, 1, 1]
            shape[side] = length
            within = ((place >= 0) & (place < half)).view(shape)
            covered = within if covered is None else covered & within
        assert covered is not None
        return images * (~covered).to(images.dtype)


def _uniform(images: Tensor) -> Tensor:
    """One number in [0, 1) a picture, (B,)."""
    return torch.rand(len(images), device=images.device)
