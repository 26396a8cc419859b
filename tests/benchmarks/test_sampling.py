"""Sampling against the generator's bare forward passes."""

from __future__ import annotations

import pytest
import torch

from tests.benchmarks.networks import dcgan
from tests.benchmarks.timing import time_ratio

NUM_SAMPLES, BATCH = 512, 256


@pytest.mark.benchmark
def test_sampling_costs_little_beyond_the_forward_passes(device, measured):
    model = dcgan(32, device)

    def bare():
        model.generator.eval()
        with torch.no_grad():
            latents = torch.rand(NUM_SAMPLES, model.generator.latent_dim, device=device) * 2 - 1
            torch.cat([model.generator(part) for part in latents.split(BATCH)])

    ratio = time_ratio(lambda: model.sample(NUM_SAMPLES, seed=0), bare, device, rounds=11)
    setting = f"DCGAN 32x32, 32 channels, {NUM_SAMPLES} samples"
    assert measured("sampling", "sample", "generator forwards", ratio, "<= 1.1", unit="time", setting=setting).holds
