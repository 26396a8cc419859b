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
    loader = data.evaluation_loader(split)
    dataset = loader.dataset
    indices = torch.linspace(0, len(dataset) - 1, min(number, len(dataset))).round().long().tolist()
    return data.on_after_batch_transfer(loader.fitted(default_collate([dataset[index] for index in indices])), 0)


def fixed_images(trainer: Trainer, module: Any, number: int) -> Batch:
    """Images of the validation data: evenly taken from a data module of this package, else the first ones.

    Args:
        trainer: Whose data; those of training where nothing validates.
        module: Whose keys name the entries of a tuple.
        number: How many; fewer if there are fewer.

    Returns:
        The batch as models read it, on the CPU.
    """
    data: Any = getattr(trainer, "datamodule", None)
    return (
        spread_batch(data, "val", number)
        if hasattr(data, "evaluation_loader")
        else fixed_batch(trainer, module, number)
    )


def fixed_batch(trainer: Trainer, module: Any, number: int) -> Batch:
    """The first samples of the validation data, or else of the training data, as models read them.

    Args:
        trainer: Whose data.
        module: Whose keys name the entries.
        number: How many; fewer if there are fewer on this rank.

    Returns:
        What the model names and the data hold, such as `source` and `target`, (number, ...) each, on the CPU.
    """
    try:
        loader, _ = real_images(trainer, "val")
    except ValueError:  # nothing validates
        loader, _ = real_images(trainer, "train")
    data: Any = getattr(trainer, "datamodule", None)
    convert = getattr(data, "on_after_batch_transfer", None) if hasattr(data, "evaluation_loader") else None
    found: list[Batch] = []
    with torch.random.fork_rng(devices=[]):
        for batch in loader:
            batch = as_batch(batch if convert is None else convert(batch, 0), module.batch_keys)
            found.append({key: batch[key] for key in module.batch_keys if key in batch})
            if sum(len(part[module.batch_keys[0]]) for part in found) >= number:
                break
    return {key: torch.cat([part[key] for part in found])[:number].cpu() for key in found[0]}
