"""How alike the samples of a batch are, which a discriminator can hold against a generator that repeats itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pl_genmodels.layers.ranks import rows_of_all_ranks


class BatchSimilarity(nn.Module):
    r"""Minibatch discrimination (Salimans et al. 2016, section 3.2).

    $M_i = f_i T$ with rows $M_{ib}$, $c_b(i, j) = \exp(-\|M_{ib} - M_{jb}\|_1)$ and
    $o_b(i) = \sum_{j \ne i} c_b(i, j) + \beta_b$: the sample itself is left out and the bias starts at -1, as in the
    authors' code. In training under several ranks the sum is over all of their samples.

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
        mine = self.project(features).unflatten(1, (self.num_kernels, -1)).transpose(0, 1)  # (kernels, B, dim)
        every = mine
        if self.training:
            every = rows_of_all_ranks(mine.transpose(0, 1)).transpose(0, 1)
        # not cdist, which has no second derivative for penalties on the gradient
        distance = (mine.unsqueeze(2) - every.unsqueeze(1)).abs().sum(3)  # (kernels, B, all)
        return (-distance).exp().sum(2).T - 1 + self.bias  # without itself, whose similarity is 1
