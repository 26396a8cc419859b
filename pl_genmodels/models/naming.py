"""Models that learn the classes of samples from labels, some of which may be hidden, and log their accuracy."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.models.adversarial import AdversarialModule
from pl_genmodels.models.conditions import require_classes
from pl_genmodels.models.engine import data_of
from pl_genmodels.types import Batch

HIDDEN = -1  # the label of a sample whose class nobody tells


class NamingModule(AdversarialModule):
    """Players one of whom learns classes.

    Labels are `labelled_label` of `labelled_image` where a batch has these, else `label`, in which -1 hides one. The
    share of right answers is logged for validation and test sets as `val/accuracy` and `test/accuracy`.
    """

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """Classes that are told apart, 0 for none."""

    @abstractmethod
    def classify(self, images: Tensor) -> Tensor:
        """Most likely class of each sample, in evaluation mode, (B, *image_shape) to (B,)."""

    @property
    @abstractmethod
    def label_need(self) -> str:
        """Who needs labels, and what is allowed without them, for the sentence that says so."""

    def read_batch(self, batch: Any) -> Batch:
        """A batch by name.

        Raises:
            ValueError: If labels are needed and are not there, or one of the first is out of range.
        """
        named = super().read_batch(batch)
        if not self.num_classes:
            return named
        if "label" not in named:
            raise ValueError(f"batch: has keys {sorted(named)}, but {self.label_need}")
        self.check_labels(named)
        return named

    def check_labels(self, batch: Batch) -> None:
        """Look at the labels of a run's first batch.

        Raises:
            ValueError: If one is out of range.
        """
        if self.images_seen:
            return
        images, labels = self.labelled(batch)
        if labels.shape != (len(images),):
            raise ValueError(f"label: got shape {tuple(labels.shape)}, allowed is one class a sample, ({len(images)},)")
        require_classes(self.num_classes, data_of(self))
        if bool(((labels < HIDDEN) | (labels >= self.num_classes)).any()):
            raise ValueError(
                f"num_classes: got {self.num_classes}, but there are labels from {int(labels.min())} to "
                f"{int(labels.max())}; allowed are 0 to {self.num_classes - 1}, and {HIDDEN} for a hidden one"
            )

    def labelled(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Samples and their labels, some of which may be hidden, (B, *image_shape) and (B,)."""
        if "labelled_image" in batch:
            return batch["labelled_image"], batch["labelled_label"]
        return batch["image"], batch["label"]

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """-log p(label) over the classes of real samples, 0 where the label is hidden, (B, num_classes) to (B,)."""
        return F.cross_entropy(logits, labels, reduction="none", ignore_index=HIDDEN)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Share of the validation set that is named rightly."""
        self._log_accuracy(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Share of the test set that is named rightly."""
        self._log_accuracy(batch, "test")

    def _log_accuracy(self, batch: Any, split: str) -> None:
        if self.num_classes:
            batch = self.read_batch(batch)
            right = (self.classify(batch["image"]) == batch["label"]).float()
            self.log(f"{split}/accuracy", right.mean(), batch_size=len(right), sync_dist=True)
