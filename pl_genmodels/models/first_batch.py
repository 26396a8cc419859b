"""What the first batch of a run tells: the shapes of the samples, and whether they and their range fit the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from pl_genmodels.losses import PixelLikelihood
from pl_genmodels.types import Batch, ImageShape, as_batch

ROUNDING = 1e-2  # of values that come in bfloat16


def shapes_of_first_batch(
    trainer: Trainer | None, names: Mapping[str, str], batch_keys: Sequence[str]
) -> dict[str, ImageShape]:
    """Shapes of one training sample, without touching the random state.

    Args:
        trainer: Of the run, whose data module may know the shapes already.
        names: Arguments that are shapes, each with the entry of a batch whose shape it is.
        batch_keys: Names of the entries of a tuple.

    Returns:
        Shapes by argument.

    Raises:
        ValueError: If there is no trainer, and thus no data.
    """
    if trainer is None:
        raise ValueError(f"{', '.join(names)}: not given; pass it, e.g. (1, 32, 32), or fit the model first")
    data = getattr(trainer, "datamodule", None)
    known = {name: tuple(shape) for name in names if (shape := getattr(data, name, None))}
    if len(known) == len(names):
        return known
    loader = data.train_dataloader() if data is not None else trainer.fit_loop._data_source.instance
    with torch.random.fork_rng(devices=[]):
        batch = as_batch(next(iter(cast(Iterable, loader))), batch_keys)
    first = batch_keys[0]
    return {name: tuple(batch[key if key in batch else first].shape[1:]) for name, key in names.items()}


def check_channels(batch: Batch, shapes: Mapping[str, ImageShape | None], names: Mapping[str, str]) -> None:
    """Refuse samples that the networks were not built for; height and width are theirs to judge.

    Args:
        batch: Of the data.
        shapes: The model's shapes by argument.
        names: Entry of a batch whose shape each of them is.

    Raises:
        ValueError: For another number of channels, or of coordinates.
    """
    for name, key in names.items():
        shape, samples = shapes[name], batch.get(key)
        if shape and samples is not None and samples.shape[1] != shape[0]:
            raise ValueError(
                f"batch: got {key} of shape {tuple(samples.shape[1:])}, but the model's {name} is {tuple(shape)}; "
                f"allowed are {shape[0]} channels"
            )


def check_range(images: Tensor, likelihood: Any = None) -> None:
    """Warn of pictures that do not look like [-1, 1].

    Args:
        images: The first batch, (B, ...).
        likelihood: That the model gives them, if it does.

    Raises:
        ValueError: If they are not floats, or lie where the likelihood has no values to give a probability.
    """
    if not images.is_floating_point():
        raise ValueError(f"batch: got images of {images.dtype}, allowed are floats, for pictures in [-1, 1]")
    low, high = (float(value) for value in images.aminmax())
    if isinstance(likelihood, PixelLikelihood) and not (low >= -1 - ROUNDING and high <= 1 + ROUNDING):
        raise ValueError(
            f"batch: got images from {low:.3g} to {high:.3g}, allowed with {type(likelihood).__name__} are values in "
            "[-1, 1]"
        )
    if images.ndim < 4:
        return
    if (low >= 0 and high > 0.5) or high > 1.5:
        rank_zero_warn(
            f"The first batch lies in [{low:.3g}, {high:.3g}]; models of this package expect images in [-1, 1]."
        )
