"""Adversarial autoencoder that finds clusters (Makhzani et al. 2016)."""

from __future__ import annotations

from torch import Tensor

from pl_genmodels.models.categorical_autoencoder import CategoricalAutoencoder
from pl_genmodels.types import Paper


class AAEClustering(CategoricalAutoencoder):
    r"""Each sample's code is one of K clusters and a style, and nobody says which clusters there are (section 6).

    What keeps the clusters from becoming one, as measured on digits: batch normalisation in the encoder, noise on what
    $D_{cat}$ sees (`category_noise`), a $D_{cat}$ that learns fast (Adam at 1e-3), and the reconstruction's error as a
    sum over values (`reconstruction_weight` is their number).

    See `CategoricalAutoencoder` for the arguments; `prior` says how many clusters there are.
    """

    paper = Paper(
        "Adversarial Autoencoders",
        "Makhzani et al.",
        2016,
        "https://arxiv.org/abs/1511.05644",
        "a code of one cluster and a style, matched to one-hot draws without any label",
    )

    def cluster(self, images: Tensor) -> Tensor:
        """Cluster of each sample, (B, *image_shape) to (B,)."""
        return self.most_likely(images)
