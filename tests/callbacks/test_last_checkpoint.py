"""The checkpoint to resume from: when it is written, and what may go wrong while it is."""

from __future__ import annotations

import errno
import io
import os
import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

import pl_genmodels
from pl_genmodels.callbacks import LastCheckpoint
from pl_genmodels.models.checkpoint_files import UnsavedError
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


class Full:
    """A disk on which some bytes are left."""

    def __init__(self, left, error=errno.ENOSPC):
        self.left, self.error = left, error

    def __call__(self, path, mode):
        if self.error == errno.EACCES:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        file = io.FileIO(path, mode)
        write, disk = file.write, self

        class File:
            def write(self, data):
                if len(data) > disk.left:
                    write(data[: disk.left])
                    raise OSError(disk.error, "No space left on device", str(path))
                disk.left -= len(data)
                return write(data)

            def __getattr__(self, name):
                return getattr(file, name)

            def __enter__(self):
                return self

            def __exit__(self, *args):
                file.close()

        return File()


@pytest.fixture
def disk(monkeypatch):
    """Exchanges the disk under the checkpoints; None for a good one."""
    good = Path.open

    def exchange(full):
        monkeypatch.setattr(Path, "open", good if full is None else lambda path, mode: full(path, mode))

    return exchange


@pytest.mark.parametrize("left", [0, 100, 3_000, 10_000])
def test_a_disk_that_is_full_for_a_while(left, disk, tmp_path):
    """The old file stays, a sentence says so, training goes on, and the next file is the one of an undisturbed run."""
    options, path = saving(tmp_path, 2)
    seen = []

    def look():
        disk(None)
        seen.append(pl_genmodels.load(path).images_seen)
        assert list(path.parent.iterdir()) == [path]

    options["callbacks"] = [AtBatch(3, lambda: disk(Full(left))), AtBatch(4, look), *options["callbacks"]]
    with pytest.warns(
        UserWarning, match=r"checkpoint \S+last.ckpt could not be written \(the disk is full\)"
    ) as caught:
        runner = fit(gan(), loader(6), tmp_path, **options)
    sentence = next(str(w.message) for w in caught if "could not be written" in str(w.message))
    assert "\n" not in sentence
    assert "the file written there before is intact; training goes on" in sentence
    assert seen == [2 * BATCH]
    assert runner.global_step == 6
    assert pl_genmodels.load(path).images_seen == 6 * BATCH


@pytest.mark.parametrize(("error", "reason"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "Permission denied")])
def test_a_final_state_that_cannot_be_saved_is_an_error(error, reason, disk, tmp_path):
    options, path = saving(tmp_path, 4)
    options["callbacks"].insert(0, AtBatch(4, lambda: disk(Full(0, error))))
    with pytest.warns(UserWarning), pytest.raises(UnsavedError) as caught:  # noqa: PT030
        fit(gan(), loader(6), tmp_path, **options)
    disk(None)
    sentence = str(caught.value)
    assert sentence.startswith(f"the run is over, but the checkpoint {path} could not be written ({reason})")
    assert "\n" not in sentence
    assert pl_genmodels.load(path).images_seen == 4 * BATCH
    assert list(path.parent.iterdir()) == [path]


def test_checkpoints_of_lightning_survive_a_full_disk_too(disk, tmp_path):
    """ModelCheckpoint does not remove the old file for one that was never written."""
    keeper = ModelCheckpoint(tmp_path / "kept", "{step}", every_n_train_steps=2, save_top_k=1)
    callbacks = [AtBatch(3, lambda: disk(Full(1_000))), AtBatch(4, lambda: disk(None)), keeper]
    alive = []
    callbacks.insert(2, AtBatch(4, lambda: alive.extend(path.name for path in (tmp_path / "kept").iterdir())))
    with pytest.warns(UserWarning, match="could not be written"):
        fit(gan(), loader(6), tmp_path, callbacks=callbacks, enable_checkpointing=True)
    assert alive == ["step=2.ckpt"]
    assert pl_genmodels.load(tmp_path / "kept" / "step=6.ckpt").images_seen == 6 * BATCH


def test_asked_for_by_hand_it_is_an_error(disk, tmp_path):
    runner = fit(gan(), loader(2), tmp_path)
    disk(Full(0))
    with pytest.raises(UnsavedError, match="could not be written") as caught:
        runner.save_checkpoint(tmp_path / "mine.ckpt")
    assert "nothing was overwritten" in str(caught.value)


def test_no_file_may_grow_any_more(tmp_path):
    """The system itself refuses, in the middle of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    options, path = saving(tmp_path, 2)
    model = gan(discriminator=partial(MLPDiscriminator, hidden_dim=256))

    def shrink():
        assert path.stat().st_size > 400_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))

    options["callbacks"].insert(0, AtBatch(3, shrink))
    try:
        with pytest.warns(UserWarning), pytest.raises(UnsavedError, match="File too large"):  # noqa: PT030
            fit(model, loader(6), tmp_path, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert pl_genmodels.load(path).images_seen == 2 * BATCH
    assert list(path.parent.iterdir()) == [path]
