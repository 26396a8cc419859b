"""Modes found, in every logger and as pictures."""

from __future__ import annotations

import math

import pytest
import torch
from PIL import Image

from pl_genmodels.callbacks import ModeCoverage
from pl_genmodels.data import Digits, Ring8
from tests.models.harness import Recorder
from tests.small import fit, gan


def one_point(*args, **options):
    """Everything at the first centre."""
    return torch.tensor([2.0, 0.0]).expand(400, 2)


def test_a_collapsed_generator_is_seen(tmp_path):
    model, data, recorder = gan(), Ring8(num_samples=64, batch_size=16), Recorder()
    model.sample = one_point
    coverage = ModeCoverage(every_n_images=32, num_samples=400)
    fit(model, data, tmp_path, logger=recorder, callbacks=[coverage], log_every_n_steps=100)
    rows = [row for _, row in recorder.rows if "modes/covered" in row]
    assert [row["images_seen"] for row in rows] == [0, 32, 64]
    # the mean distance from one mode to all eight
    mean = sum(2 * math.hypot(math.cos(k * math.tau / 8) - 1, math.sin(k * math.tau / 8)) for k in range(8)) / 8
    for row in rows:
        assert row["modes/covered"] == 1
        assert row["modes/high_quality"] == 1
        assert row["modes/kl"] == pytest.approx(math.log(8))
        assert row["modes/symmetric_kl"] > 5
        assert row["modes/wasserstein"] == pytest.approx(mean, abs=0.25)


def test_pictures_of_every_measurement_and_all_in_motion(tmp_path):
    model, data = gan(), Ring8(num_samples=64, batch_size=16)
    positions = iter([0.0, 1.0, 2.0])
    model.sample = lambda *args, **options: torch.tensor([next(positions), 0.0]).expand(50, 2)
    fit(model, data, tmp_path, callbacks=[ModeCoverage(every_n_images=32, num_samples=50)])
    (folder,) = tmp_path.rglob("modes")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["000000000.png", "000000032.png", "000000064.png", "modes.gif"]
    with Image.open(folder / "modes.gif") as moving:
        assert moving.n_frames == 3


def test_a_perfect_generator_is_seen(tmp_path):
    model, data, recorder = gan(), Ring8(num_samples=32, batch_size=16), Recorder()

    def sample(number, *, seed):
        generator = torch.Generator().manual_seed(seed + 1)
        points, _ = data.draw(number, generator)
        return points + data.sigma * torch.randn(points.shape, generator=generator)

    model.sample = sample
    fit(model, data, tmp_path, logger=recorder, callbacks=[ModeCoverage(num_samples=1000)])
    (row, *_) = [row for _, row in recorder.rows if "modes/covered" in row]
    assert row["modes/covered"] == 8
    assert row["modes/high_quality"] > 0.97
    assert row["modes/wasserstein"] < 0.4


def test_modes_must_be_known(tmp_path):
    with pytest.raises(ValueError, match="ModeCoverage: got Digits, allowed are data with centers, such as Ring8"):
        fit(gan((1, 8, 8)), Digits(size=8, batch_size=16), tmp_path, callbacks=[ModeCoverage()])
    with pytest.raises(ValueError, match="num_samples: got 0"):
        ModeCoverage(num_samples=0)
