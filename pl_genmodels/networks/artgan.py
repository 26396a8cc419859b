"""The networks of ArtGAN: a generator of larger pictures, and a classifier that is also an autoencoder.

Tan et al. 2017, in the sizes of the authors' code of 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.layers.noise import GaussianNoise
from pl_genmodels.networks.base import Decoder, Generator, require_picture, with_activations
from pl_genmodels.networks.classifiers import Classifier, MLPClassifier
from pl_genmodels.networks.mlp import MLPDecoder, MLPGenerator
from pl_genmodels.networks.wrapped import num_features
from pl_genmodels.types import ImageShape


class OverSampledGenerator(Generator):
    """A generator of pictures of twice the size, whose 3x3 means in steps of two pixels are the samples.

    Args:
        image_shape: (C, H, W) of a sample.
        latent_dim: Length of a latent.
        generator: Called with (C, 2 H, 2 W) and the length of a latent.
    """

    supplies: ClassVar[dict[str, tuple[str, ...]]] = {"generator": ("latent_dim",)}

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int = 32,
        generator: Callable[[tuple[int, ...], int], Generator] = MLPGenerator,
    ) -> None:
        super().__init__(image_shape, latent_dim)
        channels, height, width = require_picture("OverSampledGenerator", image_shape)
        self.make = generator((channels, 2 * height, 2 * width), latent_dim)

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        # at the far edges there are two pixels instead of three, of which the mean is taken
        return F.avg_pool2d(self.make(latent), 3, 2, ceil_mode=True)


class AutoencodingClassifier(Classifier):
    """A classifier whose last hidden features are the code of an autoencoder.

    Classes are read off the code by the classifier's last layer, and pictures by the decoder: what reconstructs trains
    the code, and never the layer that names classes.

    Args:
        image_shape: Shape of one sample.
        num_classes: Number of classes of real samples.
        classifier: Called with the image shape and the number of classes; the encoder is all of it but its last layer.
        decoder: Called with the image shape and the length of a code; pictures then pass a tanh.
    """

    supplies: ClassVar[dict[str, tuple[str, ...]]] = {"classifier": ("num_classes",)}

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int = 10,
        classifier: Callable[[tuple[int, ...], int], Classifier] = MLPClassifier,
        decoder: Callable[[tuple[int, ...], int], Decoder] = MLPDecoder,
    ) -> None:
        super().__init__(image_shape, num_classes)
        self.encoder = classifier(self.image_shape, num_classes)
        self.decoder = decoder(self.image_shape, num_features(self.encoder))

    def classify(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:  # noqa: D102
        return self.encoder(image, with_features=True, with_classes=True)

    def forward(
        self,
        image: Tensor,
        with_features: bool = False,
        with_classes: bool = False,
        with_reconstruction: bool = False,
    ) -> Any:
        """See `Classifier`; with `with_reconstruction` logits of the classes and the sample from its code.

        (B, *image_shape) to (B, num_classes) and (B, *image_shape).
        """
        if not with_reconstruction:
            return super().forward(image, with_features, with_classes)
        logits, features = self.classify(image)
        again = self.decoder(features[-1].flatten(1))
        return logits, again.tanh() if image.ndim == 4 else again


class ArtGANClassifier(Classifier):
    """Pairs of 3x3 convolutions, the second of stride 2 and with dropout, then one of 3x3 and others of 1x1.

    All but the first are batch-normalised; LeakyReLU. The last maps are the code.

    Args:
        image_shape: (C, H, W) with sides that 2 divides as often as there are widths.
        num_classes: Number of classes of real samples.
        widths: Feature maps of each pair.
        top_widths: Feature maps of what follows.
        input_noise: Standard deviation of the noise on the input, in units of the data.
        dropout: Share of values after each pair that training sets to 0.

    Raises:
        ValueError: If a list is empty, or the sides cannot be halved so often.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int = 10,
        widths: Sequence[int] = (96, 192),
        top_widths: Sequence[int] = (256, 256, 512),
        input_noise: float = 0.05,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(image_shape, num_classes)
        channels, height, width = require_picture("ArtGANClassifier", image_shape)
        _require_widths("widths", widths, 1)
        _require_widths("top_widths", top_widths, 1)
        factor = _require_multiple("ArtGANClassifier", height, width, len(widths))
        layers: list[nn.Module] = [GaussianNoise(input_noise)]
        for number, (before, after) in enumerate(pairwise((channels, *widths))):
            layers += _normalised(before, after) if number else [_conv(before, after, bias=True), _leaky()]
            layers += [*_normalised(after, after, stride=2), nn.Dropout(dropout)]
        for number, (before, after) in enumerate(pairwise((widths[-1], *top_widths))):
            layers += _normalised(before, after, kernel=1 if number else 3)
        self.layers = nn.Sequential(*layers)
        self.classes = nn.Linear(top_widths[-1] * (height // factor) * (width // factor), num_classes)

    def classify(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:  # noqa: D102
        code, features = with_activations(self.layers, image)
        return self.classes(code.flatten(1)), features


class ArtGANDecoder(Decoder):
    """From maps to a picture: a 3x3 convolution, then doublings by nearest neighbours, two convolutions behind each.

    Batch normalisation and LeakyReLU but at the end.

    Args:
        parameter_shape: (C, H, W) with sides that 2 divides as often as there are widths after the first.
        latent_dim: Length of a code, which is laid out as maps of the smallest size.
        widths: Feature maps at each size.

    Raises:
        ValueError: For fewer than two widths, sides that cannot be halved so often, or a code that fills no maps.
    """

    def __init__(self, parameter_shape: ImageShape, latent_dim: int, widths: Sequence[int] = (256, 128, 64)) -> None:
        super().__init__(parameter_shape, latent_dim)
        channels, height, width = require_picture("ArtGANDecoder", parameter_shape)
        _require_widths("widths", widths, 2)
        factor = _require_multiple("ArtGANDecoder", height, width, len(widths) - 1)
        small = (height // factor, width // factor)
        maps, rest = divmod(latent_dim, small[0] * small[1])
        if rest or not maps:
            raise ValueError(
                f"ArtGANDecoder: got a code of {latent_dim} numbers, allowed are multiples of {small[0] * small[1]}, "
                f"the pixels of the smallest maps"
            )
        self.layers = nn.Sequential(nn.Unflatten(1, (maps, *small)), *_growing(maps, widths, channels))

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(latent)


class ArtGANGenerator(Generator):
    """A linear layer to small maps, then doublings by nearest neighbours with 3x3 convolutions; tanh at the end.

    One convolution follows the first doubling, two follow each of the others. Batch normalisation and LeakyReLU.

    Args:
        image_shape: (C, H, W) with sides that 2 divides as often as there are widths.
        latent_dim: Length of a latent, condition included.
        channels: Feature maps of the smallest size.
        widths: Feature maps after each doubling.

    Raises:
        ValueError: For fewer than two widths, or sides that cannot be halved so often.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int = 110,
        channels: int = 512,
        widths: Sequence[int] = (256, 128, 64, 32),
    ) -> None:
        super().__init__(image_shape, latent_dim)
        outputs, height, width = require_picture("ArtGANGenerator", image_shape)
        _require_widths("widths", widths, 2)
        factor = _require_multiple("ArtGANGenerator", height, width, len(widths))
        small = (channels, height // factor, width // factor)
        units = small[0] * small[1] * small[2]
        layers = [nn.Linear(latent_dim, units, bias=False), nn.BatchNorm1d(units), _leaky(), nn.Unflatten(1, small)]
        self.layers = nn.Sequential(
            *layers, nn.Upsample(scale_factor=2), *_growing(channels, widths, outputs), nn.Tanh()
        )

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(latent)


def _growing(channels: int, widths: Sequence[int], outputs: int) -> list[nn.Module]:
    layers = _normalised(channels, widths[0])
    for before, after in pairwise(widths):
        layers += [nn.Upsample(scale_factor=2), *_normalised(before, after), *_normalised(after, after)]
    return [*layers[:-3], _conv(widths[-1], outputs, bias=True)]  # the last convolution makes the picture


def _conv(before: int, after: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> nn.Module:
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=bias)


def _normalised(before: int, after: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [_conv(before, after, kernel, stride), nn.BatchNorm2d(after), _leaky()]


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.2)


def _require_widths(name: str, widths: Sequence[int], least: int) -> None:
    if len(widths) < least or min(widths) < 1:
        raise ValueError(f"{name}: got {list(widths)}, allowed are {least} or more positive numbers")


def _require_multiple(network: str, height: int, width: int, halvings: int) -> int:
    factor = 2**halvings
    if height % factor or width % factor:
        raise ValueError(f"{network}: got images of {height}x{width}, allowed are multiples of {factor}")
    return factor
