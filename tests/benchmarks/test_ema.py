"""Averaged weights: one update against Lightning's callback."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import EMAWeightAveraging

from pl_genmodels.callbacks import GeneratorEMA
from tests.benchmarks.networks import dcgan
from tests.benchmarks.timing import time_ratio


def update(callback, model, trainer):
    """What a Trainer calls after every batch, as if the generator had just moved."""
    model.generator_updates += 1
    model.images_seen += 64
    trainer.global_step += 1
    callback.on_train_batch_end(trainer, model, None, None, 0)


def prepared(callback, device):
    model, trainer = dcgan(64, device), SimpleNamespace(global_step=0)
    callback.setup(trainer, model, "fit")
    callback.on_train_start(trainer, model)
    return partial(update, callback, model, trainer)


@pytest.mark.benchmark
@pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback")
def test_an_update_of_the_average_is_cheap(device, measured):
    ratio = time_ratio(prepared(GeneratorEMA(), device), prepared(EMAWeightAveraging(), device), device, 15, repeats=5)
    what, against, setting = "GeneratorEMA", "EMAWeightAveraging", "DCGAN 64x64, 64 channels"
    assert measured("ema", what, against, ratio, "<= 0.05", unit="time of an update", setting=setting).holds
