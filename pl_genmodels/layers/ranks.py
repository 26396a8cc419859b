"""What looks across the batch, made to see the batches of all ranks: collective calls, the same ones on every rank."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def are_several() -> bool:
    """Whether other ranks train with this one."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Mean(torch.autograd.Function):
    """What all ranks' losses say of the mean reaches each rank's values in equal shares."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()


def mean_over_ranks(values: Tensor) -> Tensor:
    """Mean over the batches of all ranks of what is a mean over each one's; differentiable once.

    The mean over ranks of the ranks' gradients is then the gradient of the mean of their losses, as in one process.
    """
    return _Mean.apply(values) if are_several() else values


class _AllRows(torch.autograd.Function):
    """The gradient of a rank's rows is the sum of what all ranks' losses say of them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def rows_of_all_ranks(rows: Tensor) -> Tensor:
    """The rows of all ranks, one rank's after the other's; differentiable once.

    The mean over ranks of the ranks' gradients is then the gradient of the mean of their losses, as in one process.

    Args:
        rows: (B, ...), as many on every rank.

    Returns:
        (ranks * B, ...).
    """
    return _AllRows.apply(rows) if are_several() else rows
