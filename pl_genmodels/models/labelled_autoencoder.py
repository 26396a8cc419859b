"""Adversarial autoencoders that learn classes from few labels: the base of AAESemiSupervised and AAEReduction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.models.categorical_autoencoder import CategoricalAutoencoder
from pl_genmodels.models.naming import NamingModule
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.types import Batch, Terms


class LabelledAutoencoder(NamingModule, CategoricalAutoencoder):
    r"""A fourth phase with an optimiser of its own: of the few samples whose class k is told, $-\log y_k$ falls.

    Makhzani et al. 2016, section 5. See `NamingModule` for labels and the accuracy that is logged.

    Args:
        image_shape: See `GenerativeModule`.
        optimizer_classifier: Called with the encoder's parameters.
        scheduler_classifier: Called with that optimiser.
        **kwargs: See `CategoricalAutoencoder`.

    Attributes:
        without_labels: What is to be taken where there are no labels.
    """

    players = ("autoencoder", "discriminator", "classifier", "encoder")
    without_labels: ClassVar[str]

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

    @property
    def label_need(self) -> str:
        """The classifier's phase needs them."""
        return f"an {type(self).__name__} needs 'label' too; allowed without labels is {self.without_labels}"

    def classifier_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Of labelled samples the class."""
        images, labels = self.labelled(batch)
        return {"supervised": self.cross_entropy(self.category_logits(self.encoder(images)), labels)}

    def classify(self, images: Tensor) -> Tensor:
        """Most likely class of each sample, in evaluation mode, (B, *image_shape) to (B,)."""
        return self.most_likely(images)
