"""Adversarial autoencoder whose codes are points of a plane, or of few dimensions (Makhzani et al. 2016)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.labelled_autoencoder import LabelledAutoencoder
from pl_genmodels.models.latents import draw_latents
from pl_genmodels.networks import ClusterHeads
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class AAEReduction(LabelledAutoencoder):
    r"""A sample's code is the head of its category with a style of as many coordinates, $W_C y + z$ (section 7).

    As in `AAESemiSupervised` the encoder gives $y = \mathrm{softmax}(l(x))$ and z, two discriminators compare them with
    one-hot vectors and with the style's law, and labels, where there are some, say what categories mean. The decoder
    sees $W_C y + z$ alone. The heads, rows of $W_C^T$, are learnt with the autoencoder, whose objective has
    $\sum_{j<k} \max(0, \eta - \|w_j - w_k\|)$ besides: without it they stay together and the styles' clouds overlap.

    Latents are these points: `encode` gives them, `sample` draws a category and a style.

    Args:
        image_shape: See `GenerativeModule`.
        labels: Whether labels say what the categories mean; without them categories are clusters, as in
            `AAEClustering`.
        head_distance: eta, how far heads are to be from each other at least, in units of the style.
        head_weight: Of what heads lack of that distance.
        **kwargs: See `LabelledAutoencoder`; the generator's `latent_dim` is the number of coordinates.

    Raises:
        ValueError: For a negative distance or weight.
    """

    paper = Paper(
        "Adversarial Autoencoders",
        "Makhzani et al.",
        2016,
        "https://arxiv.org/abs/1511.05644",
        "codes in the plane: a head for each category, learnt and kept apart, and a style around it",
    )
    without_labels = "labels: false"
    heads: ClusterHeads

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        labels: bool = True,
        head_distance: float = 6.0,
        head_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        for name, value in (("head_distance", head_distance), ("head_weight", head_weight)):
            if value < 0:
                raise ValueError(f"{name}: got {value}, allowed is 0 or more")
        self.labels, self.head_distance, self.head_weight = labels, head_distance, head_weight
        super().__init__(image_shape, **kwargs)

    # ---- networks

    @property
    def num_classes(self) -> int:
        """Classes that are learnt from labels, 0 for none."""
        return self.num_categories if self.labels else 0

    @property
    def code_dim(self) -> int:
        """Length of category and style."""
        return self.num_categories + self.generator.latent_dim

    def build(self, image_shape: ImageShape) -> None:
        """Create the networks, and the heads at random places about as far apart as they are to be."""
        super().build(image_shape)
        self.heads = ClusterHeads(self.num_categories, self.generator.latent_dim, self.head_distance or 1.0)

    def player_networks(self, player: str) -> list[nn.Module]:
        """The heads are learnt with encoder and decoder."""
        return [*super().player_networks(player), *([self.heads] if player == "autoencoder" else [])]

    # ---- the players

    def plays(self, player: str) -> bool:
        """Nobody classifies without labels."""
        return player != "classifier" or self.labels

    def decoded(self, codes: Tensor, batch: Batch) -> Tensor:
        """Samples for categories and styles with gradient, (B, K + n) to (B, *image_shape)."""
        return self.generator(self.heads(codes))

    def autoencoder_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The error of the way there and back, and what the heads lack of their distance."""
        terms = super().autoencoder_terms(batch, generated)
        apart = torch.pdist(at_least_single(self.heads.positions()))
        lacking = (self.head_distance - apart).clamp(min=0).sum()
        return {**terms, "heads": (self.head_weight * lacking).expand(len(batch["image"]))}

    # ---- latents are places

    def place(self, codes: Tensor) -> Tensor:
        """Places of categories and styles without gradient, in at least single precision, (B, K + n) to (B, n)."""
        with evaluating(self.heads):
            return at_least_single(self.heads(codes.to(self.heads.weight.dtype)))

    def draw_latents(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:
        """Places of draws from the prior, (num_samples, latent_dim); see `sample` for the arguments."""
        return self.place(self._draw_codes(num_samples, seed=seed, first=first))

    def draw_latents_of(
        self, label: Tensor | int, num_samples: int, *, seed: int | None = None, first: int = 0
    ) -> Tensor:
        """Places around the heads of categories, (num_samples, latent_dim); see `MixtureAutoencoder`."""
        return self.place(super().draw_latents_of(label, num_samples, seed=seed, first=first))

    def encode(self, image: Tensor) -> Tensor:
        """Places, (B, *image_shape) to (B, latent_dim)."""
        return self.place(super().encode(image))

    def cluster(self, images: Tensor) -> Tensor:
        """Category of each sample, whose numbers mean nothing without labels, (B, *image_shape) to (B,)."""
        return self.most_likely(images)

    def _draw_codes(self, num_samples: int, **options: Any) -> Tensor:
        return draw_latents(self.prior, num_samples, self.code_dim, self.device, **options)

    def _training_latents(self, num_samples: int) -> Tensor:
        return self._draw_codes(num_samples).to(next(self.generator.parameters()).dtype)
