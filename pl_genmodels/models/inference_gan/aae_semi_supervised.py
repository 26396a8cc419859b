"""Adversarial autoencoder that learns classes from few labels (Makhzani et al. 2016)."""

from __future__ import annotations

from pl_genmodels.models.labelled_autoencoder import LabelledAutoencoder
from pl_genmodels.types import Paper


class AAESemiSupervised(LabelledAutoencoder):
    r"""Categories of all samples follow one-hot draws; of the few whose class k is told, $-\log y_k$ falls (section 5).

    See `LabelledAutoencoder` for the arguments; `prior` says how many classes there are.
    """

    paper = Paper(
        "Adversarial Autoencoders",
        "Makhzani et al.",
        2016,
        "https://arxiv.org/abs/1511.05644",
        "few labels say what the categories of a code mean, all samples how they are spread",
    )
    without_labels = "AAEClustering"
