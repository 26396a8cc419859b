"""Generators and discriminators that are told what a sample is to be: each around any network that is not."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from pl_genmodels.layers.conditioning import ConditionalBatchNorm, EmbeddingMaps, Projection, concatenated
from pl_genmodels.networks.base import Discriminator, Generator, require_picture
from pl_genmodels.networks.mlp import MLPDiscriminator, MLPGenerator
from pl_genmodels.networks.wrapped import num_features
from pl_genmodels.specs import Recorded
from pl_genmodels.types import ImageShape


class ConditionalGenerator(Recorded, nn.Module, ABC):
    """Maps latents and conditions to samples.

    A model calls its generator argument with the image shape and the length of a condition; every other constructor
    argument needs a default. All arguments must be plain, so that a checkpoint can hold them.

    Args:
        image_shape: Shape of one sample, (C, H, W) or (n,).
        condition_dim: Length of a condition.
        latent_dim: Length of a latent.

    Raises:
        ValueError: If `latent_dim` is not positive.
    """

    supplied = ("image_shape", "condition_dim")

    def __init__(self, image_shape: ImageShape, condition_dim: int, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 1:
            raise ValueError(f"latent_dim: got {latent_dim}, allowed is 1 or more")
        self.image_shape, self.condition_dim, self.latent_dim = tuple(image_shape), condition_dim, latent_dim

    @abstractmethod
    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        """Samples in the data's range, (B, latent_dim) and (B, condition_dim) to (B, *image_shape)."""


class ConcatGenerator(ConditionalGenerator):
    """A generator whose latent ends in the condition, or in an embedding of it.

    Args:
        image_shape: Shape of one sample.
        condition_dim: Length of a condition.
        latent_dim: Length of a latent, without the condition.
        generator: Called with the image shape and the length of both together.
        embedding_dim: Length of a learnt embedding of the condition; 0 for the condition itself.
    """

    supplies: ClassVar[dict[str, tuple[str, ...]]] = {"generator": ("latent_dim",)}

    def __init__(
        self,
        image_shape: ImageShape,
        condition_dim: int,
        latent_dim: int = 32,
        generator: Callable[[tuple[int, ...], int], Generator] = MLPGenerator,
        embedding_dim: int = 0,
    ) -> None:
        super().__init__(image_shape, condition_dim, latent_dim)
        self.embedding = EmbeddingMaps(condition_dim, (embedding_dim,)) if embedding_dim else None
        self.make = generator(self.image_shape, latent_dim + (embedding_dim or condition_dim))

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:  # noqa: D102
        told = condition if self.embedding is None else self.embedding(condition)
        return self.make(concatenated(latent, told))


class ConditionalNormGenerator(ConditionalGenerator):
    """A generator told by its batch normalisation, every layer of it; see `ConditionalBatchNorm`.

    Args:
        image_shape: Shape of one sample.
        condition_dim: Length of a condition.
        latent_dim: Length of a latent.
        generator: Called with the image shape and the length of a latent; one with batch normalisation.

    Raises:
        ValueError: For a generator without batch normalisation.
    """

    supplies: ClassVar[dict[str, tuple[str, ...]]] = {"generator": ("latent_dim",)}

    def __init__(
        self,
        image_shape: ImageShape,
        condition_dim: int,
        latent_dim: int = 32,
        generator: Callable[[tuple[int, ...], int], Generator] = MLPGenerator,
    ) -> None:
        super().__init__(image_shape, condition_dim, latent_dim)
        self.make = generator(self.image_shape, latent_dim)
        found = [
            (module, name, child)
            for module in self.make.modules()
            for name, child in module.named_children()
            if isinstance(child, nn.modules.batchnorm._BatchNorm)
        ]
        if not found:
            raise ValueError(f"generator: got {type(self.make).__name__} without batch normalisation to tell")
        for module, name, child in found:
            setattr(module, name, ConditionalBatchNorm(child, condition_dim))

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:  # noqa: D102
        norms = [module for module in self.make.modules() if isinstance(module, ConditionalBatchNorm)]
        for norm in norms:
            norm.condition = condition
        image = self.make(latent)
        for norm in norms:
            norm.condition = None
        return image


class ConditionalDiscriminator(Recorded, nn.Module, ABC):
    """Maps samples and conditions to one logit each; no sigmoid at the end.

    Args:
        image_shape: Shape of one sample, (C, H, W) or (n,).
        condition_dim: Length of a condition.
    """

    supplied = ("image_shape", "condition_dim")

    def __init__(self, image_shape: ImageShape, condition_dim: int) -> None:
        super().__init__()
        self.image_shape, self.condition_dim = tuple(image_shape), condition_dim

    @abstractmethod
    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Logits, (B, *image_shape) and (B, condition_dim) to (B,)."""


class ConcatDiscriminator(ConditionalDiscriminator):
    """A discriminator of samples with their condition behind: of pictures, as constant maps or row by row.

    Args:
        image_shape: Shape of one sample.
        condition_dim: Length of a condition.
        discriminator: Called with the shape of samples and condition together.
        as_maps: Whether a picture stays one and gets a constant map for each number of the condition, as convolutions
            want it; else its values are laid in a row, with the condition behind.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        condition_dim: int,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        as_maps: bool = False,
    ) -> None:
        super().__init__(image_shape, condition_dim)
        self.as_maps = as_maps
        flat = (math.prod(self.image_shape) + condition_dim,)
        maps = (self.image_shape[0] + condition_dim, *self.image_shape[1:])
        self.judge = discriminator(maps if as_maps else flat)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:  # noqa: D102
        return self.judge(concatenated(image if self.as_maps else image.flatten(1), condition))


class EmbeddingMapDiscriminator(ConditionalDiscriminator):
    """A discriminator of pictures with learnt maps of their condition; see `EmbeddingMaps`.

    Args:
        image_shape: (C, H, W).
        condition_dim: Length of a condition.
        discriminator: Called with the shape of picture and maps together.
        num_maps: How many.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        condition_dim: int,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        num_maps: int = 1,
    ) -> None:
        super().__init__(image_shape, condition_dim)
        channels, height, width = require_picture("EmbeddingMapDiscriminator", image_shape)
        self.maps = EmbeddingMaps(condition_dim, (num_maps, height, width))
        self.judge = discriminator((channels + num_maps, height, width))

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:  # noqa: D102
        return self.judge(torch.cat([image, self.maps(condition).to(image.dtype)], 1))


class ProjectionDiscriminator(ConditionalDiscriminator):
    """A discriminator to whose logit its features' agreement with the condition is added; see `Projection`.

    Args:
        image_shape: Shape of one sample.
        condition_dim: Length of a condition.
        discriminator: Called with the image shape; one that gives features.

    Raises:
        ValueError: For a discriminator that does not give its features.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        condition_dim: int,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
    ) -> None:
        super().__init__(image_shape, condition_dim)
        self.judge = discriminator(self.image_shape)
        self.projection = Projection(condition_dim, num_features(self.judge))

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:  # noqa: D102
        logits, features = self.judge(image, with_features=True)
        return logits + self.projection(features[-1].flatten(1), condition)
