"""Reading the images of anyone's data loader once each, without disturbing the loader."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from pl_genmodels.metrics.processes import rank_and_size


def every_image_once(loader: Iterable[Any]) -> Iterable[Any]:
    """A loader of the same batches for measuring, that leaves the given one's position and random numbers alone.

    Of a `DataLoader` with one of torch's plain samplers, processes read every item exactly once: no shuffling, nothing
    dropped at the end, and none of the repeats by which distributed samplers even out the shares. Other samplers are
    copied and give what they give. Anything that is no `DataLoader` is returned as it is.
    """
    if not isinstance(loader, DataLoader):
        return loader
    settings: dict[str, Any] = {
        "num_workers": loader.num_workers,
        "collate_fn": loader.collate_fn,
        "worker_init_fn": loader.worker_init_fn,
        "multiprocessing_context": loader.multiprocessing_context,
        "generator": torch.Generator().manual_seed(0),
    }
    dataset = loader.dataset
    if isinstance(dataset, IterableDataset):
        return DataLoader(dataset, loader.batch_size, **settings)
    if type(loader.sampler) in (SequentialSampler, RandomSampler, DistributedSampler) and loader.batch_size:
        rank, size = rank_and_size()
        share = range(rank, len(dataset), size)  # type: ignore[arg-type]
        return DataLoader(dataset, loader.batch_size, sampler=share, **settings)
    shared = {id(dataset): dataset}  # samplers may point to the data set, which is not copied
    if loader.batch_size is None and loader.batch_sampler is not None:
        return DataLoader(dataset, batch_sampler=copy.deepcopy(loader.batch_sampler, shared), **settings)
    sampler = copy.deepcopy(loader.sampler, shared)
    return DataLoader(dataset, loader.batch_size, sampler=sampler, **settings)
