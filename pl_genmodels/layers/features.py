"""A condition that is made of numbers, such as what a network of others sees in a picture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pl_genmodels.layers.conditioning import Condition


class Features(Condition):
    """Numbers that were computed beforehand: values and vectors are (B, n).

    Samples of which nothing is asked have standard normal ones.

    Args:
        num_features: n.

    Raises:
        ValueError: For fewer than one.
    """

    entry = "features"

    def __init__(self, num_features: int) -> None:
        if num_features < 1:
            raise ValueError(f"num_features: got {num_features}, allowed is 1 or more")
        self.num_features = num_features

    @property
    def dim(self) -> int:
        """Number of features."""
        return self.num_features

    def vectors(self, values: Tensor) -> Tensor:  # noqa: D102
        return values

    def draw(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:  # noqa: D102
        return torch.randn(count, self.num_features, generator=generator, device=device)

    def all_of_one(self) -> Tensor:
        """None of them, then each by itself."""
        return torch.cat([torch.zeros(1, self.dim), torch.eye(self.dim)])

    def checked(self, values: Any, count: int) -> Tensor:  # noqa: D102
        given = torch.as_tensor(values)
        fits = given.ndim in (1, 2) and given.shape[-1] == self.dim and (given.ndim == 1 or len(given) == count)
        if not fits or not given.is_floating_point() or not bool(given.isfinite().all()):
            raise ValueError(
                f"features: got {given.dtype} of shape {tuple(given.shape)}, allowed are {self.dim} finite numbers, "
                f"for all samples or for each of {count}"
            )
        return given.expand(count, -1)
