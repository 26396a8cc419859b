"""Noise in every layer of a generator, as part of its latent."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import torch
from torch import Tensor, nn

from pl_genmodels.networks.base import Generator
from pl_genmodels.networks.mlp import MLPGenerator
from pl_genmodels.types import ImageShape

RECTIFIERS = (nn.ReLU, nn.LeakyReLU, nn.Softplus)


class _Noisy(nn.Module):
    """An activation, then dropout and normal noise out of what is handed in."""

    def __init__(self, activation: nn.Module, handed_in: list[Tensor], dropout: float, std: float) -> None:
        super().__init__()
        self.activation, self.handed_in, self.std, self.keep = activation, handed_in, std, 1 - dropout
        self.threshold = NormalDist().inv_cdf(dropout) if dropout else None  # that share of normal numbers lies below

    def forward(self, features: Tensor) -> Tensor:
        features = self.activation(features)
        if self.threshold is not None:
            kept = self.handed_in.pop(0).view_as(features) >= self.threshold
            features = features * (kept / self.keep).to(features.dtype)
        return features + self.std * self.handed_in.pop(0).view_as(features) if self.std else features


class NoisyGenerator(Generator):
    """A generator with dropout and normal noise after each of its rectifiers, when sampling as when training.

    Chintala et al. 2016 (ganhacks), items 13 and 17. The noise is the latter part of the latent, which the prior has to
    draw from a standard normal law: a latent still says all about its sample.

    Args:
        image_shape: Shape of one sample.
        generator: Called with the image shape; one with ReLU, LeakyReLU or softplus.
        dropout: Share of the values that are set to 0; the others are scaled by 1 / (1 - dropout).
        std: Standard deviation of the noise, in units of the rectifiers' output.

    Attributes:
        free_dim: Length of the first part of the latent, which is the generator's own.

    Raises:
        ValueError: For a share outside of [0, 1), a negative deviation, no noise at all, or no rectifier.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        dropout: float = 0.5,
        std: float = 0.0,
    ) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: got {dropout}, allowed is 0 up to but not including 1")
        if std < 0 or not (std or dropout):
            raise ValueError(f"std: got {std} with dropout {dropout}, allowed is 0 or more, and one of the two above 0")
        made = generator(tuple(image_shape))
        lengths = _lengths(made)
        if not lengths:
            raise ValueError(f"generator: got {type(made).__name__}, which has no rectifier to add noise after")
        self.parts = [length for length in lengths for amount in (dropout, std) if amount]
        super().__init__(image_shape, made.latent_dim + sum(self.parts))
        self.free_dim, self.make = made.latent_dim, made
        self.handed_in: list[Tensor] = []  # what a pass has not used yet
        for parent, name, child in _rectifiers(made):
            setattr(parent, name, _Noisy(child, self.handed_in, dropout, std))

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        free, *noise = latent.split([self.free_dim, *self.parts], 1)
        self.handed_in[:] = noise
        return self.make(free)


def _rectifiers(network: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    return [
        (module, name, child)
        for module in network.modules()
        for name, child in module.named_children()
        if isinstance(child, RECTIFIERS)
    ]


@torch.no_grad()
def _lengths(network: Generator) -> list[int]:
    """Numbers in what each rectifier gives for one latent, in the order in which they are passed."""
    found: list[int] = []
    hooks = [
        child.register_forward_hook(lambda module, given, features: found.append(math.prod(features.shape[1:])))
        for _, _, child in _rectifiers(network)
    ]
    training = network.training
    network.eval()(torch.zeros(1, network.latent_dim))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return found
