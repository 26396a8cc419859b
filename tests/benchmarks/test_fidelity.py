"""FID against the bare feature extractor, and what the cached statistics of the real images bring."""

from __future__ import annotations

import pytest
import torch

from pl_genmodels.data import Loader, TensorSet
from pl_genmodels.metrics import DigitClassifier, InceptionV3, evaluate, real_state
from tests.benchmarks.networks import dcgan
from tests.benchmarks.timing import time_ratio
from tests.metrics.conftest import write_random_inception

BATCH = 128


def pictures(number, channels=3):
    pixels = torch.randint(0, 256, (number, channels, 32, 32), dtype=torch.uint8)
    return TensorSet({"image": pixels})


@pytest.mark.benchmark
@pytest.mark.parametrize(("kind", "number"), [("digits", 16 * BATCH), ("inception", 16)])
def test_features_cost_what_their_network_costs(kind, number, tmp_path, device, measured):
    weights = write_random_inception(tmp_path / "weights.pth") if kind == "inception" else None
    extractor = DigitClassifier() if weights is None else InceptionV3(weights)
    images = pictures(number)
    loader = Loader(images, min(BATCH, number), shuffle=False)

    def bare():
        for batch in images.tensors["image"].split(BATCH):
            extractor(batch.to(device))

    ratio = time_ratio(lambda: real_state(loader, extractor, device=device), bare, device, rounds=5)
    row = measured(
        f"fid/{extractor.name.split('-')[0]}",
        "FID's statistics",
        "bare extractor",
        1 / ratio,
        ">= 0.9",
        unit="features/s",
        setting=f"32x32, {number} images",
    )
    assert row.holds


@pytest.mark.benchmark
def test_cached_statistics_save_the_real_half(tmp_path, device, measured):
    model, extractor = dcgan(32, device), DigitClassifier()
    number = 4 * BATCH
    loader = Loader(pictures(number), BATCH, shuffle=False)

    def judge(fingerprint):
        state = real_state(loader, extractor, fingerprint=fingerprint, cache_dir=str(tmp_path), device=device)
        evaluate(model, state, extractor, num_samples=number)

    ratio = time_ratio(lambda: judge("known"), lambda: judge(None), device)
    what, against, setting = "cached real statistics", "computed anew", f"DCGAN 32x32, {number} images"
    assert measured("fid/cache", what, against, ratio, "<= 1.0", unit="time of an FID", setting=setting).holds
