"""Pictures whose factors of variation are known: every combination of them has an index."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pl_genmodels.data.base import ImageData
from pl_genmodels.data.seeds import stable_seed
from pl_genmodels.types import Batch


class FactorSet(Dataset[Batch]):
    """Some combinations of factors, whose pictures are made when they are asked for, a whole batch at once.

    Args:
        indices: Of the combinations, int64 (N,).
        read: Gives `image` and `factors` of indices.
        name: What error messages call the data set.
    """

    def __init__(self, indices: Tensor, read: Callable[[Tensor], Batch], name: str) -> None:
        self.indices, self.read, self.name = indices, read, name

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Batch:
        return {key: value[0] for key, value in self.gather(torch.tensor([index])).items()}

    def gather(self, indices: Tensor) -> Batch:
        """Batch of the items with these indices, int64 (B,)."""
        return self.read(self.indices[indices])


class FactorData(ImageData):
    """Data module of all combinations of some factors. Batches have `image` and `factors`, int64 (B, K).

    The index of a combination counts the last factor fastest, as in NumPy's `ravel_multi_index`. The splits are parts
    of one fixed permutation of all indices.

    Args:
        val_fraction: Share of the combinations, in [0, 1), kept from training: half of them are `val`, the rest `test`.
            With 0 all train, and are `val` and `test` too.
        **kwargs: Of `ImageData`; a mirrored picture would have other factors, so there is no `flip`.

    Attributes:
        factor_names: Names of the factors, K.
        categorical: Which of them have values without an order, by name.

    Raises:
        ValueError: If an argument is out of range.
    """

    factor_names: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    grey_levels = 2

    def __init__(self, val_fraction: float = 0.1, **kwargs: Any) -> None:
        super().__init__(num_workers=0, flip=False, binarize="none", **kwargs)
        if not 0 <= val_fraction < 1:
            raise ValueError(f"val_fraction: got {val_fraction}, allowed is [0, 1)")
        self.val_fraction = val_fraction

    @property
    @abstractmethod
    def factor_sizes(self) -> tuple[int, ...]:
        """Number of values of each factor."""

    @abstractmethod
    def images_of(self, indices: Tensor) -> Tensor:
        """Pictures of combinations, int64 (B,) to uint8 (B, C, H, W)."""

    @property
    def num_combinations(self) -> int:
        """Number of all combinations."""
        return math.prod(self.factor_sizes)

    def factors_of(self, indices: Tensor) -> Tensor:
        """Values of the factors, counted from 0, of combinations.

        Args:
            indices: int64 (B,), 0 to `num_combinations` - 1.

        Returns:
            int64 (B, K).

        Raises:
            ValueError: If an index is out of range.
        """
        self._check("indices", indices, self.num_combinations)
        return torch.stack(torch.unravel_index(indices, self.factor_sizes), -1)

    def indices_of(self, factors: Tensor) -> Tensor:
        """Indices of combinations: the opposite of `factors_of`.

        Args:
            factors: int64 (B, K), each from 0 to its size - 1.

        Returns:
            int64 (B,).

        Raises:
            ValueError: If a value is out of range.
        """
        indices = torch.zeros(len(factors), dtype=torch.long, device=factors.device)
        for name, size, values in zip(self.factor_names, self.factor_sizes, factors.unbind(-1), strict=True):
            self._check(name, values, size)
            indices = indices * size + values
        return indices

    @staticmethod
    def _check(name: str, values: Tensor, size: int) -> None:
        wrong = values[(values < 0) | (values >= size)]
        if len(wrong):
            raise ValueError(f"{name}: got {int(wrong[0])}, allowed is 0 to {size - 1}")

    def read(self, indices: Tensor) -> Batch:
        """Pictures and factors of combinations, int64 (B,): `image` uint8 (B, C, H, W), `factors` int64 (B, K)."""
        return {"image": self.images_of(indices), "factors": self.factors_of(indices)}

    def load(self, split: str) -> FactorSet:
        """Combinations of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            The data set, whose pictures are made batch by batch.

        Raises:
            ValueError: If too few combinations are kept to make both `val` and `test`, or none is left to train.
        """
        number = self.num_combinations
        kept = round(self.val_fraction * number)
        if self.val_fraction and not 2 <= kept < number:
            raise ValueError(
                f"val_fraction: got {self.val_fraction}, which keeps {kept} of {number} combinations from training, "
                f"allowed is 0, or to keep 2 to {number - 1}"
            )
        order = torch.randperm(number, generator=torch.Generator().manual_seed(stable_seed("factors", number)))
        held_out = {"train": order[kept:], "val": order[: kept // 2], "test": order[kept // 2 : kept]}
        indices = held_out[split] if kept else torch.arange(number)
        return FactorSet(indices, self.read, f"{type(self).__name__} {split}")
