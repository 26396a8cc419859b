"""What a sample is asked to be, as numbers, and the ways in which a network can be told."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.specs import Recorded


class Condition(Recorded, ABC):
    """What a sample is asked to be: its values, as data and users give them, and its vector, as networks take it.

    Attributes:
        entry: Name of the values in a batch, and among the arguments of `sample`.
    """

    entry: ClassVar[str]

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of the vector."""

    @abstractmethod
    def vectors(self, values: Tensor) -> Tensor:
        """Vectors of values, (B, ...) to (B, dim)."""

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Values for samples of which nothing is asked, (count, ...)."""

    @abstractmethod
    def all_of_one(self) -> Tensor:
        """Values that show what the condition does, one for each row of a grid, (R, ...)."""

    @abstractmethod
    def checked(self, values: Any, count: int) -> Tensor:
        """Values for so many samples, one for each or one for all, (count, ...).

        Raises:
            ValueError: For values that there are not, or another number of them.
        """


class Labels(Condition):
    """One of some classes: values are their numbers, (B,), vectors are 0 but for a 1 at the class.

    Args:
        num_classes: How many there are.

    Raises:
        ValueError: For fewer than one.
    """

    entry = "label"

    def __init__(self, num_classes: int = 10) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes: got {num_classes}, allowed is 1 or more")
        self.num_classes = num_classes

    @property
    def dim(self) -> int:
        """Number of classes."""
        return self.num_classes

    def vectors(self, values: Tensor) -> Tensor:  # noqa: D102
        try:
            return F.one_hot(values.long(), self.num_classes).to(torch.get_default_dtype())
        except RuntimeError as error:  # on a GPU the kernel says so
            low, high = (int(value) for value in values.aminmax())
            if low >= 0 and high < self.num_classes:
                raise
            raise ValueError(
                f"label: got {low} to {high}, allowed are 0 to {self.num_classes - 1}, the model's {self.num_classes} "
                "classes"
            ) from error

    def draw(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:  # noqa: D102
        return torch.randint(self.num_classes, (count,), generator=generator, device=device)

    def all_of_one(self) -> Tensor:
        """All classes."""
        return torch.arange(self.num_classes)

    def checked(self, values: Any, count: int) -> Tensor:  # noqa: D102
        labels = torch.as_tensor(values)
        if labels.ndim and labels.shape != (count,):
            raise ValueError(f"label: got shape {tuple(labels.shape)}, allowed are one label or {count}")
        wrong = (labels < 0) | (labels >= self.num_classes) | (labels != labels.floor())
        if bool(wrong.any()):
            found = sorted(set(labels[wrong].flatten().tolist()))
            raise ValueError(
                f"label: got {found}, allowed are 0 to {self.num_classes - 1}, the model's {self.num_classes} classes"
            )
        return labels.long().expand(count)


class Attributes(Condition):
    """Properties that are there or not: values are 1 or 0, (B, n), vectors 1 or -1, as in Perarnau et al. 2016.

    Samples of which nothing is asked have each property with even odds.

    Args:
        num_attributes: How many a batch's entry `attributes` has.
        chosen: Which of them count, by their numbers from 0 on; all by default.

    Raises:
        ValueError: For fewer than one, or a choice that there is not.
    """

    entry = "attributes"

    def __init__(self, num_attributes: int, chosen: Sequence[int] | None = None) -> None:
        if num_attributes < 1:
            raise ValueError(f"num_attributes: got {num_attributes}, allowed is 1 or more")
        every = range(num_attributes)
        if chosen is not None and (not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(every)):
            raise ValueError(f"chosen: got {list(chosen)}, allowed are some of 0 to {num_attributes - 1}, each once")
        self.num_attributes = num_attributes
        self.chosen = list(every if chosen is None else chosen)

    @property
    def dim(self) -> int:
        """Number of properties that count."""
        return len(self.chosen)

    def vectors(self, values: Tensor) -> Tensor:
        """Vectors of all properties of a batch, or of those that count, (B, n) to (B, dim)."""
        picked = values if values.shape[1] == self.dim else values[:, self.chosen]
        return 2.0 * picked.to(torch.get_default_dtype()) - 1

    def draw(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:  # noqa: D102
        return torch.randint(2, (count, self.dim), generator=generator, device=device)

    def all_of_one(self) -> Tensor:
        """None of the properties, then each by itself."""
        return torch.cat([torch.zeros(1, self.dim, dtype=torch.long), torch.eye(self.dim, dtype=torch.long)])

    def checked(self, values: Any, count: int) -> Tensor:  # noqa: D102
        given = torch.as_tensor(values)
        lengths = sorted({self.dim, self.num_attributes})
        if given.ndim not in (1, 2) or given.shape[-1] not in lengths or (given.ndim == 2 and len(given) != count):
            allowed = " or ".join(map(str, lengths))
            raise ValueError(
                f"attributes: got shape {tuple(given.shape)}, allowed are {allowed} zeros and ones, for all samples or "
                f"for each of {count}"
            )
        if not bool(((given == 0) | (given == 1)).all()):
            raise ValueError("attributes: got other values, allowed are 0 and 1")
        return given.long().expand(count, -1)


class Codes(Condition):
    """Some categories and some numbers in [-1, 1], which no data are labelled with (Chen et al. 2016, section 4).

    Values are (B, L): first the category of each categorical code, then the continuous ones. Vectors have a 1 at each
    category. A value that is not a number is left open.

    Args:
        categories: Number of categories of each categorical code.
        num_continuous: Number of continuous codes.

    Raises:
        ValueError: For no code at all, or a code of fewer than two categories.
    """

    entry = "code"

    def __init__(self, categories: Sequence[int] = (10,), num_continuous: int = 2) -> None:
        if any(count < 2 for count in categories):
            raise ValueError(f"categories: got {list(categories)}, allowed are numbers of 2 or more")
        if num_continuous < 0 or (not categories and not num_continuous):
            raise ValueError(f"num_continuous: got {num_continuous}, allowed is 1 or more, or 0 with categories")
        self.categories, self.num_continuous = list(categories), num_continuous

    @property
    def dim(self) -> int:
        """Number of all categories and of continuous codes."""
        return sum(self.categories) + self.num_continuous

    @property
    def length(self) -> int:
        """L, number of codes."""
        return len(self.categories) + self.num_continuous

    def vectors(self, values: Tensor) -> Tensor:  # noqa: D102
        number, dtype = len(self.categories), torch.get_default_dtype()
        chosen = zip(values[:, :number].long().unbind(1), self.categories, strict=True)
        return torch.cat([*(F.one_hot(one, count).to(dtype) for one, count in chosen), values[:, number:].to(dtype)], 1)

    def draw(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Even odds for categories, uniform in [-1, 1] for numbers, (count, L)."""
        dtype = torch.get_default_dtype()
        options: dict[str, Any] = {"generator": generator, "device": device}
        parts = [torch.randint(size, (count, 1), **options).to(dtype) for size in self.categories]
        if self.num_continuous:
            parts.append(2 * torch.rand(count, self.num_continuous, **options) - 1)
        return torch.cat(parts, 1)

    def all_of_one(self) -> Tensor:
        """The categories of the first code, or nine values of the first number; all other codes are left open."""
        first = torch.arange(self.categories[0]) if self.categories else torch.linspace(-1, 1, 9)
        values = torch.full((len(first), self.length), torch.nan)
        values[:, 0] = first
        return values

    def checked(self, values: Any, count: int) -> Tensor:  # noqa: D102
        given = torch.as_tensor(values, dtype=torch.get_default_dtype())
        if given.ndim not in (1, 2) or given.shape[-1] != self.length or (given.ndim == 2 and len(given) != count):
            raise ValueError(
                f"code: got shape {tuple(given.shape)}, allowed are {self.length} numbers ({len(self.categories)} "
                f"categories, {self.num_continuous} continuous), for all samples or for each of {count}"
            )
        for place, size in enumerate(self.categories):
            one = given[..., place]
            wrong = (one < 0) | (one >= size) | (one != one.floor()) & ~one.isnan()
            if bool(wrong.any()):
                found = sorted(set(one[wrong].flatten().tolist()))
                raise ValueError(f"code: got category {found}, allowed for number {place + 1} are 0 to {size - 1}")
        return given.expand(count, -1)


# ---- the ways in which a network is told


def concatenated(x: Tensor, condition: Tensor) -> Tensor:
    """A condition beside features, or as constant maps beside those of a picture.

    Args:
        x: (B, n) or (B, C, H, W).
        condition: (B, K).

    Returns:
        (B, n + K) or (B, C + K, H, W).
    """
    condition = condition.to(x.dtype)
    if x.ndim == 2:
        return torch.cat([x, condition], 1)
    return torch.cat([x, condition[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)


class EmbeddingMaps(nn.Module):
    """A condition as learnt maps: each of its entries has some, and the vector weights them.

    Args:
        condition_dim: K.
        shape: Of the maps, (C, H, W), or (n,) for features.
    """

    def __init__(self, condition_dim: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.weight = nn.Parameter(torch.randn(condition_dim, math.prod(self.shape)))

    def forward(self, condition: Tensor) -> Tensor:
        """Maps, (B, K) to (B, *shape)."""
        return (condition.to(self.weight.dtype) @ self.weight).unflatten(1, self.shape)


class Projection(nn.Module):
    """The inner product of features with an embedding of the condition (Miyato and Koyama 2018, equation 3).

    Args:
        condition_dim: K.
        num_features: F.
    """

    def __init__(self, condition_dim: int, num_features: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(condition_dim, num_features, bias=False)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """What the condition adds to a logit, (B, F) and (B, K) to (B,)."""
        return (self.embedding(condition.to(features.dtype)) * features).sum(1)


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose gain and bias depend on the condition (Dumoulin et al. 2017; de Vries et al. 2017).

    The condition is set before a pass, because what lies in between hands on features only. Gains start at 1 and
    biases at 0 for every condition.

    Args:
        norm: The layer to replace, of any dimension; its gain and bias are dropped.
        condition_dim: K.
    """

    condition: Tensor | None = None

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm, condition_dim: int) -> None:
        super().__init__()
        self.norm = type(norm)(norm.num_features, eps=norm.eps, momentum=norm.momentum, affine=False)
        self.gain = nn.Linear(condition_dim, norm.num_features, bias=False)
        self.shift = nn.Linear(condition_dim, norm.num_features, bias=False)
        nn.init.zeros_(self.gain.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised, scaled and shifted, (B, C, ...)."""
        if self.condition is None:
            raise ValueError("condition: not set, but the normalisation depends on it")
        condition = self.condition.to(x.dtype)
        more = (..., *[None] * (x.ndim - 2))
        return self.norm(x) * (1 + self.gain(condition))[more] + self.shift(condition)[more]


class Conditioned(nn.Module):
    """A network of samples and conditions as one of samples alone.

    Args:
        network: Called with samples and conditions.
        condition: (B, K).
    """

    def __init__(self, network: nn.Module, condition: Tensor) -> None:
        super().__init__()
        self.network, self.condition = network, condition

    def forward(self, x: Tensor) -> Any:
        """What the network makes of samples, (B, ...)."""
        return self.network(x, self.condition.to(x.dtype))
