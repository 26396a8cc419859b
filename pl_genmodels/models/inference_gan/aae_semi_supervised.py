"""Adversarial autoencoder that learns classes from few labels (Makhzani et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.models.categorical_autoencoder import CategoricalAutoencoder
from pl_genmodels.models.naming import NamingModule
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.types import Batch, Paper, Terms


class AAESemiSupervised(NamingModule, CategoricalAutoencoder):
    r"""Categories of all samples follow one-hot draws; of the few whose class k is told, $-\log y_k$ falls (section 5).

    That is a fourth phase with an optimiser of its own. See `NamingModule` for labels and the accuracy that is logged.

    Args:
        image_shape: See `GenerativeModule`.
        optimizer_classifier: Called with the encoder's parameters.
        scheduler_classifier: Called with that optimiser.
        **kwargs: See `CategoricalAutoencoder`.
    """

    paper = Paper(
        "Adversarial Autoencoders",
        "Makhzani et al.",
        2016,
        "https://arxiv.org/abs/1511.05644",
        "few labels say what the categories of a code mean, all samples how they are spread",
    )
    players = ("autoencoder", "discriminator", "classifier", "encoder")

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        optimizer_classifier: Callable[[Iterable], Optimizer] = GANAdam,
        scheduler_classifier: Callable[[Optimizer], LRScheduler] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, **kwargs)
        self.optimizer_factories["classifier"] = optimizer_classifier
        self.scheduler_factories["classifier"] = scheduler_classifier

    @property
    def num_classes(self) -> int:
        """The categories."""
        return self.num_categories

    def read_batch(self, batch: Any) -> Batch:
        """A batch by name.

        Raises:
            ValueError: If there are no labels, or one of the first is out of range.
        """
        named = super().read_batch(batch)
        if "label" not in named:
            raise ValueError(
                f"batch: has keys {sorted(named)}, but an AAESemiSupervised needs 'label' too; allowed without labels "
                "is AAEClustering"
            )
        self.check_labels(named)
        return named

    def classifier_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Of labelled samples the class."""
        images, labels = self.labelled(batch)
        return {"supervised": self.cross_entropy(self.category_logits(self.encoder(images)), labels)}

    def classify(self, images: Tensor) -> Tensor:
        """Most likely class of each sample, in evaluation mode, (B, *image_shape) to (B,)."""
        return self.most_likely(images)
