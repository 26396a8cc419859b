"""PixelCNN++ draws through caches, against one pass of the whole network a pixel."""

from __future__ import annotations

import functools

import pytest
import torch

from pl_genmodels.models.autoregressive.pixel_cnn_pp import PixelCNNPP
from pl_genmodels.networks import PixelCNNPPNetwork
from tests.benchmarks.timing import seconds

BATCH, CHANNELS = 16, 40
PASSES = 3  # naive passes that are timed, of one a pixel
BOUNDS = {8: "", 16: "", 32: "<= 0.0333"}  # by width


@pytest.mark.benchmark
@pytest.mark.parametrize("width", BOUNDS)
def test_drawing_through_caches(width, device, measured):
    """Every naive pass takes the same time, whichever pixel it is for, so a few are measured and scaled to all."""
    torch.manual_seed(0)
    network = functools.partial(PixelCNNPPNetwork, channels=CHANNELS)
    model = PixelCNNPP((3, width, width), network=network).to(device).eval()
    image = torch.zeros(BATCH, 3, width, width, device=device)

    def naive():
        with torch.inference_mode():
            model.network(image)

    naive()
    passes = seconds(naive, device, PASSES) * width**2
    cached = seconds(lambda: model.sample(BATCH, seed=0), device)
    print(f"width {width}: {cached:.1f} s through caches, {passes:.0f} s naively ({PASSES} of {width**2} passes timed)")
    setting = f"depth of the paper, {CHANNELS} filters, {width}x{width}x3, batch {BATCH}"
    row = measured(
        "PixelCNN++ sampling",
        "through caches",
        "a pass a pixel",
        cached / passes,
        BOUNDS[width],
        unit="time",
        setting=setting,
    )
    assert row.holds
