"""Maxout layers, and the first GAN's discriminator that is made of them."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from pl_genmodels.networks.base import Discriminator
from pl_genmodels.types import ImageShape


class Maxout(nn.Module):
    """The largest of several linear maps, unit by unit (Goodfellow et al. 2013).

    Args:
        in_features: Length of what comes in.
        units: Length of what goes out.
        pieces: Linear maps a unit.
    """

    def __init__(self, in_features: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces, self.linear = pieces, nn.Linear(in_features, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_features) to (B, units)."""
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)


class MaxoutDiscriminator(Discriminator):
    """Maxout layers with dropout before each and before the logit (Goodfellow et al. 2014).

    Args:
        image_shape: Shape of one sample.
        hidden_dim: Units of each hidden layer.
        num_layers: Number of hidden layers.
        pieces: Linear maps a unit.
        input_dropout: Share of the sample's values left out in training.
        dropout: Share of units left out in training.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        hidden_dim: int = 240,
        num_layers: int = 2,
        pieces: int = 5,
        input_dropout: float = 0.2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(image_shape)
        widths = [math.prod(self.image_shape)] + [hidden_dim] * num_layers
        layers: list[nn.Module] = [nn.Dropout(input_dropout)]
        for before, after in pairwise(widths):
            layers += [Maxout(before, after, pieces), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.layers(image.flatten(1)).squeeze(1)
