"""The step itself: against the loop of the well-known scripts, and what each choice in it brings."""

from __future__ import annotations

from functools import partial
from statistics import median

import pytest
import torch

from tests.benchmarks.loops import classic_step
from tests.benchmarks.networks import CHANNELS, dcgan, images, setting
from tests.benchmarks.timing import loop_ratio, seconds_a_step

BOUNDS = {"32-true": "<= 0.8", "bf16-mixed": "<= 0.55"}


@pytest.mark.benchmark
@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("size", CHANNELS)
def test_a_step_takes_less_time_than_the_classic_one(size, precision, tmp_path, device, measured):
    model, step = dcgan(size, device), classic_step(dcgan(size, device))
    ratio = loop_ratio(model, step, partial(images, size), tmp_path, device, rounds=12, precision=precision)
    what, against = f"step in {precision}", "classic loop in float32"
    row = measured(f"step/dcgan-{size}", what, against, ratio, BOUNDS[precision], unit="time", setting=setting(size))
    assert row.holds


def contiguous(model):
    return model.to(memory_format=torch.contiguous_format)


VARIANTS = {  # ours and the other: options of the model, of the Trainer, and what is done to the model
    "one generator forward": ("two", ({}, {}, None), ({"fresh_latents": True}, {}, None), "<= 1.0"),
    "channels_last": ("contiguous", ({}, {}, None), ({}, {}, contiguous), "<= 1.0"),
    "bf16-mixed": ("float32", ({}, {"precision": "bf16-mixed"}, None), ({}, {}, None), "<= 1.0"),
    "compile": ("eager", ({"compile": True}, {}, None), ({}, {}, None), ""),
}


@pytest.mark.benchmark
@pytest.mark.parametrize("what", VARIANTS)
def test_each_choice_of_the_step_pays(what, tmp_path, device, measured):
    against, *sides, bound = VARIANTS[what]

    def prepared(model_options, trainer_options, change):
        model = dcgan(32, device, **model_options)
        return change(model) if change else model, trainer_options

    (ours, our_options), (other, other_options) = (prepared(*side) for side in sides)
    ratios = []
    for _ in range(7):
        batches = [{"image": images(32).to(device)} for _ in range(6)]
        time = seconds_a_step(ours, batches, tmp_path, device, **our_options)
        ratios.append(time / seconds_a_step(other, batches, tmp_path, device, **other_options))
    row = measured(f"step/{what}", what, against, median(ratios), bound, unit="time", setting=setting(32))
    assert row.holds
