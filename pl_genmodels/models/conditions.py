"""Conditions of samples: what was asked, what is drawn where nothing was, and grids with one row a condition."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.layers.conditioning import Codes, Condition, Labels
from pl_genmodels.models.latents import draw_of_seed
from pl_genmodels.types import Batch

OTHER_SEED = 1 << 40  # added to a seed, so that conditions do not take the numbers that its latents take


def values_for(
    condition: Condition,
    asked: Any,
    count: int,
    device: torch.device,
    *,
    seed: int | None = None,
    first: int = 0,
) -> Tensor:
    """Values of a condition for so many samples.

    Args:
        condition: Of a model.
        asked: For all samples or for each, None for no wish; what is not a number in it is left open.
        count: How many samples.
        device: Where they are wanted.
        seed: Of values that are drawn. Labels are not: they take turns.
        first: Index of the first sample of the seed.

    Returns:
        (count, ...).

    Raises:
        ValueError: For values that there are not.
    """
    given = None if asked is None else condition.checked(asked, count).to(device)
    if given is not None and not (given.is_floating_point() and bool(given.isnan().any())):
        return given
    if isinstance(condition, Labels):
        return torch.arange(first, first + count, device=device) % condition.num_classes
    drawn = draw_of_seed(condition.draw, count, device, seed=None if seed is None else seed + OTHER_SEED, first=first)
    return drawn if given is None else torch.where(given.isnan(), drawn.to(given.dtype), given)


def asked_of(model: Any, **wishes: Any) -> Any:
    """The one wish among arguments that a model's condition takes.

    Args:
        model: With `condition`, None where there is none.
        wishes: By the entry of a condition.

    Raises:
        ValueError: For a wish that the model cannot fulfil.
    """
    condition: Condition | None = getattr(model, "condition", None)
    for entry, wish in wishes.items():
        if wish is not None and (condition is None or entry != condition.entry):
            raise ValueError(f"{entry}: got {wish}, but a {type(model).__name__} {_knows(condition)}")
    return None if condition is None else wishes.get(condition.entry)


def _knows(condition: Condition | None) -> str:
    if condition is None:
        return "knows no labels, attributes or codes"
    return f"is conditional on {condition.entry}"


def required(condition: Condition, batch: Mapping[str, Tensor], model: str) -> Tensor:
    """Values of a condition in a batch.

    Raises:
        ValueError: If it has none.
    """
    if condition.entry not in batch:
        hint = "; allowed are data with classes, such as a folder with a sub-folder for each"
        raise ValueError(
            f"batch: has keys {sorted(batch)}, but a {model} needs {condition.entry!r} too"
            f"{hint if condition.entry == 'label' else ''}"
        )
    return batch[condition.entry]


def check_first(condition: Condition, batch: Batch, count: int, data: Any = None) -> None:
    """Refuse values that there are not, in a run's first batch or, where a data module counts classes, in its others.

    Raises:
        ValueError: If there are some.
    """
    condition.checked(batch[condition.entry], count)
    ours = getattr(condition, "num_classes", None)
    if condition.entry == "label" and ours:
        require_classes(ours, data)


def require_classes(num_classes: int, data: Any) -> None:
    """Refuse data with more classes than a model has.

    Args:
        num_classes: Of the model.
        data: A data module; others, and None, do not count classes.

    Raises:
        ValueError: If there are more.
    """
    theirs = getattr(data, "num_classes", None) or 0
    if theirs > num_classes:
        raise ValueError(
            f"num_classes: got {num_classes}, but {type(data).__name__} has {theirs} classes; allowed is {theirs} or "
            "more"
        )


def read_off(model: Any, image: Tensor) -> Tensor | None:
    """Values of a model's condition that it reads off images, (B, *image_shape) to (B, ...); None if it reads none."""
    condition: Condition | None = getattr(model, "condition", None)
    for name in ("read", "likely_labels"):
        if condition is not None and hasattr(model, name):
            return getattr(model, name)(image)
    if not isinstance(condition, Codes) or not hasattr(model, "represent"):
        return None
    *choices, numbers = model.represent(image).float().split([*condition.categories, condition.num_continuous], 1)
    return torch.cat([*(one.argmax(1, keepdim=True).float() for one in choices), numbers], 1)


# ---- rows of a grid


def rows_of(condition: Condition, text: str) -> Tensor:
    """Values that a text stands for, one for each row of a grid.

    An entry is a number; `a..b` for each whole number from a to b; `a..b:n` for n numbers evenly from a to b; `_` for
    one that is left open. Labels are entries with commas between them, one after the other. Attributes and codes are
    vectors, an entry for each number, in all combinations, the last one fastest.

    Args:
        condition: Of a model.
        text: Such as `3`, `0..9`, `1,0,1` or `0..9,_,-2..2:5`.

    Returns:
        (R, ...).

    Raises:
        ValueError: If the text is none of these, or there are no such values.
    """
    entries = [numbers_of(condition.entry, entry.strip()) for entry in text.split(",")]
    if isinstance(condition, Labels):
        values = torch.tensor([number for entry in entries for number in entry])
        values = values.long() if bool((values == values.floor()).all()) else values
    else:
        values = torch.tensor(list(itertools.product(*entries)))
    return condition.checked(values, len(values))


def numbers_of(name: str, entry: str) -> list[float]:
    """Numbers that an entry of `rows_of` stands for.

    Raises:
        ValueError: If it is none.
    """
    if entry == "_":
        return [float("nan")]
    start, dots, rest = entry.partition("..")
    end, colon, count = rest.partition(":")
    try:
        if not dots:
            return [float(start)]
        if colon:
            return torch.linspace(float(start), float(end), int(count)).tolist()
        numbers = [float(number) for number in range(int(start), int(end) + 1)]
    except (ValueError, RuntimeError):
        numbers = []
    if not numbers:
        raise ValueError(f"{name}: got {entry!r}, allowed are a number, a..b, a..b:n and _")
    return numbers


def condition_grid(model: Any, rows: Tensor, columns: int, seed: int) -> Tensor:
    """Samples in rows of one condition each; a column shares its latent.

    Args:
        model: With a condition and `sample`.
        rows: Values, (R, ...).
        columns: Samples of each.
        seed: Of the latents.

    Returns:
        (R columns, *image_shape).
    """
    entry = model.condition.entry
    repeated = [row.expand(columns, *row.shape) for row in rows]
    return torch.cat([model.sample(columns, seed=seed, **{entry: values}) for values in repeated])
