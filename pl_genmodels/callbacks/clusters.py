"""How well the clusters that a model finds by itself agree with classes."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from pl_genmodels.metrics.clustering import confusion, majority_accuracy, matched_accuracy


class ClusterAccuracy(Callback):
    """Logs how well the clusters of held-out images agree with their labels, as `val/` or `test/`.

    `clustering_accuracy` is under the best one-to-one match of clusters and classes, `clustering_majority` counts the
    most frequent class of each cluster, `clusters_used` says how many clusters have images. It needs a model that
    clusters, such as `InfoGAN`, `CatGAN` and `AAEClustering`, and data with labels.

    Raises:
        ValueError: For a model that does not cluster.
    """

    def __init__(self) -> None:
        self._counts: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Refuse models that do not cluster."""
        if not hasattr(pl_module, "cluster"):
            raise ValueError(
                f"ClusterAccuracy: got {type(pl_module).__name__}, allowed are models that cluster, such as InfoGAN"
            )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Count anew."""
        self._counts = None

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count a batch."""
        named = pl_module.plain_batch(batch) if hasattr(pl_module, "plain_batch") else pl_module.read_batch(batch)
        if "label" not in named:
            raise ValueError(f"batch: has keys {sorted(named)}, but ClusterAccuracy needs 'label' too")
        clusters, labels = pl_module.cluster(named["image"]), named["label"]
        size = 1 + max(int(clusters.max()), int(labels.max()))
        counts = confusion(clusters, labels, size, size)
        if self._counts is not None:
            size = max(size, len(self._counts))
            counts = _padded(counts, size) + _padded(self._counts, size)
        self._counts = counts

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Log what all ranks have counted."""
        self._log(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Log what all ranks have counted."""
        self._log(trainer, pl_module, "test")

    def _log(self, trainer: Trainer, module: Any, split: str) -> None:
        if self._counts is None or trainer.sanity_checking:
            return
        own = torch.tensor(len(self._counts), device=self._counts.device)
        size = int(trainer.strategy.reduce(own, reduce_op="max"))
        counts: Any = trainer.strategy.reduce(_padded(self._counts, size), reduce_op="sum")
        values = {
            f"{split}/clustering_accuracy": matched_accuracy(counts),
            f"{split}/clustering_majority": majority_accuracy(counts),
            f"{split}/clusters_used": float((counts.sum(1) > 0).sum()),
        }
        module.log_dict(values, rank_zero_only=False)


def _padded(counts: Tensor, size: int) -> Tensor:
    return torch.nn.functional.pad(counts, (0, size - len(counts), 0, size - len(counts)))
