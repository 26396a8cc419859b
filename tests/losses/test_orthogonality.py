"""Filters that are orthonormal cost nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pl_genmodels.losses import orthogonality


@pytest.mark.parametrize(("rows", "columns"), [(4, 18), (18, 18), (32, 18)])
def test_orthonormal_filters_cost_nothing(rows, columns):
    layer = nn.Conv2d(columns // 9, rows, 3)
    nn.init.orthogonal_(layer.weight)
    assert orthogonality(layer).item() == pytest.approx(0, abs=2e-4)
    with torch.no_grad():
        layer.weight.mul_(2)
    assert orthogonality(layer).item() == pytest.approx(3 * min(rows, columns), rel=1e-3)


def test_is_the_papers_sum_over_all_banks():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 5), nn.BatchNorm2d(3), nn.ConvTranspose2d(3, 2, 4), nn.Linear(5, 5))
    banks = [network[0].weight.reshape(3, 50), network[2].weight.reshape(3, 32)]
    expected = sum((bank @ bank.T - torch.eye(3)).abs().sum() for bank in banks)
    torch.testing.assert_close(orthogonality(network), expected)
    assert orthogonality(nn.Linear(3, 3)).item() == 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(orthogonality(network), expected)
