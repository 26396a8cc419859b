"""Fully connected networks for points and small pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from pl_genmodels.layers.noise import NoiseDropout
from pl_genmodels.networks.base import Decoder, Discriminator, Encoder, Generator, Translator, with_activations
from pl_genmodels.types import ImageShape


def leaky_relu() -> nn.Module:
    """LeakyReLU as in DCGAN's discriminator."""
    return nn.LeakyReLU(0.2)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": leaky_relu,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


class MLPGenerator(Generator):
    """Linear layers with ReLU; pictures end in tanh, points stay linear.

    Args:
        image_shape: Shape of one sample.
        latent_dim: Length of a latent.
        hidden_dim: Units of each hidden layer.
        num_layers: Number of hidden layers.
        batch_norm: Normalise the hidden layers over the batch.
        activation: `relu`, `leaky_relu`, `elu`, `softplus`, `sigmoid` or `tanh`.
        hidden_dims: Units of each hidden layer, in place of the same ones in all.

    Raises:
        ValueError: If there is no such activation.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int = 32,
        hidden_dim: int = 256,
        num_layers: int = 2,
        batch_norm: bool = False,
        activation: str = "relu",
        hidden_dims: Sequence[int] | None = None,
    ) -> None:
        super().__init__(image_shape, latent_dim)
        widths = [latent_dim, *([hidden_dim] * num_layers if hidden_dims is None else hidden_dims)]
        layers = hidden_layers("MLPGenerator", widths, activation, batch_norm)
        layers.append(nn.Linear(widths[-1], math.prod(self.image_shape)))
        if len(self.image_shape) == 3:
            layers.append(nn.Tanh())
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(latent).unflatten(1, self.image_shape)


class MLPTranslator(Translator):
    """Linear layers with ReLU from one domain to another; pictures end in tanh, points stay linear.

    Args:
        source_shape: Shape of one input.
        target_shape: Shape of one output.
        hidden_dim: Units of each hidden layer.
        num_layers: Number of hidden layers.
        dropout: The network's noise after each hidden layer, on in evaluation too; 0 for none.
    """

    def __init__(
        self,
        source_shape: ImageShape,
        target_shape: ImageShape,
        hidden_dim: int = 128,
        num_layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(source_shape, target_shape)
        widths = [math.prod(self.source_shape)] + [hidden_dim] * num_layers
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), *([NoiseDropout(dropout)] if dropout else [])]
        layers.append(nn.Linear(widths[-1], math.prod(self.target_shape)))
        if len(self.target_shape) == 3:
            layers.append(nn.Tanh())
        self.layers = nn.Sequential(*layers)

    def convert(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image.flatten(1)).unflatten(1, self.target_shape)


class MLPDiscriminator(Discriminator):
    """Linear layers with LeakyReLU, or another activation.

    Args:
        image_shape: Shape of one sample.
        hidden_dim: Units of each hidden layer.
        num_layers: Number of hidden layers.
        negative_slope: Of LeakyReLU.
        gain: Factor on the logit. With spectral normalisation a gain of 1 makes the critic too smooth for small nets;
            5 to 20 restores its range.
        activation: Another one in place of LeakyReLU: `relu`, `elu`, `softplus`, `sigmoid` or `tanh`.
    """

    gives_features = True

    def __init__(
        self,
        image_shape: ImageShape,
        hidden_dim: int = 256,
        num_layers: int = 2,
        negative_slope: float = 0.2,
        gain: float = 1.0,
        activation: str = "leaky_relu",
    ) -> None:
        super().__init__(image_shape)
        widths = [math.prod(self.image_shape)] + [hidden_dim] * num_layers
        layers = hidden_layers("MLPDiscriminator", widths, activation)
        for layer in layers:
            if isinstance(layer, nn.LeakyReLU):
                layer.negative_slope = negative_slope
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))
        self.gain = gain

    def forward(self, image: Tensor, with_features: bool = False) -> Any:  # noqa: D102
        if not with_features:
            return self.gain * self.layers(image.flatten(1)).squeeze(1)
        logits, features = with_activations(self.layers, image.flatten(1))
        return self.gain * logits.squeeze(1), features


def activation_of(network: str, name: str) -> Callable[[], nn.Module]:
    """What makes an activation.

    Raises:
        ValueError: If there is no such activation.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"{network}: got activation {name!r}, allowed are {list(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def hidden_layers(network: str, widths: list[int], activation: str, batch_norm: bool = False) -> list[nn.Module]:
    """Linear layers from each width to the next, each with its activation and with batch normalisation or without.

    Raises:
        ValueError: If there is no such activation.
    """
    activate = activation_of(network, activation)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), *([nn.BatchNorm1d(after)] if batch_norm else []), activate()]
    return layers


class MLPEncoder(Encoder):
    """Linear layers; the last one is linear in the features.

    Args:
        image_shape: Shape of one sample.
        num_features: Length of what it gives.
        hidden_dim: Units of each hidden layer.
        num_layers: Number of hidden layers; 0 makes it linear.
        activation: `relu`, `leaky_relu`, `elu`, `softplus`, `sigmoid` or `tanh`.
        batch_norm: Normalise the hidden layers over the batch.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_features: int,
        hidden_dim: int = 400,
        num_layers: int = 1,
        activation: str = "relu",
        batch_norm: bool = False,
    ) -> None:
        super().__init__(image_shape, num_features)
        widths = [math.prod(self.image_shape)] + [hidden_dim] * num_layers
        hidden = hidden_layers("MLPEncoder", widths, activation, batch_norm)
        self.layers = nn.Sequential(*hidden, nn.Linear(widths[-1], num_features))

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image.flatten(1))


class MLPDecoder(Decoder):
    """Linear layers; the last one is linear in the parameters.

    Args:
        parameter_shape: Shape of one sample's parameters.
        latent_dim: Length of a latent.
        hidden_dim: Units of each hidden layer.
        num_layers: Number of hidden layers; 0 makes it linear.
        activation: `relu`, `leaky_relu`, `elu`, `softplus`, `sigmoid` or `tanh`.
    """

    def __init__(
        self,
        parameter_shape: ImageShape,
        latent_dim: int,
        hidden_dim: int = 400,
        num_layers: int = 1,
        activation: str = "relu",
    ) -> None:
        super().__init__(parameter_shape, latent_dim)
        widths = [latent_dim] + [hidden_dim] * num_layers
        hidden = hidden_layers("MLPDecoder", widths, activation)
        self.layers = nn.Sequential(*hidden, nn.Linear(widths[-1], math.prod(self.parameter_shape)))

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.layers(latent).unflatten(1, self.parameter_shape)


class DecoderGenerator(Generator):
    """A decoder as a generator: linear at the end, as for the logits of a discrete law, or for BEGAN.

    Args:
        image_shape: Shape of one sample.
        latent_dim: Length of a latent.
        decoder: Called with the image shape and the length of a latent.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int = 64,
        decoder: Callable[[tuple[int, ...], int], Decoder] = MLPDecoder,
    ) -> None:
        super().__init__(image_shape, latent_dim)
        self.decoder = decoder(self.image_shape, latent_dim)

    def forward(self, latent: Tensor) -> Tensor:
        """What the decoder makes of latents, (B, latent_dim) to (B, *image_shape)."""
        return self.decoder(latent)
