"""What data modules of two domains have in common: pairs that belong together, and pairs that are drawn anew."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pl_genmodels.data.base import ImageData
from pl_genmodels.data.loader import Loader, TensorSet, named
from pl_genmodels.data.pictures import cut
from pl_genmodels.types import Batch, ImageShape

DOMAINS = ("source", "target")
DIRECTIONS = ("AtoB", "BtoA")


def check_direction(direction: str) -> str:
    """A direction of translation, if it is one.

    Raises:
        ValueError: If it is misspelt.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction: got {direction!r}, allowed are {' and '.join(DIRECTIONS)}")
    return direction


class UnpairedSet(Dataset[Batch]):
    """Two data sets that share nothing but an epoch.

    Its length is that of the sources. Item i is source i with target i, counted round; item i + k * (number of
    sources) is source i with the k-th target after that one, so that one index names any pair.

    Args:
        source: Items of the first domain, dicts with `image`.
        target: Items of the second domain, dicts with `image`.
        name: What error messages call the data set.

    Raises:
        ValueError: If one of them is empty.
    """

    def __init__(self, source: Dataset[Any], target: Dataset[Any], name: str) -> None:
        self.source, self.target, self.name = source, target, name
        self.num_sources, self.num_targets = len(source), len(target)  # type: ignore[arg-type]
        for domain, number in zip(DOMAINS, (self.num_sources, self.num_targets), strict=True):
            if number == 0:
                raise ValueError(f"{name}: has 0 images in the {domain} domain, allowed is 1 or more")

    def __len__(self) -> int:
        return self.num_sources

    def pair(self, sources: Tensor, targets: Tensor) -> Tensor:
        """Indices of the pairs of these sources and targets, all int64 (N,)."""
        return sources + self.num_sources * ((targets - sources) % self.num_targets)

    def parts(self, indices: Any) -> tuple[Any, Any]:
        """Sources and targets of pairs: the opposite of `pair`; takes a tensor or an int."""
        sources = indices % self.num_sources
        return sources, (indices // self.num_sources + sources) % self.num_targets

    def __getitem__(self, index: int) -> Batch:
        source, target = self.parts(index)
        return {"source": self.source[source]["image"], "target": self.target[target]["image"]}


class UnpairedTensors(UnpairedSet):
    """Two domains held in memory, from which a whole batch is gathered by two index operations.

    Args:
        source: uint8 (N, C, H, W), or float points (N, 2).
        target: Likewise, of any other number.
        name: What error messages call the data set.
    """

    def __init__(self, source: Tensor, target: Tensor, name: str) -> None:
        super().__init__(TensorSet({"image": source}), TensorSet({"image": target}), name)
        self.tensors = {"source": source, "target": target}

    def gather(self, indices: Tensor) -> Batch:
        """Batch of the pairs with these indices, int64 (B,)."""
        parts = zip(DOMAINS, self.parts(indices), strict=True)
        return {domain: self.tensors[domain].index_select(0, part) for domain, part in parts}


class OneDomain(Dataset[Batch]):
    """One side of a data set of pairs, as `image`.

    Args:
        pairs: Map-style data set of dicts with the domain's name as key.
        domain: "source" or "target".
    """

    def __init__(self, pairs: Dataset[Any], domain: str) -> None:
        self.pairs, self.domain = pairs, domain

    def __len__(self) -> int:
        return len(self.pairs)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Batch:
        return {"image": self.pairs[index][self.domain]}


class PairLoader(Loader):
    """Loader of two domains: unpaired targets are drawn anew each epoch, and pictures are cropped.

    One epoch visits each source once (but for what `drop_last` leaves out). The targets of an `UnpairedSet` are as many
    from a random order that, like that of the sources, is a function of (seed, epoch) alone; where they are fewer,
    another order follows.

    Args:
        dataset: See `Loader`.
        batch_size: See `Loader`.
        **options: Of `Loader`.
    """

    def order(self, epoch: int) -> Tensor:
        """Indices of the pairs as all ranks together visit them in an epoch.

        Args:
            epoch: Number of the epoch.

        Returns:
            int64 (N,), each source once.
        """
        sources = super().order(epoch)
        if not isinstance(self.dataset, UnpairedSet):
            return sources
        number, generator = self.dataset.num_targets, self._generator("targets", epoch)
        orders = [torch.randperm(number, generator=generator) for _ in range(-(-len(sources) // number))]
        return self.dataset.pair(sources, torch.cat(orders)[: len(sources)])

    def draws(self, epoch: int) -> dict[str, Tensor]:
        """Random numbers of each source in an epoch.

        Args:
            epoch: Number of the epoch.

        Returns:
            `flip` bool (N, 2) and `crop` float32 (N, 2, 2), places of a crop along height and width in [0, 1), each for
            source and target: one draw for pairs that belong together, two for others.
        """
        found = {}
        shape = (len(self.dataset), 2 if isinstance(self.dataset, UnpairedSet) else 1)  # type: ignore[arg-type]
        if self.flip:
            coins = torch.rand(shape, generator=self._generator("flip", epoch)) < 0.5
            found["flip"] = coins.expand(-1, 2)
        if self.jitter:
            found["crop"] = torch.rand(*shape, 2, generator=self._generator("crop", epoch)).expand(-1, 2, -1)
        return found


class PairData(ImageData):
    """Data module of two domains: batches are dicts with `source` and `target`, and `label` where there is one.

    A leaf sets `source_shape` and `target_shape`. Its splits are a `TensorSet` or a map-style data set with both keys
    where source and target belong together, and an `UnpairedSet` where they do not.

    Args:
        batch_size: Images of each domain per batch and process.
        num_workers: Processes that decode images; without effect on data sets that are held in memory.
        seed: Of the orders, the crops and the flips; does not change the splits.
        flip: Whether half of the training images, drawn anew each epoch, are mirrored left to right: both of a pair
            alike, and each for itself where there are no pairs.

    Attributes:
        source_shape: Shape of one source, (C, H, W), or (2,) for points; known before any data are read.
        target_shape: Shape of one target; it is also the `image_shape`, of what a model generates.
        paired: Whether source and target of a `val` or `test` batch belong together.
    """

    source_shape: ImageShape
    target_shape: ImageShape
    paired: bool = True

    def __init__(self, batch_size: int = 64, num_workers: int = 0, seed: int = 0, flip: bool = False) -> None:
        super().__init__(batch_size, num_workers, seed, flip)

    @property
    def image_shape(self) -> ImageShape:  # type: ignore[override]
        """Shape of one target."""
        return self.target_shape

    def domain_loader(self, split: str, domain: str) -> Loader:
        """Each image of one domain exactly once over all ranks, in order, not flipped, as uint8 `image`.

        Args:
            split: "train", "val" or "test".
            domain: "source" or "target".

        Returns:
            The loader, outside of Lightning's hooks too.

        Raises:
            ValueError: If there is no such domain.
        """
        if domain not in DOMAINS:
            raise ValueError(f"domain: got {domain!r}, allowed are {' and '.join(DOMAINS)}")
        data = self.load(split)
        if isinstance(data, UnpairedSet):
            one: Dataset[Any] = getattr(data, domain)
        elif isinstance(data, TensorSet):
            one = TensorSet({"image": data.tensors[domain]}, data.name)
        else:
            one = OneDomain(data, domain)
        return PairLoader(one, self.batch_size, shuffle=False, num_workers=self.num_workers, size=self.target_shape[-1])

    def _make_loader(self, data: Dataset[Any], batch_size: int, **options: Any) -> Loader:
        return PairLoader(data, batch_size, **options)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Batch:
        """Crop, flip, and turn uint8 images into float32 in [-1, 1], on the device that the batch is on.

        Args:
            batch: With uint8 `source` and `target` (B, C, H, W), or points (B, 2).
            dataloader_idx: Not used.

        Returns:
            The batch as models read it.
        """
        batch = named(batch)
        flip, places = batch.pop("flip", None), batch.pop("crop", None)
        if flip is not None or places is not None:
            for index, domain in enumerate(DOMAINS):
                coins = None if flip is None else flip[:, index]
                where = None if places is None else places[:, index]
                batch[domain] = cut(batch[domain], self.target_shape[-1], where, coins)
        return super().on_after_batch_transfer(batch, dataloader_idx)
