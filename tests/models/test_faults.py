"""Runs that are killed or interrupted at random moments, and what is there afterwards."""

from __future__ import annotations

import hashlib
import mmap
import os
import random
import signal
import time
import traceback
import warnings

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from pl_genmodels.callbacks import ExactResume, GeneratorEMA, LastCheckpoint
from pl_genmodels.data import Loader, TensorSet
from pl_genmodels.models.checkpoint_files import WholeFiles, read_checkpoint, readable_checkpoints
from tests.models.harness import Recorder, assert_same, snapshot, trainer
from tests.small import BATCH, gan, samples

NUM_EPOCHS, NUM_BATCHES = 8, 7
TRAINED, SAVING = 0, 1  # bytes of the page that a run shares with who watches it


class Rows(Recorder):
    """Writes what is logged to a file at once, as a run that may end at any moment should."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def log_metrics(self, metrics, step=None):
        with self.path.open("a") as file:
            for key, value in metrics.items():
                file.write(f"{step} {key} {float(value)!r}\n")


def logged(folder):
    """Steps, and values by step and name."""
    rows = set((folder / "rows").read_text().splitlines())
    return {row.split()[0] + ("v" if " val/" in row else "") for row in rows}, rows


class Validates(Callback):
    """Logs something of every validation, in which random numbers are drawn."""

    def on_validation_epoch_end(self, trainer, module):
        if not trainer.sanity_checking:
            module.log("val/mean", module.sample(4).mean())


class Watched(Callback):
    """Tells how far the run is."""

    def __init__(self, page):
        self.page = page

    def on_train_batch_end(self, *args):
        self.page[TRAINED] = 1


class States(Callback):
    """The weights after each batch, as a digest by images seen."""

    def __init__(self):
        self.digests = {}

    def on_train_batch_end(self, trainer, module, *args):
        self.digests[module.images_seen] = digest(module.state_dict())


def digest(weights):
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in weights.values())).hexdigest()


def keeper(kind, folder):
    if kind == "last":
        return LastCheckpoint(every_n_train_steps=1)
    return ModelCheckpoint(folder / "checkpoints", "{step}", every_n_train_steps=1, save_top_k=1, save_last=True)


def run(kind, folder, *, ckpt_path=None, callbacks=()):
    """The run that must always end alike; LastCheckpoint copes with validation in it, also in mid-epoch."""
    torch.set_num_threads(1)
    model = gan(critic_steps=2)
    data = Loader(TensorSet({"image": samples(NUM_BATCHES)}), BATCH, shuffle=True, drop_last=True, seed=5)
    validation = Loader(TensorSet({"image": samples(2)}), BATCH, shuffle=False)
    options = {"limit_val_batches": 2, "val_check_interval": 3} if kind == "last" else {}
    own = [ExactResume(), GeneratorEMA(half_life=50.0), Validates(), keeper(kind, folder), *callbacks]
    runner = trainer(
        folder,
        max_epochs=NUM_EPOCHS,
        logger=Rows(folder / "rows"),
        callbacks=own,
        enable_checkpointing=True,
        num_sanity_val_steps=0,
        **options,
    )
    torch.manual_seed(1)
    runner.fit(model, data, validation, ckpt_path=ckpt_path)
    return snapshot(model, runner)


def newest(folder):
    """What a user types after a crash; every file in the folder must be whole."""
    files = list((folder / "checkpoints").glob("*.ckpt"))
    for file in files:
        read_checkpoint(file)
    return next((path for path, _ in readable_checkpoints(files)), None)


def started(job, page):
    """A child of this process, which has imported everything, that does a job and leaves with its exit status."""
    page[TRAINED] = page[SAVING] = 0
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        warnings.simplefilter("ignore")
        save = WholeFiles.save_checkpoint

        def noted(self, *args, **kwargs):
            page[SAVING] = 1
            save(self, *args, **kwargs)
            page[SAVING] = 0

        WholeFiles.save_checkpoint = noted
        job()
        status = 0
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def waited(pid, seconds=60.0):
    """Exit status of a child, negative for a signal."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")


def over(pid):
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def signalled(pid, signum, page, chance, while_saving):
    """Send a signal some random time after the first batch, perhaps as a checkpoint is being written."""
    while not (page[TRAINED] or over(pid)):
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.15))
    while while_saving and not (page[SAVING] or over(pid)):
        pass
    time.sleep(chance.uniform(0, 0.003) if while_saving else 0)
    os.kill(pid, signum)
    return bool(page[SAVING])


@pytest.fixture(scope="module", params=["last", "model"])
def straight(request, tmp_path_factory):
    """A run that nobody disturbs: kind, end, digests of its states, logged rows."""
    folder, states = tmp_path_factory.mktemp("straight"), States()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        end = run(request.param, folder, callbacks=[states])
    return request.param, end, states.digests, logged(folder)


def resumed(kind, folder, page):
    """Go on from the newest checkpoint, and leave the end in a file."""
    end = run(kind, folder, ckpt_path=newest(folder), callbacks=[Watched(page)])
    torch.save(end, folder / "end.pt")


def disturb(straight, tmp_path, signum, count, expected):
    """Runs that are signalled, go on from the newest checkpoint, are signalled again...; how many while saving."""
    kind, end, digests, rows = straight
    seed = int(os.environ.get("PL_GENMODELS_FAULT_SEED", time.time_ns() % 1_000_000))
    print(f"\nPL_GENMODELS_FAULT_SEED={seed}")
    chance, page = random.Random(seed), mmap.mmap(-1, 2)
    sent = in_saving = chains = 0
    while sent < count:
        folder, chains = tmp_path / f"chain{chains}", chains + 1
        folder.mkdir()
        finished = False
        while not finished:
            last = sent == count
            pid = started(lambda folder=folder: resumed(kind, folder, page), page)
            saving = not last and signalled(pid, signum, page, chance, while_saving=sent % 2 == 1)
            status = waited(pid)
            assert status in ({0} if last else {0, expected}), status
            finished = status == 0
            sent, in_saving = sent + (not finished), in_saving + (saving and not finished)
            path = newest(folder)
            if path is None:  # the first one was not written yet
                continue
            saved = read_checkpoint(path)
            assert digest(saved["state_dict"]) == digests[saved["pl_genmodels"]["images_seen"]]
        assert_same(end, torch.load(folder / "end.pt", weights_only=True))
        steps, values = logged(folder)
        assert steps <= rows[0]
        assert len(rows[0] - steps) <= (sent if signum == signal.SIGKILL else 0)  # a kill between file and logger
        assert values <= rows[1]  # the first round after a pause knows no values of players that sit it out
    print(f"{kind}: {sent} signals, {in_saving} of them while a checkpoint was written, {chains} runs")
    return in_saving


def test_killed_runs_go_on_bit_for_bit(straight, tmp_path):
    disturb(straight, tmp_path, signal.SIGKILL, 2, -signal.SIGKILL)


@pytest.mark.faults
def test_runs_killed_many_times_go_on_bit_for_bit(straight, tmp_path):
    assert disturb(straight, tmp_path, signal.SIGKILL, 30, -signal.SIGKILL) >= 5


INTERRUPTS = {signal.SIGTERM: 143, signal.SIGINT: 1}  # with Lightning's exit status; the command line makes it 130
interrupts = pytest.mark.parametrize("signum", INTERRUPTS)
with_last = pytest.mark.parametrize("straight", ["last"], indirect=True)  # ModelCheckpoint knows no signals


@with_last
@interrupts
def test_interrupted_runs_go_on_bit_for_bit(signum, straight, tmp_path):
    disturb(straight, tmp_path, signum, 2, INTERRUPTS[signum])


@pytest.mark.faults
@with_last
@interrupts
def test_runs_interrupted_many_times_go_on_bit_for_bit(signum, straight, tmp_path):
    disturb(straight, tmp_path, signum, 30, INTERRUPTS[signum])
