"""The abstract networks. Own networks subclass these, and every model takes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor, nn

from pl_genmodels.layers.padding import on_multiples
from pl_genmodels.specs import Recorded
from pl_genmodels.types import ImageShape


class Generator(Recorded, nn.Module, ABC):
    """Maps latents to samples.

    A model calls its generator argument with the image shape: `generator(image_shape)`; every other constructor
    argument needs a default. All arguments must be plain, so that a checkpoint can hold them.

    Args:
        image_shape: Shape of one sample, (C, H, W) or (n,).
        latent_dim: Length of a latent.

    Raises:
        ValueError: If `latent_dim` is not positive.
    """

    supplied = ("image_shape",)

    def __init__(self, image_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 1:
            raise ValueError(f"latent_dim: got {latent_dim}, allowed is 1 or more")
        self.image_shape, self.latent_dim = tuple(image_shape), latent_dim

    @abstractmethod
    def forward(self, latent: Tensor) -> Tensor:
        """Samples in the data's range, (B, latent_dim) to (B, *image_shape)."""


class Discriminator(Recorded, nn.Module, ABC):
    """Maps samples to one logit each, or to one for every patch of a picture; no sigmoid at the end.

    Args:
        image_shape: Shape of one sample, (C, H, W) or (n,).

    Attributes:
        gives_features: Whether a call with `with_features=True` returns a pair: the logits, and the list of the hidden
            layers' activations, (B, ...) each.
    """

    supplied = ("image_shape",)
    gives_features: ClassVar[bool] = False

    def __init__(self, image_shape: ImageShape) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Logits, (B, *image_shape) to (B,); of a discriminator of patches, (B, 1, h, w)."""


class Translator(Recorded, nn.Module, ABC):
    """Maps samples of one domain to another: pictures of any size, or points.

    A model calls its translator argument with both shapes: `translator(source_shape, target_shape)`; every other
    constructor argument needs a default. All arguments must be plain, so that a checkpoint can hold them.

    Args:
        source_shape: Shape of one input, (C, H, W) or (n,).
        target_shape: Shape of one output.

    Attributes:
        multiple: What the sides of a picture have to be multiples of; others are reflected and cropped back.
    """

    supplied = ("source_shape", "target_shape")
    multiple: int = 1

    def __init__(self, source_shape: ImageShape, target_shape: ImageShape) -> None:
        super().__init__()
        self.source_shape, self.target_shape = tuple(source_shape), tuple(target_shape)

    @abstractmethod
    def convert(self, image: Tensor) -> Tensor:
        """Translations of pictures whose sides are multiples, (B, C, H, W) to (B, C', H, W), or of points."""

    def forward(self, image: Tensor) -> Tensor:
        """Translations in the range of the data, (B, C, H, W) to (B, C', H, W), or of points."""
        return self.convert(image) if image.ndim < 4 else on_multiples(self.convert, image, self.multiple)


class Encoder(Recorded, nn.Module, ABC):
    """Maps samples to features, such as the mean and log-variance of a latent.

    A model calls its encoder argument with the image shape and the number of features.

    Args:
        image_shape: Shape of one sample, (C, H, W) or (n,).
        num_features: Length of what it gives.
    """

    supplied = ("image_shape", "num_features")

    def __init__(self, image_shape: ImageShape, num_features: int) -> None:
        super().__init__()
        self.image_shape, self.num_features = tuple(image_shape), num_features

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Features, (B, *image_shape) to (B, num_features)."""

    def centre(self, image: Tensor) -> Tensor:
        """What it gives, of an encoder that draws the centre of that, (B, *image_shape) to (B, num_features)."""
        return self(image)


class Decoder(Recorded, nn.Module, ABC):
    """Maps latents to the parameters of a likelihood; linear at the end.

    A model calls its decoder argument with the shape of the parameters and the length of a latent.

    Args:
        parameter_shape: Shape of one sample's parameters, (C, H, W) or (n,).
        latent_dim: Length of a latent.
    """

    supplied = ("parameter_shape", "latent_dim")

    def __init__(self, parameter_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        self.parameter_shape, self.latent_dim = tuple(parameter_shape), latent_dim

    @abstractmethod
    def forward(self, latent: Tensor) -> Tensor:
        """Parameters, (B, latent_dim) to (B, *parameter_shape)."""


class PixelCache(ABC):
    """What a network has computed so far of a batch of pictures that are drawn value by value."""

    @abstractmethod
    def parameters(self, image: Tensor, row: int, column: int, channel: int) -> Tensor:
        """Parameters of the next value, or of all values of the next pixel.

        It is called once for each of the network's `places`, known ones included. Earlier values never change between
        calls.

        Args:
            image: Filled in up to the one that is asked for; what comes later holds anything and is not read. In
                [-1, 1], (B, C, H, W).
            row: Of the pixel.
            column: Of the pixel.
            channel: Of the value; 0 where the network does not order channels.

        Returns:
            What `forward` has there: (B, num_parameters / C) of the channel if the network orders channels, else
            (B, num_parameters) of the pixel.
        """


class PixelNetwork(Recorded, nn.Module, ABC):
    """Maps pictures to the parameters of each pixel's distribution given the pixels before it.

    Pixels come row by row from the top left, but for networks that say other `places`. Where the network orders
    channels, a pixel's channels follow each other, and the parameters of a value depend on the earlier channels of its
    pixel too.

    A model calls its network argument with the image shape, the number of parameters and the number of classes.

    Args:
        image_shape: Shape of one sample, (C, H, W).
        num_parameters: Of a pixel, those of its first channel first: `PixelLikelihood.parameters_per_pixel(C)`.
        num_classes: Of the labels that it depends on; 0 for none.

    Attributes:
        orders_channels: Whether the parameters of a channel depend on the earlier channels of the same pixel; off, the
            parameters of a pixel depend on none of its channels, and the likelihood may couple these itself.

    Raises:
        ValueError: For samples that are no pictures, or labels that the network cannot take.
    """

    supplied = ("image_shape", "num_parameters", "num_classes")
    orders_channels: ClassVar[bool] = True
    takes_labels: ClassVar[bool] = False

    def __init__(self, image_shape: ImageShape, num_parameters: int, num_classes: int = 0) -> None:
        super().__init__()
        name = type(self).__name__
        self.image_shape: tuple[int, int, int] = require_picture(name, image_shape)
        if self.orders_channels and num_parameters % image_shape[0]:
            raise ValueError(
                f"num_parameters: got {num_parameters}, allowed for {name} is the same number for each of "
                f"{image_shape[0]} channels"
            )
        if num_classes and not self.takes_labels:
            raise ValueError(f"num_classes: got {num_classes}, allowed is 0 with {name}, which takes no labels")
        self.num_parameters, self.num_classes = num_parameters, num_classes

    @abstractmethod
    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Parameters of all pixels.

        Args:
            image: In [-1, 1], (B, C, H, W).
            label: Classes, (B,), of networks with classes.

        Returns:
            (B, num_parameters, H, W).
        """

    def places(self) -> list[tuple[int, int, int]]:
        """Row, column and channel of what is drawn at a time, in order: a value, or all of a pixel (as channel 0)."""
        channels, height, width = self.image_shape
        return list(product(range(height), range(width), range(channels if self.orders_channels else 1)))

    @abstractmethod
    def cache(self, batch_size: int, label: Tensor | None = None) -> PixelCache:
        """An empty cache for pictures that are to be drawn with the weights as they are now.

        Args:
            batch_size: B.
            label: Classes, (B,), of networks with classes.
        """


class Prior(Recorded, ABC):
    """Distribution of the latents."""

    @abstractmethod
    def sample(
        self, num_samples: int, latent_dim: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        """Draw latents, (num_samples, latent_dim), on `device`, from `generator` or torch's global state."""

    def quantiles(self, shares: Tensor) -> Tensor | None:
        """Inverse distribution function of one coordinate at shares in (0, 1); None where there is none to write."""
        return None


class NormalPrior(Prior):
    """Independent standard normal latents."""

    def sample(  # noqa: D102
        self, num_samples: int, latent_dim: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        return torch.randn(num_samples, latent_dim, generator=generator, device=device)

    def quantiles(self, shares: Tensor) -> Tensor:  # noqa: D102
        return torch.special.ndtri(shares)


class UniformPrior(Prior):
    """Independent uniform latents in [-bound, bound].

    Args:
        bound: Half the width; sqrt(3) gives unit variance.
    """

    def __init__(self, bound: float = 1.0) -> None:
        if bound <= 0:
            raise ValueError(f"bound: got {bound}, allowed is more than 0")
        self.bound = bound

    def sample(  # noqa: D102
        self, num_samples: int, latent_dim: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        return torch.rand(num_samples, latent_dim, generator=generator, device=device).mul_(2).sub_(1).mul_(self.bound)

    def quantiles(self, shares: Tensor) -> Tensor:  # noqa: D102
        return (2 * shares - 1) * self.bound


def with_activations(layers: nn.Sequential, image: Tensor) -> tuple[Tensor, list[Tensor]]:
    """What layers make of a sample, and the values after each of their activations."""
    found = []
    for layer in layers:
        image = layer(image)
        if isinstance(layer, (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Softplus, nn.Sigmoid, nn.Tanh)):
            found.append(image)
    return image, found


def require_picture(network: str, image_shape: ImageShape) -> tuple[int, int, int]:
    """Check that a shape is one of a picture.

    Raises:
        ValueError: If it is not (C, H, W).
    """
    if len(image_shape) != 3:
        raise ValueError(f"{network}: got image_shape {tuple(image_shape)}, allowed are pictures (C, H, W)")
    return (image_shape[0], image_shape[1], image_shape[2])


def require_same_sides(network: str, source_shape: ImageShape, target_shape: ImageShape) -> tuple[int, int]:
    """Channels of a picture and of its translation, which has the same height and width.

    Raises:
        ValueError: If they are no pictures, or of different sizes.
    """
    source, target = require_picture(network, source_shape), require_picture(network, target_shape)
    if source[1:] != target[1:]:
        raise ValueError(
            f"{network}: got source_shape {source} and target_shape {target}, allowed are pictures of the same size"
        )
    return source[0], target[0]
