"""Networks around other networks: tricks against mode collapse that any generator or discriminator can take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.layers.minibatch import BatchSimilarity
from pl_genmodels.layers.norm import PictureNorm2d
from pl_genmodels.layers.virtual_batch_norm import VirtualBatchNorm
from pl_genmodels.networks.base import Discriminator, Generator
from pl_genmodels.networks.dcgan import DCGANDiscriminator
from pl_genmodels.networks.mlp import MLPDiscriminator, MLPGenerator
from pl_genmodels.types import ImageShape


def num_features(discriminator: Discriminator) -> int:
    """Length of a discriminator's last features; see `feature_lengths`."""
    return feature_lengths(discriminator)[-1]


def feature_lengths(discriminator: Discriminator) -> list[int]:
    """Length of each layer of a discriminator's features.

    Raises:
        ValueError: If it does not give any.
    """
    if not discriminator.gives_features:
        raise ValueError(
            f"discriminator: got {type(discriminator).__name__}, which does not give the features; allowed are "
            "those that do, such as MLPDiscriminator and DCGANDiscriminator"
        )
    with torch.no_grad():
        training = discriminator.training
        _, features = discriminator.eval()(torch.zeros(1, *discriminator.image_shape), with_features=True)
        discriminator.train(training)
    return [layer.numel() for layer in features]


class PackedDiscriminator(Discriminator):
    """Judges several samples at once: m in a row, stacked along the channels, get one logit (Lin et al. 2018, PacGAN).

    Args:
        image_shape: Shape of one sample.
        discriminator: Called with the shape of m samples, (m C, H, W) or (m n,).
        num_packed: m, which must divide the batch.

    Raises:
        ValueError: For fewer than two, or a batch that it does not divide.
    """

    gives_features = True

    def __init__(
        self,
        image_shape: ImageShape,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        num_packed: int = 2,
    ) -> None:
        super().__init__(image_shape)
        if num_packed < 2:
            raise ValueError(f"num_packed: got {num_packed}, allowed is 2 or more")
        self.num_packed = num_packed
        self.judge = discriminator((num_packed * self.image_shape[0], *self.image_shape[1:]))

    def forward(self, image: Tensor, **options: Any) -> Any:
        """Logits, (m B, *image_shape) to (B,)."""
        if len(image) % self.num_packed:
            raise ValueError(
                f"num_packed: got {self.num_packed} with a batch of {len(image)} samples, allowed are divisors of it"
            )
        return self.judge(image.reshape(-1, *self.judge.image_shape), **options)


class MinibatchDiscriminator(Discriminator):
    """A discriminator that also sees how alike the samples of its batch are; see `BatchSimilarity`.

    The similarities of the last hidden layer's features join these before the last layer; as it is linear, its share
    of the logit is added.

    Args:
        image_shape: Shape of one sample.
        discriminator: Called with the image shape; one that gives features.
        num_kernels: Similarities a sample.
        kernel_dim: Length of what each compares.

    Raises:
        ValueError: For a discriminator that does not give its features.
    """

    gives_features = True

    def __init__(
        self,
        image_shape: ImageShape,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        num_kernels: int = 100,
        kernel_dim: int = 5,
    ) -> None:
        super().__init__(image_shape)
        self.judge = discriminator(self.image_shape)
        self.similarity = BatchSimilarity(num_features(self.judge), num_kernels, kernel_dim)
        self.last = nn.Linear(num_kernels, 1, bias=False)

    def forward(self, image: Tensor, with_features: bool = False) -> Any:  # noqa: D102
        logits, features = self.judge(image, with_features=True)
        logits = logits + self.last(self.similarity(features[-1].flatten(1))).squeeze(1)
        return (logits, features) if with_features else logits


class InstanceNormDiscriminator(Discriminator):
    """A discriminator whose batch normalisation is instance normalisation: every logit depends on its picture alone.

    Chintala et al. 2016 (ganhacks), item 4, for batches that are not of one kind; penalties on gradients need it too.

    Args:
        image_shape: Shape of one sample, (C, H, W).
        discriminator: Called with the image shape; one with batch normalisation of pictures.

    Raises:
        ValueError: For a discriminator without.
    """

    gives_features = True

    def __init__(
        self,
        image_shape: ImageShape,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = DCGANDiscriminator,
    ) -> None:
        super().__init__(image_shape)
        self.judge = discriminator(self.image_shape)
        for module, name, child in _batch_norms("discriminator", self.judge, nn.BatchNorm2d):
            setattr(module, name, PictureNorm2d(child.num_features, child.eps))

    def forward(self, image: Tensor, **options: Any) -> Any:
        """Logits, (B, C, H, W) to (B,)."""
        return self.judge(image, **options)


class VirtualBatchNormGenerator(Generator):
    """A generator whose batch normalisation is `VirtualBatchNorm`: every sample depends on its own latent alone.

    The reference latents are standard normal, drawn when it is built and kept in checkpoints. They pass the network
    with each batch, which costs their share of time.

    Args:
        image_shape: Shape of one sample.
        generator: Called with the image shape; one with batch normalisation.
        num_reference: Latents of the reference batch.

    Raises:
        ValueError: For a generator without batch normalisation, or an empty reference batch.
    """

    reference: Tensor

    def __init__(
        self,
        image_shape: ImageShape,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        num_reference: int = 64,
    ) -> None:
        made = generator(tuple(image_shape))
        super().__init__(image_shape, made.latent_dim)
        if num_reference < 1:
            raise ValueError(f"num_reference: got {num_reference}, allowed is 1 or more")
        self.make = made
        for module, name, child in _batch_norms("generator", made, nn.modules.batchnorm._BatchNorm):
            layer = VirtualBatchNorm(child.num_features, num_reference, child.eps)
            layer.weight, layer.bias = child.weight, child.bias
            setattr(module, name, layer)
        self.register_buffer("reference", torch.randn(num_reference, made.latent_dim))

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.make(torch.cat([self.reference.to(latent.dtype), latent]))[len(self.reference) :]


def _batch_norms(role: str, network: nn.Module, kind: type) -> list[tuple[nn.Module, str, Any]]:
    """Every batch normalisation with the module and the name that it has there."""
    found = [
        (module, name, child)
        for module in network.modules()
        for name, child in module.named_children()
        if isinstance(child, kind)
    ]
    if not found:
        raise ValueError(f"{role}: got {type(network).__name__} without batch normalisation to replace")
    return found
