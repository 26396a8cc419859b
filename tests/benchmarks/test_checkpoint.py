"""Checkpoints against the bare state on the same disk."""

from __future__ import annotations

import pytest
import torch

from pl_genmodels.checkpoints import load
from tests.benchmarks.networks import BATCH, dcgan, images
from tests.benchmarks.timing import time_ratio
from tests.models.harness import trainer
from tests.small import Batches

SETTING = "DCGAN 64x64, 64 channels"


@pytest.mark.benchmark
def test_a_checkpoint_is_as_large_and_as_fast_as_its_state(tmp_path, device, measured):
    model = dcgan(64, device)
    runner = trainer(tmp_path, max_epochs=1, accelerator=device.type)
    runner.fit(model, Batches([{"image": images(64)[: BATCH // 8]}]))
    ours, bare = tmp_path / "ours.ckpt", tmp_path / "bare.pt"

    def save_bare():
        torch.save([model.state_dict(), [optimizer.state_dict() for optimizer in runner.optimizers]], bare)

    def load_bare():
        dcgan(64, torch.device("cpu")).load_state_dict(torch.load(bare, weights_only=True, map_location="cpu")[0])

    times = {
        "save": (lambda: runner.save_checkpoint(ours), save_bare, "torch.save of both states"),
        "load": (lambda: load(ours), load_bare, "torch.load into a new model"),
    }
    for name, (left, right, against) in times.items():
        ratio = time_ratio(left, right, device)
        measured(f"checkpoint/{name}", name, against, ratio, unit="time", setting=SETTING)
    ratio = ours.stat().st_size / bare.stat().st_size
    row = measured("checkpoint/size", "file", "both states", ratio, "<= 1.01", unit="bytes on disk", setting=SETTING)
    assert row.holds
