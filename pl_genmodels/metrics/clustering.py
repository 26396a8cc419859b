"""How well clusters agree with classes that were not used to find them."""

from __future__ import annotations

import torch
from torch import Tensor


def confusion(clusters: Tensor, labels: Tensor, num_clusters: int, num_classes: int) -> Tensor:
    """How many samples are in each cluster and class, (B,) and (B,) to (num_clusters, num_classes)."""
    return torch.bincount(clusters * num_classes + labels, minlength=num_clusters * num_classes).view(
        num_clusters, num_classes
    )


def matched_accuracy(counts: Tensor) -> float:
    """Share of samples in the class that their cluster stands for, under the best one-to-one match.

    Args:
        counts: Samples in each cluster and class, (num_clusters, num_classes). Where there are more clusters than
            classes, some stand for none.
    """
    from scipy.optimize import linear_sum_assignment

    table = counts.cpu().numpy()
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / table.sum())


def majority_accuracy(counts: Tensor) -> float:
    """Share of samples in the most frequent class of their cluster, as where clusters outnumber classes."""
    return float(counts.max(1).values.sum() / counts.sum())
