"""Few labels for many images: what semi-supervised learning gets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pl_genmodels.data.loader import TensorSet
from pl_genmodels.data.seeds import stable_seed
from pl_genmodels.types import Batch

HIDDEN = -1
"""The label of an item whose label is not told."""


class FewLabels(TensorSet):
    """A data set most labels of which are hidden; each item comes with one whose label is known.

    The known ones take turns as `labelled_image` and `labelled_label`, so that each goes with as many items as any
    other: a batch in random order brings labelled items in random order, as often as the authors of Improved GAN tile
    theirs (Salimans et al. 2016).

    Args:
        data: `image` and `label`.
        known: Indices of the items whose labels are told, (L,).
    """

    def __init__(self, data: TensorSet, known: Tensor) -> None:
        hidden = torch.full_like(data.tensors["label"], HIDDEN)
        hidden[known] = data.tensors["label"][known]
        super().__init__({**data.tensors, "label": hidden}, data.name)
        self.partners = known[torch.arange(len(hidden)) % len(known)]

    def __getitem__(self, index: int) -> Batch:
        return {key: value[0] for key, value in self.gather(torch.tensor([index])).items()}

    def gather(self, indices: Tensor) -> Batch:
        """Batch of the items with these indices, each with its labelled partner.

        Args:
            indices: int64 (B,).

        Returns:
            Each tensor's rows, (B, ...), and `labelled_image` and `labelled_label`.
        """
        partners = super().gather(self.partners.index_select(0, indices))
        return {**super().gather(indices), **{f"labelled_{key}": partners[key] for key in ("image", "label")}}


def with_few_labels(data: Dataset, labels_per_class: int, seed: int) -> FewLabels:
    """Hide all but some labels, equally many of each class.

    Args:
        data: A `TensorSet` with `label`.
        labels_per_class: How many to tell.
        seed: Of the choice, which is the same for the same seed on every machine.

    Raises:
        ValueError: If there are no labels, the data are not held in memory, or some class has fewer.
    """
    name = getattr(data, "name", type(data).__name__)
    asked = f"labels_per_class: got {labels_per_class}, allowed"
    if not isinstance(data, TensorSet) or "label" not in data.tensors:
        raise ValueError(f"{asked} for {name} is none, because it has no labels or is not held in memory")
    labels = data.tensors["label"]
    generator = torch.Generator().manual_seed(stable_seed("labels", seed))
    order = torch.randperm(len(labels), generator=generator)
    classes, counts = labels.unique(return_counts=True)
    if not 1 <= labels_per_class <= int(counts.min()):
        raise ValueError(f"{asked} for {name} is 1 to {int(counts.min())}, the size of its smallest class")
    known = torch.cat([order[labels[order] == each][:labels_per_class] for each in classes])
    return FewLabels(data, known[torch.randperm(len(known), generator=generator)])


class Partners(TensorSet):
    """A data set each item of which comes with the `image` of another one of its label, as `partner`.

    Args:
        data: `image` and `label`.
        partner: Index of each item's partner, (N,).
    """

    def __init__(self, data: TensorSet, partner: Tensor) -> None:
        super().__init__(data.tensors, data.name)
        self.partner = partner

    def __getitem__(self, index: int) -> Batch:
        return {key: value[0] for key, value in self.gather(torch.tensor([index])).items()}

    def gather(self, indices: Tensor) -> Batch:
        """Batch of the items with these indices, int64 (B,), and `partner`, (B, *image_shape)."""
        partners = self.tensors["image"].index_select(0, self.partner.index_select(0, indices))
        return {**super().gather(indices), "partner": partners}


def with_partners(data: Dataset) -> Partners:
    """Give each item another one of its label: the classes' items in a random order that never changes, in a ring.

    Args:
        data: A `TensorSet` with `label`.

    Raises:
        ValueError: If there are no labels, the data are not held in memory, or some class has a single item.
    """
    name = getattr(data, "name", type(data).__name__)
    if not isinstance(data, TensorSet) or "label" not in data.tensors:
        raise ValueError(
            f"partners: got true, allowed for {name} is false, because it has no labels or is not in memory"
        )
    labels = data.tensors["label"]
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(stable_seed("partners", name)))
    partner = torch.empty_like(order)
    for label in labels.unique():
        ring = order[labels[order] == label]
        if len(ring) < 2:
            raise ValueError(f"partners: got true, but {name} has only one item of label {int(label)}")
        partner[ring] = ring.roll(-1)
    return Partners(data, partner)
