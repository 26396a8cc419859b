"""One bank of filters at several dilations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pl_genmodels.layers import MultiscaleBlock, MultiscaleDilatedConv2d


@pytest.mark.parametrize("scales", [(), (0,), (2,), (0, 2), (3, 0, 2)])
def test_equals_the_sum_of_its_convolutions(scales):
    torch.manual_seed(0)
    layer = MultiscaleDilatedConv2d(3, 5, scales)
    with torch.no_grad():
        layer.share.normal_()
        layer.weight.normal_()
    maps = torch.randn(2, 3, 9, 8)
    parts = [F.conv2d(maps, layer.weight, padding=1)]
    for scale in scales:
        mean = layer.weight.mean((2, 3), keepdim=True)
        part = F.conv2d(maps, layer.weight, padding=scale, dilation=scale) if scale else F.conv2d(maps, mean)
        parts.append(part)
    expected = sum(share[:, None, None] * part for share, part in zip(layer.share, parts, strict=True))
    torch.testing.assert_close(layer(maps), expected, rtol=1e-5, atol=1e-5)


def test_starts_as_the_mean_of_scales():
    layer = MultiscaleDilatedConv2d(2, 4, (0, 2, 3))
    assert torch.equal(layer.share, torch.full((4, 4), 0.25))
    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.4)
    assert sum(p.numel() for p in layer.parameters()) == 4 * 2 * 9 + 4 * 4


def test_a_block_is_residual():
    block = MultiscaleBlock(4, (0, 2)).eval()
    with torch.no_grad():
        for part in block.modules():
            if isinstance(part, MultiscaleDilatedConv2d):
                part.weight.zero_()
    maps = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(block(maps), F.leaky_relu(maps, 0.2), rtol=0, atol=1e-4)


@pytest.mark.parametrize("scales", [(1,), (-1,), (2, 2)])
def test_says_which_scales_there_are(scales):
    with pytest.raises(ValueError, match=r"scales: got .*, allowed are 0 and numbers of 2 or more, each once"):
        MultiscaleDilatedConv2d(2, 2, scales)
