"""How alike the samples of a batch are, which a discriminator can hold against a generator that repeats itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.layers.ranks import rows_of_all_ranks

CACHED = 2**17  # pairs of samples, times kernels, that a core works on at once: on a CPU more take longer each


class _Similarity(torch.autograd.Function):
    """exp(-L1 distance) between all rows of two batches, without a tensor of all differences.

    The gradient is written in operations that have one themselves, and in the result, so that penalties on a gradient
    work; those of `torch.cdist` do not.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, others: Tensor) -> Tensor:
        distance: Any = 0
        for a, b in zip(rows.unbind(2), others.unbind(2), strict=True):
            distance = (a.unsqueeze(2) - b.unsqueeze(1)).abs_().add_(distance)  # (kernels, B, all)
        similarity = distance.neg_().exp_()
        ctx.save_for_backward(rows, others, similarity)
        return similarity

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        rows, others, similarity = ctx.saved_tensors
        weight, of_rows, of_others = gradients[0] * similarity, [], []
        for a, b in zip(rows.unbind(2), others.unbind(2), strict=True):
            pull = weight * torch.sign(a.unsqueeze(2) - b.unsqueeze(1))
            of_rows.append(pull.sum(2))
            of_others.append(pull.sum(1))
        return -torch.stack(of_rows, 2), torch.stack(of_others, 2)


class BatchSimilarity(nn.Module):
    r"""Minibatch discrimination (Salimans et al. 2016, section 3.2).

    $M_i = f_i T$ with rows $M_{ib}$, $c_b(i, j) = \exp(-\|M_{ib} - M_{jb}\|_1)$ and
    $o_b(i) = \sum_{j \ne i} c_b(i, j) + \beta_b$: the sample itself is left out and the bias starts at -1, as in the
    authors' code. In training under several ranks the sum is over all of their samples. It is taken in at least single
    precision.

    Args:
        num_features: Length of the features f.
        num_kernels: Length of what it gives, the paper's B.
        kernel_dim: Length of each row of M, the paper's C.

    Raises:
        ValueError: For lengths below 1.
    """

    def __init__(self, num_features: int, num_kernels: int = 100, kernel_dim: int = 5) -> None:
        super().__init__()
        for name, value in (("num_kernels", num_kernels), ("kernel_dim", kernel_dim)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, allowed is 1 or more")
        self.project = nn.Linear(num_features, num_kernels * kernel_dim, bias=False)
        nn.init.normal_(self.project.weight, 0.0, 0.05)
        self.bias = nn.Parameter(torch.full((num_kernels,), -1.0))
        self.num_kernels = num_kernels

    def forward(self, features: Tensor) -> Tensor:
        """Similarity of each sample to the others, (B, num_features) to (B, num_kernels)."""
        rows = self.project(features).unflatten(1, (self.num_kernels, -1))  # (B, kernels, dim)
        rows = rows.float() if rows.dtype.itemsize < 4 else rows
        mine = rows.transpose(0, 1)
        every = rows_of_all_ranks(rows).transpose(0, 1) if self.training else mine
        at_once = len(mine) if mine.is_cuda else max(1, CACHED // (mine.shape[1] * every.shape[1]))
        parts = zip(mine.split(at_once), every.split(at_once), strict=True)
        alike = torch.cat([_Similarity.apply(a, b).sum(2) for a, b in parts])  # (kernels, B)
        return (alike.T - 1).to(self.bias.dtype) + self.bias  # without itself, whose similarity is 1
