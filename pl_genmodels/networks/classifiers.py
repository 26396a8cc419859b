"""Discriminators that tell classes apart."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn

from pl_genmodels.layers.noise import GaussianNoise
from pl_genmodels.layers.weight_norm import NormalizedLinear
from pl_genmodels.networks.base import Discriminator, Encoder, require_picture, with_activations
from pl_genmodels.networks.mlp import MLPDiscriminator, MLPEncoder
from pl_genmodels.networks.wrapped import num_features
from pl_genmodels.types import ImageShape


class Classifier(Discriminator, ABC):
    r"""A discriminator with a logit for each class of real samples; generated ones are one class more.

    Its logit as a discriminator is $Z(x) = \log \sum_k e^{l_k(x)}$: a softmax over the K logits and a 0 for generated
    samples says that x is real with probability $\sigma(Z(x))$. A logit for that last class would say nothing more,
    because a softmax knows only differences. Salimans et al. 2016, section 5.

    Args:
        image_shape: Shape of one sample, (C, H, W) or (n,).
        num_classes: K.

    Raises:
        ValueError: For fewer than two classes.
    """

    gives_features = True

    def __init__(self, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape)
        if num_classes < 2:
            raise ValueError(f"num_classes: got {num_classes}, allowed is 2 or more")
        self.num_classes = num_classes

    @abstractmethod
    def classify(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits of the classes and hidden activations, (B, *image_shape) to (B, num_classes) and (B, ...) each."""

    def forward(self, image: Tensor, with_features: bool = False, with_classes: bool = False) -> Any:
        """Z, (B, *image_shape) to (B,), or with `with_classes` the logits of the classes, (B, num_classes).

        With `with_features` the hidden activations too; see `Discriminator.gives_features`.
        """
        logits, features = self.classify(image)
        logits = logits if with_classes else logits.logsumexp(1)
        return (logits, features) if with_features else logits


class MLPClassifier(Classifier):
    """Linear layers with ReLU and, in training, noise before each of them (Salimans et al. 2016, the authors' code).

    Args:
        image_shape: Shape of one sample.
        num_classes: Number of classes of real samples.
        hidden_dims: Units of the hidden layers; the paper's are 1000, 500, 250, 250, 250.
        input_noise: Standard deviation of the noise on the input, in units of the data.
        hidden_noise: Standard deviation of the noise on each hidden layer.
        weight_norm: Normalise the weights, as the authors do.

    Raises:
        ValueError: If there is no hidden layer, or one without units.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int = 10,
        hidden_dims: Sequence[int] = (128, 128),
        input_noise: float = 0.3,
        hidden_noise: float = 0.5,
        weight_norm: bool = False,
    ) -> None:
        super().__init__(image_shape, num_classes)
        if not hidden_dims or min(hidden_dims) < 1:
            raise ValueError(f"hidden_dims: got {list(hidden_dims)}, allowed are one or more positive numbers")
        linear = NormalizedLinear if weight_norm else nn.Linear
        layers: list[nn.Module] = [GaussianNoise(input_noise)]
        for before, after in pairwise((math.prod(self.image_shape), *hidden_dims)):
            layers += [linear(before, after), nn.ReLU(), GaussianNoise(hidden_noise)]
        self.layers = nn.Sequential(*layers, linear(hidden_dims[-1], num_classes))

    def classify(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:  # noqa: D102
        return with_activations(self.layers, image.flatten(1))


class ConvClassifier(Classifier):
    """3x3 convolutions, each but the first of stride 2 and batch-normalised, with LeakyReLU, dropout and a mean.

    Zhou et al. 2018, the authors' code.

    Args:
        image_shape: (C, H, W), of any size.
        num_classes: Number of classes of real samples.
        widths: Feature maps of the layers.
        input_noise: Standard deviation of the noise on the input, in units of the data.
        dropout: Share of values after each layer that training sets to 0.

    Raises:
        ValueError: If there is no layer, or one without feature maps.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int = 10,
        widths: Sequence[int] = (64, 128, 256, 512),
        input_noise: float = 0.1,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(image_shape, num_classes)
        inputs, _, _ = require_picture("ConvClassifier", image_shape)
        if not widths or min(widths) < 1:
            raise ValueError(f"widths: got {list(widths)}, allowed are one or more positive numbers")
        layers: list[nn.Module] = [GaussianNoise(input_noise)]
        for number, (before, after) in enumerate(pairwise((inputs, *widths))):
            layers.append(nn.Conv2d(before, after, 3, 2 if number else 1, 1, bias=number == 0))
            layers += [nn.BatchNorm2d(after)] if number else []
            layers += [nn.LeakyReLU(0.2), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.classes = nn.Linear(widths[-1], num_classes)

    def classify(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:  # noqa: D102
        maps, features = with_activations(self.layers, image)
        pooled = maps.mean((2, 3))
        return self.classes(pooled), [*features, pooled]


class ClassDiscriminator(Classifier):
    """Any discriminator that gives its features, with a logit for each class.

    A linear layer on the last features gives each class's logit less the discriminator's own, which joins all of them.

    Args:
        image_shape: Shape of one sample.
        num_classes: Number of classes of real samples.
        discriminator: Called with the image shape; one that gives features.

    Raises:
        ValueError: For a discriminator that does not give its features.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int = 10,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
    ) -> None:
        super().__init__(image_shape, num_classes)
        self.judge = discriminator(self.image_shape)
        self.classes = nn.Linear(num_features(self.judge), num_classes)

    def classify(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:  # noqa: D102
        logits, features = self.judge(image, with_features=True)
        return logits[:, None] + self.classes(features[-1].flatten(1)), features


class EncoderClassifier(Classifier):
    """Any encoder, whose features a linear layer reads the class from.

    Args:
        image_shape: Shape of one sample.
        num_classes: Number of classes of real samples.
        encoder: Called with the image shape and `num_features`.
        num_features: Length of what the encoder gives.
    """

    supplies: ClassVar[dict[str, tuple[str, ...]]] = {"encoder": ("num_features",)}

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int = 10,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        num_features: int = 320,
    ) -> None:
        super().__init__(image_shape, num_classes)
        self.encoder = encoder(self.image_shape, num_features)
        self.classes = nn.Linear(num_features, num_classes)

    def classify(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:  # noqa: D102
        features = self.encoder(image)
        return self.classes(features), [features]
