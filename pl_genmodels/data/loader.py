"""A loader that gathers whole batches by index, resumes at any batch and shares its data among ranks by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pl_genmodels.data.pictures import centred
from pl_genmodels.data.seeds import item_seeds, seeds, stable_seed
from pl_genmodels.types import Batch, as_batch


def named(batch: Any) -> Batch:
    """A batch or item by name.

    Args:
        batch: A mapping with any keys, or what `as_batch` can name.

    Returns:
        A new dict.
    """
    return dict(batch) if isinstance(batch, Mapping) else as_batch(batch)


def shard() -> tuple[int, int]:
    """Rank of this process and the number of processes, (0, 1) outside of `torch.distributed`."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class TensorSet(Dataset[Batch]):
    """Data set held in memory as one tensor per key, from which a whole batch is gathered by one index operation.

    Args:
        tensors: The data by key, each (N, ...) with the same N; images as uint8 (N, C, H, W).
        name: What error messages call the data set.

    Raises:
        ValueError: If there is no tensor, or their lengths differ.
    """

    def __init__(self, tensors: Mapping[str, Tensor], name: str = "TensorSet") -> None:
        lengths = {key: len(tensor) for key, tensor in tensors.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"tensors: got lengths {lengths}, allowed is one length that all tensors share")
        self.tensors = dict(tensors)
        self.name = name

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: int) -> Batch:
        return {key: tensor[index] for key, tensor in self.tensors.items()}

    def gather(self, indices: Tensor) -> Batch:
        """Batch of the items with these indices.

        Args:
            indices: int64 (B,).

        Returns:
            Each tensor's rows, (B, ...).
        """
        return {key: tensor.index_select(0, indices) for key, tensor in self.tensors.items()}


class _IndexBatches:
    """The index lists that an inner DataLoader takes as its batch sampler, made one at a time."""

    def __init__(self, batches: tuple[Tensor, ...]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Epochs:
    """What Lightning finds as `loader.batch_sampler.sampler`: before each epoch it calls its `set_epoch`.

    The loader itself has no `sampler`, because Lightning would then try to exchange it (`overfit_batches`).
    """

    def __init__(self, loader: Loader) -> None:
        self.sampler = self
        self.set_epoch = loader.set_epoch


class Loader:
    """Sized iterable of batches. It is no `DataLoader`, so Lightning puts no sampler of its own into it.

    The order of an epoch is a function of (seed, epoch) alone; no global random state is read or changed. Of every
    global batch, `world_size * batch_size` consecutive indices of that order, rank r takes each `world_size`-th index
    from the r-th on, so the union of the ranks' batches is what one process with the larger batch size would see.
    Rank and world size are those of `torch.distributed` when the loader is iterated (or its length taken).

    Shares of the ranks:
        `drop_last=True`: whole global batches only; the rest of the epoch's order is left out, nothing is repeated.
        `drop_last=False, shuffle=True`: the order is continued from its start until all ranks have equally many items.
        `drop_last=False, shuffle=False` (evaluation): no item is repeated or left out; shares differ by at most one
        item. The number of batches is still the same on all ranks (a rank with one item less splits its last full
        batch if it has to), because DDP broadcasts buffers at each forward. Only with `batch_size=1`, or fewer items
        than ranks, can some ranks have one batch less: then use no collective operation per batch.

    Each pass over the loader is the next epoch; one that was broken off is over. A trainer that counts batches by
    itself, and says so by `set_epoch` before its epochs (Lightning does), gets the shuffled batches as one stream
    instead: where it stops early (`limit_train_batches`, `max_steps`), its next epoch continues with what is left.
    So the position alone tells what comes next, whatever the trainer's own count was when a checkpoint was written.
    After `load_state_dict` the next pass starts at the stored position without touching the batches before it.

    Args:
        dataset: One that can `gather` a batch, such as a `TensorSet`, or any map-style data set (its items are collated
            by an inner DataLoader).
        batch_size: Items per batch and rank.
        shuffle: Whether the order is a random permutation.
        seed: Of the order.
        drop_last: Whether to leave out what does not fill a batch on every rank.
        num_workers: Processes that decode items of a map-style data set; started anew each epoch.
        pin_memory: Whether batches lie in page-locked memory; needs CUDA.
        flip: Whether to add a boolean `flip` (B,), a fair coin per item and epoch (the same for any number of ranks),
            that `ImageData` applies on the device.
        jitter: Whether to add `crop` (B, 2), places along height and width in [0, 1), drawn per item and epoch, of the
            squares that `ImageData` cuts out of larger pictures on the device.
        size: Side of the squares that are cut out of the middle of larger pictures at once; None, or with `jitter`,
            for none.
        noise: Whether to add a seed for each item's draws on the device, `noise` int64 (B,): "visit", another one each
            epoch (the same for any number of ranks); "item", the one that `item_seeds` says; None, none.

    Raises:
        ValueError: If the data set is empty or, with `drop_last`, smaller than one batch on all ranks, or an argument
            is out of range.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        drop_last: bool = False,
        num_workers: int = 0,
        pin_memory: bool = False,
        flip: bool = False,
        jitter: bool = False,
        size: int | None = None,
        noise: str | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: got {batch_size}, allowed is 1 or more")
        if num_workers < 0:
            raise ValueError(f"num_workers: got {num_workers}, allowed is 0 or more")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.flip = flip
        self.jitter = jitter
        self.size = None if jitter else size
        self.noise = noise
        self.batch_sampler = _Epochs(self)
        self._epoch = 0
        self._batch = 0  # the next one, within the epoch
        self._driven = False  # by a trainer that counts batches itself
        self._resuming = False
        self._shares()  # a data set that is too small is told here, not at the first batch

    def __len__(self) -> int:
        """Batches of this rank per epoch."""
        rank, world = shard()
        share = -(-(self._shares() - rank) // world)
        return min(self._num_batches(), share)

    def __iter__(self) -> Iterator[Any]:
        # A generator: nothing below runs before the first batch is asked for, and Lightning calls iter() more often
        # than it trains epochs. It never exhausts a sized loader, so nothing may stand after the last yield either.
        stream = self._driven and self.shuffle
        epoch, batch, length = self._epoch, self._batch, len(self)
        if batch and (batch >= length or not (stream or self._resuming)):
            epoch, batch = epoch + 1, 0
        self._resuming = False
        left = length if stream else length - batch
        while left:
            for loaded in islice(self._batches(epoch, batch), left):
                batch, left = batch + 1, left - 1
                self._epoch, self._batch = epoch, batch
                yield loaded
            epoch, batch = epoch + 1, 0

    def set_epoch(self, epoch: int) -> None:
        """Tell that a trainer which counts batches by itself begins an epoch.

        Args:
            epoch: Its number, at which the first such epoch starts, unless a position was loaded.
        """
        if not self._driven and not self._resuming:
            self._epoch, self._batch = epoch, 0
        self._driven = True

    def state_dict(self) -> dict[str, int]:
        """Position of the next batch, the same on every rank."""
        _, world = shard()
        return {"epoch": self._epoch, "batch": self._batch, "batch_size": self.batch_size, "world_size": world}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a stored position.

        With another batch size or number of ranks the same items count as seen, rounded up to a whole batch.

        Args:
            state: What `state_dict` returned.

        Raises:
            ValueError: If an entry is missing.
        """
        if missing := self.state_dict().keys() - state.keys():
            raise ValueError(f"state: got keys {sorted(state)}, but the position of a Loader needs {sorted(missing)}")
        _, world = shard()
        seen = state["batch"] * state["batch_size"] * state["world_size"]
        self._epoch = state["epoch"]
        self._batch = -(-seen // (self.batch_size * world))
        self._resuming = True

    def fitted(self, batch: Any) -> Batch:
        """A batch by name, its pictures cut to `size` if there is one."""
        batch = named(batch)
        return batch if self.size is None else {key: centred(value, self.size) for key, value in batch.items()}

    def rank_indices(self, epoch: int = 0) -> Tensor:
        """Indices into the data set that this rank visits in an epoch, in order.

        Args:
            epoch: Number of the epoch; without effect if nothing is shuffled.

        Returns:
            int64, as many as this rank's share.
        """
        rank, world = shard()
        positions = torch.arange(self._shares())[rank::world] % len(self.dataset)  # type: ignore[arg-type]
        if not self.shuffle:
            return positions
        return self.order(epoch)[positions]

    def order(self, epoch: int) -> Tensor:
        """Indices into the data set as all ranks together visit them in an epoch.

        Args:
            epoch: Number of the epoch.

        Returns:
            int64 (N,), where N is the length of the data set.
        """
        return torch.randperm(len(self.dataset), generator=self._generator("order", epoch))  # type: ignore[arg-type]

    def _shares(self) -> int:
        """Number of items that all ranks visit together in one epoch.

        Raises:
            ValueError: If that is none.
        """
        _, world = shard()
        num_items = len(self.dataset)  # type: ignore[arg-type]
        name = getattr(self.dataset, "name", type(self.dataset).__name__)
        if num_items == 0:
            raise ValueError(f"{name}: has 0 images, allowed is 1 or more")
        if self.drop_last:
            if num_items < world * self.batch_size:
                raise ValueError(
                    f"{name}: has {num_items} images, fewer than one batch of batch_size={self.batch_size} on "
                    f"{world} rank(s), allowed is a batch_size of 1 to {num_items // world}"
                )
            return num_items - num_items % (world * self.batch_size)
        if self.shuffle:
            return num_items + -num_items % world
        return num_items

    def _num_batches(self) -> int:
        """Batches of rank 0, which no rank has more of."""
        _, world = shard()
        return -(-self._shares() // (world * self.batch_size))

    def _generator(self, purpose: str, epoch: int) -> torch.Generator:
        return torch.Generator().manual_seed(stable_seed(purpose, self.seed, epoch))

    def _batches(self, epoch: int, first: int) -> Iterator[Any]:
        """Batches of this rank in an epoch, from the first-th on."""
        indices = self.rank_indices(epoch)
        num_batches = self._num_batches()
        # Start of batch b: b * batch_size, but one item is kept for each batch that is still to come.
        starts = [
            min(b * self.batch_size, max(len(indices) - num_batches + b, 0)) for b in range(first, num_batches + 1)
        ]
        sizes = [stop - start for start, stop in pairwise(starts) if stop > start]
        parts = indices[starts[0] :].split(sizes)
        loaded = self._gathered(parts) if hasattr(self.dataset, "gather") else self._decoded(parts, epoch)
        if self.size is not None:
            loaded = (self.fitted(batch) for batch in loaded)
        draws = self.draws(epoch)
        if not draws:
            return loaded
        number = len(self.dataset)  # type: ignore[arg-type]
        return (
            {**named(batch), **{key: values[part % number] for key, values in draws.items()}}
            for batch, part in zip(loaded, parts, strict=True)
        )

    def draws(self, epoch: int) -> dict[str, Tensor]:
        """Random numbers of each item in an epoch, that batches carry to the device.

        Args:
            epoch: Number of the epoch.

        Returns:
            By key, (N, ...): `flip`, bool (N,), if the loader flips; `crop`, float32 (N, 2), if pictures are cropped;
            `noise`, int64 (N,), if it gives seeds.
        """
        number, found = len(self.dataset), {}  # type: ignore[arg-type]
        if self.flip:
            found["flip"] = torch.rand(number, generator=self._generator("flip", epoch)) < 0.5
        if self.jitter:
            found["crop"] = torch.rand(number, 2, generator=self._generator("crop", epoch))
        if self.noise is not None:
            anew = self.noise == "visit"
            found["noise"] = seeds(number, self._generator("noise", epoch)) if anew else item_seeds(number)
        return found

    def _gathered(self, parts: tuple[Tensor, ...]) -> Iterator[Batch]:
        for part in parts:
            batch = self.dataset.gather(part)  # type: ignore[attr-defined]
            yield {key: value.pin_memory() for key, value in batch.items()} if self.pin_memory else batch

    def _decoded(self, parts: tuple[Tensor, ...], epoch: int) -> Iterator[Any]:
        return iter(
            DataLoader(
                self.dataset,
                batch_sampler=_IndexBatches(parts),
                num_workers=self.num_workers,
                pin_memory=self.pin_memory,
                generator=self._generator("workers", epoch),  # otherwise it draws from the global one
            )
        )
