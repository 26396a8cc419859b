"""Whether a run can go on: losses and weights that are not finite, found without waiting for the device."""

from __future__ import annotations

import zlib
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pl_genmodels.models.sharding import local

FOLD_AFTER = 256  # values that are kept as they are before they become one flag and one row on their device
MIN_SCALE = 2.0**-10  # a scaler starts at 2**16 and halves at every step that overflows: 27 of them in a row


class TrainingCollapsedError(RuntimeError):
    """The run cannot go on: a loss or weight is not finite, or the samples have collapsed."""


class FiniteRecord:
    """Remembers on the device when a term was first not finite; nothing here waits for the device but `first`."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}  # by a number of the name alone: a resumed run may begin with another player
        self.clear()

    def clear(self) -> None:
        """Forget everything that was added."""
        self._values: list[Tensor] = []
        self._rows: list[tuple[int, int, int]] = []  # images, step and number of the name of each value
        self._found: Tensor | None = None  # () bool
        self._row: Tensor | None = None  # (1, 3) int64, the first of them

    def add(self, player: str, means: dict[str, Tensor], images: int, step: int) -> None:
        """Keep a player's mean terms, each ()."""
        for term, mean in means.items():
            name = f"{player}/{term}"
            number = zlib.crc32(name.encode())
            self.names[number] = name
            self._values.append(mean.detach())
            self._rows.append((images, step, number))
        if len(self._values) >= FOLD_AFTER:
            self._fold()

    def _fold(self) -> None:
        values = torch.stack(self._values)  # (N,), of the widest type among them
        bad = ~values.isfinite()
        rows = torch.tensor(self._rows).to(values.device, non_blocking=True)  # (N, 3)
        row, found = rows.index_select(0, bad.int().argmax().view(1)), bad.any()
        if self._found is None or self._row is None:
            self._found, self._row = found, row
        else:
            self._row = torch.where(self._found, self._row, row)
            self._found = self._found | found
        self._values, self._rows = [], []

    def first(self) -> tuple[int, int, str] | None:
        """Images seen, step and name of the first value that was not finite, if there is one."""
        if self._values:
            self._fold()
        if self._found is None or self._row is None or not bool(self._found):
            return None
        images, step, number = self._row[0].tolist()
        return images, step, self.names[number]


def require_finite(module: Any, *, weights: bool = False) -> bool:
    """End the run if it has broken, unless a callback repairs it.

    A collective call: all ranks agree on what is broken. Under a gradient scaler (`16-mixed`) losses that are not
    finite are no failure, since the scaler leaves out such steps, but a scale below 2**-10 is: nothing is learnt then.

    Args:
        module: A `GenerativeModule` in training.
        weights: Whether to look at parameters and buffers too.

    Returns:
        Whether it had broken and a callback with `recover(trainer, module, sentence) -> bool` went back to a good
        state.

    Raises:
        TrainingCollapsedError: With what, after how many images and in which step.
    """
    problem = _agreed(module.trainer, _problem(module, weights))
    if problem is None:
        return False
    module.finite.clear()
    for callback in module.trainer.callbacks:
        if hasattr(callback, "recover") and callback.recover(module.trainer, module, problem):
            return True
    raise TrainingCollapsedError(f"{problem}; no checkpoint was written since, the last good one stays.")


def _problem(module: Any, weights: bool) -> str | None:
    here = (module.images_seen, module.trainer.global_step)
    if module.loss_scaler is None:
        found = module.finite.first()
        if found is not None:
            return _sentence(*found)
    else:
        module.finite.clear()
        if module.loss_scaler.get_scale() < MIN_SCALE:
            return _sentence(*here, "every gradient, the scale of 16-bit precision having fallen below 2**-10,")
    broken = non_finite_weights(module) if weights else None
    return None if broken is None else _sentence(*here, broken)


def _sentence(images: int, step: int, what: str) -> str:
    return f"After {images:,} images (step {step}), {what} is not finite"


def _agreed(trainer: Any, problem: str | None) -> str | None:
    """The first rank's problem, on all ranks."""
    if not trainer.strategy.reduce_boolean_decision(problem is not None, all=False):
        return None
    if trainer.world_size == 1:
        return problem
    found: list[Any] = [None] * trainer.world_size
    dist.all_gather_object(found, problem)
    return next(f"{each} on rank {rank}" for rank, each in enumerate(found) if each is not None)


def non_finite_weights(module: Any) -> str | None:
    """Name of a parameter with a non-finite entry, or of a buffer with one that is not a number (masks hold -inf)."""
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    named = {name: value for name, value in named.items() if value.is_floating_point() or value.is_complex()}
    if not named:
        return None
    norms = [norm.float() for norm in torch._foreach_norm([part.detach() for part in local(named.values())])]
    if bool(torch.stack(norms).isfinite().all()):  # the usual case costs one look
        return None
    buffers = {name for name, _ in module.named_buffers()}
    for name, norm in zip(named, norms, strict=True):
        if bool(norm.isnan()) or (name not in buffers and not bool(norm.isfinite())):
            return name
    return None
