"""What the processes of one run tell each other while they measure; with one process, nothing happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def rank_and_size() -> tuple[int, int]:
    """Number of this process, and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def communication_device() -> torch.device:
    """Where tensors must lie to be sent: NCCL sends from the GPU, everything else from the CPU."""
    if "nccl" in dist.get_backend():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def sum_over_processes(value: Tensor) -> Tensor:
    """Sum of a tensor of one shape over all processes, on the tensor's own device."""
    if rank_and_size()[1] == 1:
        return value
    total = value.to(communication_device(), copy=True)
    dist.all_reduce(total)
    return total.to(value.device)


def gather_rows(rows: Tensor, *, interleaved: bool) -> Tensor:
    """Rows (n, d) of all processes, as one tensor on the CPU; n may differ.

    Args:
        rows: Of this process.
        interleaved: Whether rows come one of each process in turn, which undoes the sharing of a data set by
            samplers and loaders, or process by process.
    """
    size = rank_and_size()[1]
    if size == 1:
        return rows.cpu()
    device = communication_device()
    own = torch.tensor(rows.shape, device=device)
    shapes = [torch.zeros_like(own) for _ in range(size)]
    dist.all_gather(shapes, own)
    longest, width = torch.stack(shapes).amax(0).tolist()  # a process without rows may not know their width
    padded = torch.zeros(longest, width, dtype=rows.dtype, device=device)
    padded[: len(rows)] = rows.to(device)
    pieces = [torch.empty_like(padded) for _ in range(size)]
    dist.all_gather(pieces, padded)
    dimension = 1 if interleaved else 0
    filled = torch.stack([torch.arange(longest) < int(shape[0]) for shape in shapes], dimension)
    return torch.stack([piece.cpu() for piece in pieces], dimension)[filled]


def gather_objects(value: Any) -> list[Any]:
    """The values of all processes, on every process."""
    size = rank_and_size()[1]
    if size == 1:
        return [value]
    found: list[Any] = [None] * size
    dist.all_gather_object(found, value)
    return found


def broadcast(value: Any) -> Any:
    """The first process's value, on every process."""
    if rank_and_size()[1] == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def first_process_first() -> Iterator[None]:
    """Let the first process through before the others: it downloads or trains, they read its file."""
    rank, size = rank_and_size()
    if size > 1 and rank > 0:
        dist.barrier()
    try:
        yield
    finally:  # also after an error, which the others then meet themselves
        if size > 1 and rank == 0:
            dist.barrier()
