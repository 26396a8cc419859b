"""A discriminator that says more of a sample than whether it is real."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.networks.base import Discriminator
from pl_genmodels.networks.mlp import MLPDiscriminator
from pl_genmodels.networks.wrapped import num_features
from pl_genmodels.specs import Recorded
from pl_genmodels.types import ImageShape


class AuxiliaryDiscriminator(Recorded, nn.Module):
    """A discriminator with a second head on its last features: of a class, or of the code a sample was made from.

    Args:
        image_shape: Shape of one sample.
        num_outputs: Of the second head, linear at the end; a model supplies it.
        discriminator: Called with the image shape; one that gives features.
        hidden_dim: Units of a hidden layer of the second head, with batch normalisation and LeakyReLU, as InfoGAN has
            it; 0 for none.
        dropout: Share of the last features, whole maps of a convolution, that the second head does not see in training.

    Raises:
        ValueError: For a discriminator that does not give its features, or a share outside of [0, 1).
    """

    supplied = ("image_shape", "num_outputs")

    def __init__(
        self,
        image_shape: ImageShape,
        num_outputs: int,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        hidden_dim: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: got {dropout}, allowed is 0 up to but not including 1")
        self.dropout = dropout
        self.image_shape, self.num_outputs = tuple(image_shape), num_outputs
        self.judge = discriminator(self.image_shape)
        width = num_features(self.judge)
        layers: list[nn.Module] = []
        if hidden_dim:
            layers += [nn.Linear(width, hidden_dim), nn.BatchNorm1d(hidden_dim), nn.LeakyReLU(0.1)]
        self.head = nn.Sequential(*layers, nn.Linear(hidden_dim or width, num_outputs))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the second head's outputs, (B, *image_shape) to (B,) and (B, num_outputs)."""
        logits, features = self.judge(image, with_features=True)
        maps = features[-1].flatten(2) if features[-1].ndim > 2 else features[-1][..., None]  # (B, C, pixels)
        if self.dropout:
            maps = F.dropout1d(maps, self.dropout, self.training)
        return logits, self.head(maps.flatten(1))
