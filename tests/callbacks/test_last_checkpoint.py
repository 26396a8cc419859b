"""The checkpoint to resume from: when it is written, and what may go wrong while it is."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

import pl_genmodels
from pl_genmodels.callbacks import LastCheckpoint
from pl_genmodels.networks import MLPDiscriminator
from tests.callbacks.interrupted_run import run
from tests.conftest import ROOT
from tests.models.harness import assert_same, snapshot
from tests.small import BATCH, Batches, fit, gan, loader, samples


class AtBatch(Callback):
    """Does something when a batch of the run ends, before any checkpoint is written."""

    def __init__(self, index, do):
        self.index, self.do = index, do

    def on_train_batch_end(self, trainer, *args):
        if trainer.fit_loop.total_batch_idx == self.index:
            self.do()


class SavedAt(Callback):
    """Notes the batches after which there is a new file."""

    def __init__(self, path):
        self.path, self.batches, self.last = path, [], None

    def look(self, when):
        now = self.path.stat().st_ino if self.path.exists() else None
        if now != self.last:
            self.batches.append(when)
        self.last = now

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.look(trainer.fit_loop.total_batch_idx)

    def teardown(self, *args, **kwargs):
        self.look("end")


def saving(tmp_path, every=500):
    """Options of a run that keeps its last checkpoint, and where that is."""
    options = {"callbacks": [LastCheckpoint(every)], "enable_checkpointing": True}
    return options, tmp_path / "checkpoints" / "last.ckpt"


@pytest.fixture
def handler():
    before = signal.getsignal(signal.SIGINT)
    yield before
    signal.signal(signal.SIGINT, before)


# ---- when


@pytest.mark.parametrize(("every", "batches"), [(2, [4, 8, "end"]), (4, [8, "end"]), (100, ["end"])])
def test_the_interval_counts_generator_updates(every, batches, tmp_path):
    options, path = saving(tmp_path, every)
    watch = SavedAt(path)
    options["callbacks"].insert(0, watch)
    fit(gan(critic_steps=2), loader(11), tmp_path, **options)
    assert watch.batches == batches


def test_the_end_holds_every_batch(tmp_path):
    """Also those that came after the last update of the generator."""
    options, path = saving(tmp_path, 1)
    model = gan(critic_steps=3)
    fit(model, loader(8), tmp_path, **options)
    saved = torch.load(path, weights_only=True)
    assert saved["pl_genmodels"]["images_seen"] == 8 * BATCH
    assert saved["pl_genmodels"]["critic_turns"] == 2
    assert all(torch.equal(value, saved["state_dict"][key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("every", [1, 500])
def test_a_finished_run_can_go_on(every, tmp_path):
    """Whether its last file was written after its last batch or after its last epoch."""
    data = Batches({"image": x, "latent": torch.randn(BATCH, 3)} for x in samples(4).split(BATCH))
    options, path = saving(tmp_path / "short", every)
    fit(gan(), data, tmp_path / "short", **options)
    straight, resumed = gan(), gan()
    one = fit(straight, data, tmp_path, max_epochs=3)
    two = fit(resumed, data, tmp_path, max_epochs=3, ckpt_path=path)
    assert_same(snapshot(straight, one), snapshot(resumed, two))
    assert one.current_epoch == two.current_epoch


def test_nothing_else_stays_in_the_folder(tmp_path):
    options, path = saving(tmp_path, 1)
    fit(gan(), loader(3), tmp_path, **options)
    assert list(path.parent.iterdir()) == [path]


def test_wrong_interval():
    with pytest.raises(ValueError, match="every_n_train_steps: got 0, allowed is 1 or more"):
        LastCheckpoint(0)


# ---- interrupts


def test_ctrl_c_leaves_a_checkpoint_from_which_the_run_goes_on_exactly(tmp_path):
    command = [sys.executable, "-m", "tests.callbacks.interrupted_run", str(tmp_path / "child")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert "ready" in child.stdout.readline()
        child.send_signal(signal.SIGINT)
        _, message = child.communicate(timeout=60)
    finally:
        child.kill()
    path = tmp_path / "child" / "checkpoints" / "last.ckpt"
    assert child.returncode == 1
    assert str(path) in message
    assert f"--ckpt_path {path}" in message
    assert "Traceback" not in message

    seen = torch.load(path, weights_only=True)["pl_genmodels"]["images_seen"]
    assert seen > 20 * BATCH
    assert pl_genmodels.load(path).images_seen == seen
    num_batches = (seen // BATCH // 7 + 2) * 7
    straight, one = run(tmp_path / "straight", num_batches=num_batches)
    resumed, two = run(tmp_path / "resumed", num_batches=num_batches, ckpt_path=path)
    assert_same(snapshot(straight, one), snapshot(resumed, two))


def test_ctrl_c_finishes_the_batch(tmp_path, handler):
    options, path = saving(tmp_path)
    model = gan()
    during = []
    step = model.training_step

    def training_step(batch, batch_idx):
        if batch_idx == 2:
            signal.raise_signal(signal.SIGINT)
        step(batch, batch_idx)
        during.append(batch_idx)

    model.training_step = training_step
    with pytest.raises(SystemExit) as exit_:
        fit(model, loader(6), tmp_path, **options)
    assert exit_.value.code == 1
    assert during == [0, 1, 2]
    assert torch.load(path, weights_only=True)["pl_genmodels"]["images_seen"] == 3 * BATCH


def test_a_second_ctrl_c_stops_at_once(tmp_path, handler):
    options, path = saving(tmp_path)
    model = gan()

    def training_step(batch, batch_idx):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    model.training_step = training_step
    with pytest.raises(SystemExit):
        fit(model, loader(6), tmp_path, **options)
    assert not path.exists()


def test_sigterm_leaves_a_checkpoint(tmp_path):
    options, path = saving(tmp_path)
    options["callbacks"].insert(0, AtBatch(2, lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(SIGTERMException):
        fit(gan(), loader(6), tmp_path, **options)
    assert torch.load(path, weights_only=True)["pl_genmodels"]["images_seen"] == 3 * BATCH


def fail():
    raise RuntimeError("on purpose")


@pytest.mark.parametrize("end", ["well", "badly"])
def test_ctrl_c_is_given_back(end, tmp_path, handler):
    options, _ = saving(tmp_path)
    if end == "badly":
        options["callbacks"].insert(0, AtBatch(1, fail))
        with pytest.raises(RuntimeError, match="on purpose"):
            fit(gan(), loader(3), tmp_path, **options)
    else:
        fit(gan(), loader(3), tmp_path, **options)
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_interrupt_is_over_in_the_next_run(tmp_path, handler):
    callback, model = LastCheckpoint(), gan()
    options = {"callbacks": [AtBatch(0, lambda: signal.raise_signal(signal.SIGINT)), callback]}
    with pytest.raises(SystemExit):
        fit(model, loader(3), tmp_path, enable_checkpointing=True, **options)
    signal.signal(signal.SIGINT, handler)
    again = fit(gan(), loader(3), tmp_path, enable_checkpointing=True, callbacks=[callback])
    assert again.global_step == 3


# ---- disks


def full_disk(source, target, *args, **kwargs):
    """Half of the file arrives."""
    with open(source, "rb") as given, open(target, "wb") as taken:
        taken.write(given.read()[: os.path.getsize(source) // 2])
    raise OSError(errno.ENOSPC, "No space left on device", target)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    """The system's temporary folder on one disk, the run on another, which is full."""
    options, path = saving(tmp_path, 2)
    options["callbacks"].insert(0, AtBatch(3, lambda: monkeypatch.setattr(shutil, "move", full_disk)))
    with pytest.raises(OSError, match="No space left on device"):
        fit(gan(), loader(6), tmp_path, **options)
    assert pl_genmodels.load(path).images_seen == 2 * BATCH
    assert list(path.parent.iterdir()) == [path]


def test_a_full_temporary_folder_leaves_the_old_file(tmp_path):
    """No file may grow beyond half of a checkpoint any more."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    options, path = saving(tmp_path, 2)
    model = gan(discriminator=partial(MLPDiscriminator, hidden_dim=256))

    def shrink():
        assert path.stat().st_size > 400_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))

    options["callbacks"].insert(0, AtBatch(3, shrink))
    try:
        with pytest.raises(OSError, match="File too large"):
            fit(model, loader(6), tmp_path, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert pl_genmodels.load(path).images_seen == 2 * BATCH
    assert list(path.parent.iterdir()) == [path]
