"""Modes of stacked digits: counted by reading each channel."""

from __future__ import annotations

import math

import pytest
import torch

from pl_genmodels.callbacks import StackedCoverage, stacked_coverage
from pl_genmodels.data import Digits, StackedDigits
from pl_genmodels.metrics import FeatureExtractor
from tests.models.harness import Recorder
from tests.small import fit, gan


class Brightness(FeatureExtractor):
    """Reads a grey picture as the digit that its brightness says."""

    name = "brightness"

    def __init__(self):
        super().__init__(1)

    def build(self):
        return torch.nn.Identity()

    def extract(self, network, images):
        assert images.shape[1] == 1
        digit = (images.float().mean((1, 2, 3)) / 25).round()
        return digit[:, None], -(digit[:, None] - torch.arange(10)).abs()


def counting(num_samples, *, seed=None, first=0):
    """Picture i says the number i modulo 250."""
    number = torch.arange(first, first + num_samples) % 250
    digits = torch.stack([number // 100, number // 10 % 10, number % 10], 1)
    return (25 * digits / 127.5 - 1)[..., None, None].expand(-1, 3, 8, 8)


def test_every_number_that_occurs_is_counted(tmp_path):
    model, data, recorder = gan((3, 8, 8)), StackedDigits(size=8, num_samples=32, batch_size=16), Recorder()
    model.sample = counting
    callback = StackedCoverage(Brightness(), num_samples=2500)
    fit(model, data, tmp_path, logger=recorder, callbacks=[callback], limit_val_batches=1)
    (row,) = [row for _, row in recorder.rows if "val/modes-brightness" in row]
    assert row["val/modes-brightness"] == 250
    assert row["val/mode_kl-brightness"] == pytest.approx(math.log(4))
    assert row["images_seen"] == 32


def test_processes_share_the_work(monkeypatch):
    model, callback = gan((3, 8, 8)), StackedCoverage(Brightness(), num_samples=2501)
    model.sample = counting
    whole, parts = callback.count(model), []
    for rank in range(3):
        monkeypatch.setattr(stacked_coverage, "rank_and_size", lambda rank=rank: (rank, 3))
        parts.append(callback.count(model))
    assert whole.sum() == 2501
    assert torch.equal(sum(parts), whole)


def test_what_has_no_three_digits(tmp_path):
    with pytest.raises(
        ValueError, match=r"StackedCoverage: got data of shape \(1, 8, 8\), allowed are those of Stacked"
    ):
        fit(gan((1, 8, 8)), Digits(size=8, batch_size=16), tmp_path, callbacks=[StackedCoverage(Brightness())])
    with pytest.raises(ValueError, match="num_samples: got 0"):
        StackedCoverage(num_samples=0)
