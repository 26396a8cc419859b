"""The same images of the data all through training, for pictures of what a model makes of them."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils.data import default_collate

from pl_genmodels.callbacks.fidelity import real_images
from pl_genmodels.types import Batch, as_batch


def spread_batch(data: Any, split: str, number: int) -> Batch:
    """Items of a split, evenly taken, since many data sets are sorted by class.

    Args:
        data: A data module of this package.
        split: "train", "val" or "test".
        number: How many; fewer if there are fewer.

    Returns:
        The batch as models read it.
    """
    dataset = data.evaluation_loader(split).dataset
    indices = torch.linspace(0, len(dataset) - 1, min(number, len(dataset))).round().long().tolist()
    return data.on_after_batch_transfer(default_collate([dataset[index] for index in indices]), 0)


def fixed_batch(trainer: Trainer, module: Any, number: int) -> Batch:
    """Images of the validation data, or of the training data if nothing validates.

    Args:
        trainer: Whose data.
        module: Whose keys name the entries of a tuple.
        number: How many; fewer if there are fewer.

    Returns:
        The batch as models read it, on the CPU: evenly taken from a data module of this package, else the first ones.
    """
    data: Any = getattr(trainer, "datamodule", None)
    if hasattr(data, "evaluation_loader"):
        return spread_batch(data, "val", number)
    try:
        loader, _ = real_images(trainer, "val")
    except ValueError:
        loader, _ = real_images(trainer, "train")
    found: list[Batch] = []
    with torch.random.fork_rng(devices=[]):
        for batch in loader:
            found.append(as_batch(batch, module.batch_keys))
            if sum(len(part[module.batch_keys[0]]) for part in found) >= number:
                break
    return {key: torch.cat([part[key] for part in found])[:number].cpu() for key in found[0]}
