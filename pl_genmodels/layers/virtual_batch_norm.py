"""Normalisation by a fixed reference batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VirtualBatchNorm(nn.Module):
    r"""Each sample is normalised by the statistics of a reference batch and itself (Salimans et al. 2016, section 3.5).

    The first rows of the input are the reference batch, which is normalised by its own statistics. A sample's moments
    are $\frac{1}{R+1}$ its own plus $\frac{R}{R+1}$ the reference's, so that no other sample of its batch matters.

    Args:
        num_features: Channels.
        num_reference: Rows of the reference batch, R.
        eps: Added to the variance.
    """

    def __init__(self, num_features: int, num_reference: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_reference, self.eps = num_reference, eps
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, features: Tensor) -> Tensor:
        """Reference batch and samples, (R + B, C, ...) to the same."""
        places = tuple(range(2, features.ndim))
        wide = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
        first = wide.mean(places, keepdim=True) if places else wide  # of each row
        second = wide.square().mean(places, keepdim=True) if places else wide.square()
        share = 1 / (self.num_reference + 1)

        def moment(rows: Tensor) -> Tensor:
            reference = rows[: self.num_reference].mean(0, keepdim=True)
            own = share * rows[self.num_reference :] + (1 - share) * reference
            return torch.cat([reference.expand(self.num_reference, *reference.shape[1:]), own])

        mean = moment(first)
        scale = (moment(second) - mean.square()).clamp_min(0).add(self.eps).rsqrt()
        shape = [1, -1, *[1] * len(places)]
        weight, bias = (value.to(wide.dtype).view(shape) for value in (self.weight, self.bias))
        return ((wide - mean) * scale * weight + bias).to(features.dtype)
