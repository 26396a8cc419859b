"""Every data-parallel strategy of Lightning: equal to one process, ended together, and resumable."""

from __future__ import annotations

import os
import signal
import stat

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from pl_genmodels.callbacks import LastCheckpoint
from tests.small import BATCH, fit, gan, loader

# ---- the axis of all curves


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_loggers_get_every_image_of_a_long_run(precision, tmp_path):
    """Single precision would round from 2 ** 24 on, half precision from 256 on."""
    model = gan()
    model.images_seen = 100_000_001
    logger = CSVLogger(tmp_path)
    runner = fit(model, loader(3), tmp_path, logger=logger, precision=precision, max_epochs=1)
    assert runner.logged_metrics["images_seen"] == 100_000_001 + 3 * BATCH
    rows = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("images_seen")
    assert [float(row.split(",")[column]) for row in rows[1:]] == [100_000_001 + n * BATCH for n in (1, 2, 3)]


# ---- signals, one process


def test_sigterm_ends_with_the_status_of_its_number(tmp_path):
    model = gan()

    def training_step(batch, batch_idx):
        signal.raise_signal(signal.SIGTERM)

    model.training_step = training_step
    with pytest.raises(SIGTERMException) as exit_:
        fit(model, loader(3), tmp_path, callbacks=[LastCheckpoint()], enable_checkpointing=True)
    assert exit_.value.code == 128 + signal.SIGTERM


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A job of one task, and a command `scontrol` that notes what it is asked to do."""
    job = {"JOB_ID": "31", "NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0", "JOB_NAME": "train"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    command, notes = tmp_path / "bin" / "scontrol", tmp_path / "asked"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$@" >> {notes}\n')
    command.chmod(command.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    return notes


def test_a_slurm_job_is_saved_after_a_whole_round_and_queued_once(slurm, tmp_path):
    """Lightning alone would save in the middle of the step in which the signal comes, and at each signal."""
    model = gan()
    players = model.discriminator_terms

    def discriminator_terms(batch, generated):
        if model.generator_updates in (1, 2):
            signal.raise_signal(signal.SIGUSR1)
        return players(batch, generated)

    model.discriminator_terms = discriminator_terms
    options = {"callbacks": [LastCheckpoint()], "enable_checkpointing": True}
    fit(model, loader(5), tmp_path, **options)
    assert slurm.read_text() == "requeue 31\n"
    saved = torch.load(tmp_path / "hpc_ckpt_1.ckpt", weights_only=True)
    steps = [{int(entry["step"]) for entry in state["state"].values()} for state in saved["optimizer_states"]]
    assert steps == [{2}, {2}]
    assert (saved["pl_genmodels"]["images_seen"], model.images_seen) == (2 * BATCH, 5 * BATCH)

    resumed = gan()
    runner = fit(resumed, loader(5), tmp_path, max_steps=4, max_epochs=-1, **options)
    assert (runner.global_step, resumed.images_seen) == (4, 4 * BATCH), "the queued job goes on by itself"
