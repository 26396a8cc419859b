"""The networks of Mirza and Osindero 2014: latent and condition first pass layers of their own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pl_genmodels.networks.conditional import ConditionalDiscriminator, ConditionalGenerator
from pl_genmodels.networks.maxout import Maxout
from pl_genmodels.types import ImageShape


class TwoWayGenerator(ConditionalGenerator):
    """Latent and condition to hidden layers of 200 and 1000 units, both to one of 1200, this to the sample.

    At 28x28 with labels of ten classes and a latent of 100: 2,413,984 parameters.

    Args:
        image_shape: Shape of one sample; pictures end in tanh, points stay linear.
        condition_dim: Length of a condition.
        latent_dim: Length of a latent.
        latent_units: Of the latent's hidden layer.
        condition_units: Of the condition's hidden layer.
        joint_units: Of the layer after both; 0 for none, as where the paper makes words for pictures.
        dropout: Share of hidden units left out in training.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        condition_dim: int,
        latent_dim: int = 100,
        latent_units: int = 200,
        condition_units: int = 1000,
        joint_units: int = 1200,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(image_shape, condition_dim, latent_dim)

        def hidden(size: int, units: int) -> list[nn.Module]:
            return [nn.Linear(size, units), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]

        self.of_latent = nn.Sequential(*hidden(latent_dim, latent_units))
        self.of_condition = nn.Sequential(*hidden(condition_dim, condition_units))
        width = latent_units + condition_units
        layers = hidden(width, joint_units) if joint_units else []
        layers.append(nn.Linear(joint_units or width, math.prod(self.image_shape)))
        self.joint = nn.Sequential(*layers, *([nn.Tanh()] if len(self.image_shape) == 3 else []))

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:  # noqa: D102
        both = torch.cat([self.of_latent(latent), self.of_condition(condition.to(latent.dtype))], 1)
        return self.joint(both).unflatten(1, self.image_shape)


class TwoWayDiscriminator(ConditionalDiscriminator):
    """Sample and condition to maxout layers of their own, both to a joint one, with dropout behind each.

    Args:
        image_shape: Shape of one sample.
        condition_dim: Length of a condition.
        image_units: Of the sample's layer.
        condition_units: Of the condition's.
        joint_units: Of the joint maxout layer.
        dropout: Share of units left out in training.
        pieces: Of the first two layers' units; 1 for ReLU, as where the paper makes words for pictures.
        joint_pieces: Of the joint layer's; there it has three.

    Raises:
        ValueError: For pieces below 1, or a joint layer with a single one.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        condition_dim: int,
        image_units: int = 240,
        condition_units: int = 50,
        joint_units: int = 240,
        dropout: float = 0.5,
        pieces: int = 5,
        joint_pieces: int = 4,
    ) -> None:
        super().__init__(image_shape, condition_dim)
        for name, value, least in (("pieces", pieces, 1), ("joint_pieces", joint_pieces, 2)):
            if value < least:
                raise ValueError(f"{name}: got {value}, allowed is {least} or more")

        def own(size: int, units: int) -> nn.Module:
            layers = [Maxout(size, units, pieces)] if pieces > 1 else [nn.Linear(size, units), nn.ReLU()]
            return nn.Sequential(*layers, nn.Dropout(dropout))

        self.of_image = own(math.prod(self.image_shape), image_units)
        self.of_condition = own(condition_dim, condition_units)
        joint = Maxout(image_units + condition_units, joint_units, joint_pieces)
        self.joint = nn.Sequential(joint, nn.Dropout(dropout), nn.Linear(joint_units, 1))

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:  # noqa: D102
        both = torch.cat([self.of_image(image.flatten(1)), self.of_condition(condition.to(image.dtype))], 1)
        return self.joint(both).squeeze(1)
