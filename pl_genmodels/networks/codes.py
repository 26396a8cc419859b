"""Discriminators of codes that are a category and a style."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from pl_genmodels.layers.noise import GaussianNoise
from pl_genmodels.networks.base import Discriminator
from pl_genmodels.networks.mlp import MLPDiscriminator
from pl_genmodels.specs import Recorded


class CodeDiscriminators(Recorded, nn.Module):
    """One discriminator of the first K numbers of a code, its category, and one of the rest, its style.

    Args:
        num_categories: K.
        style_dim: Length of the rest.
        discriminator: Called with the shapes (K,) and (style_dim,).
        category_noise: Standard deviation of the normal noise on categories in training.
    """

    supplied = ("num_categories", "style_dim")

    def __init__(
        self,
        num_categories: int,
        style_dim: int,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        category_noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.parts = [num_categories, style_dim]
        self.noise = GaussianNoise(category_noise)
        self.of_category, self.of_style = discriminator((num_categories,)), discriminator((style_dim,))

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the category and of the style, (B, K + style_dim) to (B,) each."""
        category, style = codes.split(self.parts, 1)
        return self.of_category(self.noise(category)), self.of_style(style)
