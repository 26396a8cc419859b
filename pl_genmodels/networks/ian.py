"""Networks of introspective adversarial networks (Brock et al. 2017, the authors' code)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pl_genmodels.layers.minibatch import BatchSimilarity
from pl_genmodels.layers.multiscale import MultiscaleBlock, MultiscaleDilatedConv2d
from pl_genmodels.networks.base import Generator, require_picture, with_activations
from pl_genmodels.networks.classifiers import Classifier
from pl_genmodels.types import ImageShape


def reduced(network: str, image_shape: ImageShape, stages: int) -> tuple[int, int, int]:
    """Channels of a picture, and its height and width after so many halvings.

    Raises:
        ValueError: If it cannot be halved so often.
    """
    channels, height, width = require_picture(network, image_shape)
    multiple = 2**stages
    if stages < 1 or height % multiple or width % multiple:
        raise ValueError(
            f"{network}: got images of {height}x{width} and widths for {stages} halvings, allowed are one or more, and "
            f"sides that {multiple} divides"
        )
    return channels, height // multiple, width // multiple


class IANDiscriminator(Classifier):
    """5x5 convolutions of stride 2 with batch normalisation (not on the first) and LeakyReLU: an encoder's trunk too.

    The logits come from the means of the last maps and from how alike the batch's are; see `BatchSimilarity`.

    Args:
        image_shape: (C, H, W) with sides that 2 ** len(widths) divides.
        num_classes: Real samples and reconstructions; generated ones are one class more.
        widths: Feature maps of the convolutions.
        num_kernels: Similarities a sample; 0 for none.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int = 2,
        widths: Sequence[int] = (128, 256, 512, 1024),
        num_kernels: int = 500,
    ) -> None:
        super().__init__(image_shape, num_classes)
        channels, _, _ = reduced("IANDiscriminator", image_shape, len(widths))
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise((channels, *widths))):
            layers.append(nn.Conv2d(before, after, 5, 2, 2, bias=number == 0))
            layers += [nn.BatchNorm2d(after)] if number else []
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers).apply(small_normal)
        self.similarity = BatchSimilarity(widths[-1], num_kernels) if num_kernels else None
        self.classes = nn.Linear(widths[-1] + num_kernels, num_classes)

    def classify(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:  # noqa: D102
        maps, features = with_activations(self.layers, image)
        pooled = maps.mean((2, 3))
        if self.similarity is not None:
            pooled = torch.cat([pooled, self.similarity(pooled).to(pooled.dtype)], 1)
        return self.classes(pooled), features


class IANGenerator(Generator):
    """Transposed 5x5 convolutions of stride 2 with multiscale blocks between them, and RGB-Beta at the end.

    Args:
        image_shape: (C, H, W) with sides that 2 ** (len(widths) - 1) divides.
        latent_dim: Length of a latent.
        widths: Feature maps of the linear layer and of each convolution.
        scales: Of the blocks; those of more than a quarter of the maps' side are left out.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int = 100,
        widths: Sequence[int] = (512, 512, 256, 128, 128),
        scales: Sequence[int] = (0, 2, 3),
    ) -> None:
        super().__init__(image_shape, latent_dim)
        channels, height, width = reduced("IANGenerator", image_shape, len(widths) - 1)
        layers: list[nn.Module] = [nn.Linear(latent_dim, widths[0] * height * width), nn.LeakyReLU(0.2)]
        layers.append(nn.Unflatten(1, (widths[0], height, width)))
        for stage, (before, after) in enumerate(pairwise(widths), 1):
            layers.append(nn.ConvTranspose2d(before, after, 5, 2, 2, output_padding=1, bias=False))
            layers.append(nn.BatchNorm2d(after))
            if stage < len(widths) - 1:
                side = min(height, width) * 2**stage
                layers.append(MultiscaleBlock(after, [scale for scale in scales if scale <= side // 4]))
        self.layers = nn.Sequential(*layers, nn.LeakyReLU(0.2)).apply(small_normal)
        self.end = BetaMeans(widths[-1], channels)

    def forward(self, latent: Tensor) -> Tensor:  # noqa: D102
        return self.end(self.layers(latent))


class BetaMeans(nn.Module):
    r"""Means of beta laws, one for each value, in [-1, 1]; a channel knows the laws of those before it.

    $x = 2 \alpha / (\alpha + \beta) - 1$ with $\alpha, \beta$ in (0, 1) from multiscale convolutions: RGB-Beta.

    Args:
        in_channels: Of the features.
        out_channels: Of the picture.
        scales: See `MultiscaleDilatedConv2d`.
    """

    def __init__(self, in_channels: int, out_channels: int, scales: Sequence[int] = (2, 3, 4)) -> None:
        super().__init__()
        self.own = MultiscaleDilatedConv2d(in_channels, 2 * out_channels, scales)
        counts = range(1, out_channels)
        self.earlier = nn.ModuleList(MultiscaleDilatedConv2d(2 * count, 2, scales) for count in counts)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        laws: list[Tensor] = []
        for channel, logits in enumerate(self.own(maps).chunk(self.own.weight.shape[0] // 2, 1)):
            if channel:
                logits = logits + self.earlier[channel - 1](torch.cat(laws, 1))
            laws.append(logits.sigmoid())
        alpha, beta = torch.stack(laws, 1).unbind(2)  # (B, out_channels, H, W) each
        return 2 * alpha / (alpha + beta) - 1


def small_normal(module: nn.Module) -> None:
    """Weights N(0, 0.02) of convolutions and linear layers, as in the authors' code."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
