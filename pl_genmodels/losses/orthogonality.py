"""How far filters are from being orthonormal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pl_genmodels.losses.precision import at_least_single


def orthogonality(network: nn.Module) -> Tensor:
    r"""Sum of $|W W^T - I|$ over the entries and over all banks of filters (Brock et al. 2017, section 3.3).

    W has a filter in each row, its entries in any order; a bank of more filters than these have entries cannot be
    orthonormal, and its columns are asked to be instead. Every weight of four dimensions is a bank.

    Args:
        network: Whose parameters are looked at, whole ones.

    Returns:
        In at least single precision, (); 0 if no network has filters.
    """
    weights = list(network.parameters())
    total = torch.zeros((), device=weights[0].device if weights else None)
    for weight in weights:
        if weight.ndim == 4:
            rows = at_least_single(weight).flatten(1)
            rows = rows.T if rows.shape[0] > rows.shape[1] else rows
            eye = torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
            with torch.autocast(rows.device.type, enabled=False):
                total = total.to(rows) + (rows @ rows.T - eye).abs().sum()
    return total
