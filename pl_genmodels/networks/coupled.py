"""Two networks that share layers: generators of pairs and their discriminators, with the authors' shapes (CoGAN).

A pair is one picture, (C, H, 2W): the sample of the first domain on the left, that of the second on the right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pl_genmodels.networks.base import Discriminator, Generator, require_picture
from pl_genmodels.types import ImageShape


def pair_sides(network: str, image_shape: ImageShape) -> tuple[int, int]:
    """Channels and side of each picture of a pair.

    Raises:
        ValueError: If the shape is not that of two squares side by side.
    """
    channels, height, width = require_picture(network, image_shape)
    if width != 2 * height:
        raise ValueError(f"{network}: got image_shape {tuple(image_shape)}, allowed are two squares (C, H, 2H)")
    return channels, height


def _init_weights(module: nn.Module) -> None:
    """Xavier with gain sqrt(2), biases 0.1, as in the authors' code."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(module.weight, gain=math.sqrt(2))
        assert module.bias is not None
        nn.init.constant_(module.bias, 0.1)


def _positive(name: str, values: Sequence[int]) -> list[int]:
    if not values or min(values) < 1:
        raise ValueError(f"{name}: got {list(values)}, allowed are one or more numbers from 1 on")
    return list(values)


class CoupledGenerator(Generator):
    """One latent, two pictures: all layers are shared but the last, which each domain has for itself (Liu, Tuzel 2016).

    Transposed convolutions 1 to 4 to 7 to 13 ..., of 4x4 and then 3x3 with stride 2, each with batch normalisation
    without gain and bias, and PReLU; the last one, of stride 1, brings each domain's picture to size. Shared layers run
    once for both. With the defaults at 28x28 grey: 7,842,694 parameters, of which 7,833,476 are shared. The authors'
    pictures lie in [0, 1] and their last layer is a sigmoid; here it is tanh.

    Args:
        image_shape: Shape of a pair, (C, H, 2H).
        latent_dim: Length of a latent.
        widths: Feature maps of the shared layers; one more doubles the size before the last layer.
        shared: Whether they are shared; without, the two generators have nothing but the latent in common.

    Raises:
        ValueError: If the shape is no pair of squares, a width is not positive, or there are too many of them.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int = 100,
        widths: Sequence[int] = (1024, 512, 256, 128),
        shared: bool = True,
    ) -> None:
        super().__init__(image_shape, latent_dim)
        channels, side = pair_sides("CoupledGenerator", image_shape)
        widths = _positive("widths", widths)
        reached = 3 * 2 ** (len(widths) - 1) + 1
        if reached > side + 2:
            raise ValueError(
                f"widths: got {len(widths)} of them, which make {reached}x{reached} for pictures of {side}x{side}, "
                "allowed are fewer"
            )

        def trunk() -> nn.Sequential:
            layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, widths[0], 4)]
            for before, after in pairwise(widths):
                layers += [*_normed(before), nn.ConvTranspose2d(before, after, 3, 2, 1)]
            return nn.Sequential(*layers, *_normed(widths[-1]))

        first = trunk()
        self.trunks = nn.ModuleList([first] if shared else [first, trunk()])
        self.heads = nn.ModuleList(nn.ConvTranspose2d(widths[-1], channels, side - reached + 3, 1, 1) for _ in range(2))
        self.apply(_init_weights)

    def forward(self, latent: Tensor) -> Tensor:
        """Pairs in [-1, 1], (B, latent_dim) to (B, C, H, 2H)."""
        features = [trunk(latent[:, :, None, None]) for trunk in self.trunks]
        halves = [head(part) for head, part in zip(self.heads, (features[0], features[-1]), strict=True)]
        return torch.cat(halves, -1).tanh()


def _normed(width: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(width, affine=False), nn.PReLU()]


class CoupledDiscriminator(Discriminator):
    """Judges both pictures of a pair, each by itself: all layers are shared but the first (Liu, Tuzel 2016).

    A 5x5 convolution for each domain and a shared one, each followed by maximum pooling, one over all that is left with
    PReLU, and a linear one with two outputs, whose difference is the logit of the authors' softmax. Both domains pass
    the shared layers in one call. With the defaults at 28x28 grey: 427,593 parameters.

    Args:
        image_shape: Shape of a pair, (C, H, 2H).
        widths: Feature maps of the first, the second and the third layer.
        padding: Of the 5x5 convolutions; 2 keeps the size.

    Raises:
        ValueError: If the shape is no pair of squares, or so small that nothing is left of it.
    """

    def __init__(self, image_shape: ImageShape, widths: tuple[int, int, int] = (20, 50, 500), padding: int = 0) -> None:
        super().__init__(image_shape)
        channels, side = pair_sides("CoupledDiscriminator", image_shape)
        first, second, third = _positive("widths", widths)
        left = side
        for _ in range(2):
            left = (left + 2 * padding - 4) // 2
        if left < 1:
            raise ValueError(f"padding: got {padding}, which leaves nothing of pictures of {side}x{side}, allowed is 2")
        self.stems = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, first, 5, 1, padding), nn.MaxPool2d(2)) for _ in range(2)
        )
        self.trunk = nn.Sequential(
            nn.Conv2d(first, second, 5, 1, padding),
            nn.MaxPool2d(2),
            nn.Conv2d(second, third, left),
            nn.PReLU(),
            nn.Conv2d(third, 2, 1),
        )
        self.apply(_init_weights)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the first and of the second domain, (B, C, H, 2H) to (B, 2)."""
        features = torch.cat([stem(half) for stem, half in zip(self.stems, image.chunk(2, -1), strict=True)])
        scores = self.trunk(features).flatten(1)  # (2 B, 2): the first domain, then the second
        return (scores[:, 1] - scores[:, 0]).unflatten(0, (2, -1)).T
