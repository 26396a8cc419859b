"""The most memory that a run takes, against the loop of the well-known scripts."""

from __future__ import annotations

from functools import partial

import pytest

from tests.benchmarks.loops import classic_step
from tests.benchmarks.networks import CHANNELS, dcgan, images, setting
from tests.benchmarks.timing import fit, peak_bytes

UNIT = "peak bytes of tensors"
STEPS = 3


def classic_run(size, device):
    step = classic_step(dcgan(size, device))
    for _ in range(STEPS):
        step(images(size).to(device))


def our_run(size, device, tmp_path, **options):
    batches = ({"image": images(size).to(device)} for _ in range(STEPS))
    fit(dcgan(size, device, **options), batches, tmp_path, device)


@pytest.mark.benchmark
@pytest.mark.parametrize("size", CHANNELS)
def test_a_run_needs_no_more_memory_than_the_classic_one(size, tmp_path, device, measured):
    classic, ours = partial(classic_run, size, device), partial(our_run, size, device, tmp_path)
    classic(), ours()  # what is allocated once
    ratio = peak_bytes(ours, device) / peak_bytes(classic, device)
    row = measured(f"memory/dcgan-{size}", "run", "classic loop", ratio, "<= 1.0", unit=UNIT, setting=setting(size))
    assert row.holds


@pytest.mark.benchmark
def test_memory_of_one_generator_forward_against_two(tmp_path, device, measured):
    """The shared forward trades memory for time: its graph lives through the discriminator's turn."""
    one, two = (partial(our_run, 32, device, tmp_path, fresh_latents=fresh) for fresh in (False, True))
    one()  # what is allocated once
    ratio = peak_bytes(one, device) / peak_bytes(two, device)
    name, what, against = "memory/one forward", "one generator forward", "two (fresh_latents)"
    assert measured(name, what, against, ratio, unit=UNIT, setting=setting(32)).holds
