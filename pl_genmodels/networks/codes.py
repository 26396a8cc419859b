"""Codes that are a category and a style: their discriminators, and their place in a space of few dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
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


class ClusterHeads(Recorded, nn.Module):
    r"""Where codes lie: a category's head with the style around it, $W_C y + z$ (Makhzani et al. 2016, section 7).

    Args:
        num_categories: K.
        dim: Length of a style and of a place, n.
        deviation: Of the heads' coordinates at the start.
    """

    supplied = ("num_categories", "dim")

    def __init__(self, num_categories: int, dim: int, deviation: float = 1.0) -> None:
        super().__init__()
        self.num_categories, self.dim = num_categories, dim
        self.weight = nn.Parameter(deviation * torch.randn(num_categories, dim))  # W_C, transposed

    def forward(self, codes: Tensor) -> Tensor:
        """Places of categories, or of shares of them, with a style behind, (B, K + n) to (B, n)."""
        category, style = codes.split([self.num_categories, self.dim], 1)
        return category @ self.weight + style

    def positions(self) -> Tensor:
        """The heads themselves, (K, n), by a call, in which a sharded weight is whole."""
        options: dict[str, Any] = {"dtype": self.weight.dtype, "device": self.weight.device}
        return self(torch.eye(self.num_categories, self.num_categories + self.dim, **options))
