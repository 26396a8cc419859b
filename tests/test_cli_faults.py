"""The command line when something goes wrong: exit statuses, sentences, and what is left."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

import pl_genmodels
from pl_genmodels.cli import main
from pl_genmodels.models.checkpoint_files import CHECKPOINT_FORMAT
from tests.conftest import ROOT

TINY = ["--data.batch_size", "32", "--trainer.enable_progress_bar", "false", "--trainer.limit_val_batches", "0"]
FIT = ["fit", "--config", str(ROOT / "configs" / "gan.yaml"), *TINY]


def run(*arguments):
    """Exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            main(list(arguments))
        except SystemExit as end:
            return end.code
    return 0


def steps(number):
    return ["--trainer.max_epochs", "-1", "--trainer.max_steps", str(number)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which one short run has ended."""
    folder, before = tmp_path_factory.mktemp("place"), Path.cwd()
    os.chdir(folder)
    assert run(*FIT, *steps(3)) == 0
    yield folder
    os.chdir(before)


LAST = Path("runs/gan/version_0/checkpoints/last.ckpt")


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_checkpoint_that_last_finds(signum, status, place):
    log = place / f"{status}"
    existing = set(place.glob("runs/gan/*"))
    command = [sys.executable, "-m", "pl_genmodels", *FIT, *steps(1_000_000), "--trainer.default_root_dir", str(log)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        if any(list(f.glob("metrics.csv")) for f in set(place.glob("runs/gan/*")) - existing):
            break
        time.sleep(0.01)
    process.send_signal(signum)
    assert process.wait(timeout=120) == status
    path = max(place.glob("runs/gan/*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    seen = pl_genmodels.load(path).images_seen
    assert run(*FIT, *steps(seen // 32 + 2), "--ckpt_path", "last") == 0
    after = max(place.glob("runs/gan/*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    assert pl_genmodels.load(after).images_seen == seen + 2 * 32


def test_last_passes_over_a_broken_file_and_needs_to_know_whose(place, capsys):
    newest = max(place.glob("runs/gan/*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    broken = place / "runs/gan/version_0/checkpoints/later.ckpt"
    broken.write_bytes(newest.read_bytes()[:3000])
    with pytest.warns(UserWarning, match=r"later\.ckpt is damaged .*; passed over"):
        main([*FIT, *steps(pl_genmodels.load(newest).generator_updates + 1), "--ckpt_path", "last"])
    broken.unlink()
    assert run("validate", "--ckpt_path", "last") == 1
    assert "ckpt_path: got 'last', allowed without a config or --model" in capsys.readouterr().err


def test_a_failing_callback_leaves_the_file_and_its_name(place, monkeypatch):
    from pl_genmodels.callbacks import SampleGrid, last_checkpoint

    def fail(self, trainer, module, outputs, batch, batch_idx):
        if module.generator_updates == 4:
            raise RuntimeError("on purpose")

    said = []
    monkeypatch.setattr(last_checkpoint, "rank_zero_info", said.append)
    monkeypatch.setattr(SampleGrid, "on_train_batch_end", fail)
    every = ["--trainer.callbacks+=LastCheckpoint", "--trainer.callbacks.every_n_train_steps=2"]
    with pytest.raises(RuntimeError, match="on purpose"):
        run(*FIT, *steps(9), *every)
    (sentence,) = said
    path = sentence.splitlines()[0].removeprefix("Checkpoint: ")
    assert pl_genmodels.load(path).generator_updates == 2
    assert sentence.endswith(f"--ckpt_path {path}")


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "code ran"))


def spoilt(kind, place):
    """A file of that kind and what the sentence about it says."""
    path, good = place / f"{kind}.ckpt", (place / LAST).read_bytes()
    checkpoint = torch.load(place / LAST, weights_only=True)
    if kind == "trap":
        torch.save({**checkpoint, "extra": Trap(place / "sprung")}, path)
        return path, "was not loaded"
    if kind == "bare trap":
        path.write_bytes(pickle.dumps(Trap(place / "sprung")))
        return path, "was not loaded"
    if kind in ("empty", "header", "half"):
        path.write_bytes(good[: {"empty": 0, "header": 40, "half": len(good) // 2}[kind]])
        return path, "checkpoint"
    if kind == "text":
        path.write_text("epoch: 3\n")
        return path, "checkpoint"
    if kind == "newer":
        checkpoint["pl_genmodels"]["format"] = CHECKPOINT_FORMAT + 1
        words = f"has format {CHECKPOINT_FORMAT + 1}, this version reads up to {CHECKPOINT_FORMAT}"
    elif kind == "older":
        checkpoint["pl_genmodels"]["format"] = -1
        words = "has format -1, which this version cannot read"
    else:
        checkpoint["hyper_parameters"]["_class_path"] = "pl_genmodels.models.gan.lsgan.LSGAN"
        words = "LSGAN"
    torch.save(checkpoint, path)
    return path, words


KINDS = ["trap", "bare trap", "empty", "header", "half", "text", "newer", "older", "other model"]
VERBS = [
    *([name] for name in ("sample", "interpolate", "evaluate", "validate", "test", "predict")),
    ["export", "--format", "pth", "--out", "out.pth"],
    ["translate", "--input", ".", "--out", "out"],
    FIT,
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_no_entry_runs_code_or_ends_in_a_traceback(verb, place, capsys):
    for kind in KINDS:
        if kind == "other model" and verb is not FIT:
            continue  # that model is what these are about
        path, words = spoilt(kind, place)
        assert run(*verb, *(steps(5) if verb is FIT else []), "--ckpt_path", str(path)) == 1, kind
        error = capsys.readouterr().err
        line = next(line for line in error.splitlines() if line.startswith("error: "))
        assert words in line, (kind, line)
        assert "Traceback" not in error
        assert not (place / "sprung").exists(), kind
        path.unlink()


def test_a_loss_that_is_not_finite_is_a_sentence(place, capsys, monkeypatch):
    from pl_genmodels.losses import NonSaturating

    monkeypatch.setattr(NonSaturating, "generator", lambda self, fake, real=None: fake * float("nan"))
    assert run(*FIT, *steps(9)) == 1
    error = capsys.readouterr().err
    assert "error: After 32 images (step 1), generator/adversarial is not finite; no checkpoint was written" in error
    assert "Traceback" not in error


def test_a_last_file_that_cannot_be_written_is_a_sentence(place, capsys, monkeypatch):
    opened = Path.open

    def full(self, *args, **kwargs):
        if self.suffix == ".part":
            raise OSError(28, "No space left on device", str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    assert run(*FIT, *steps(3)) == 1
    assert "error: the run is over, but the checkpoint runs/gan/" in capsys.readouterr().err
    shutil.rmtree(max(place.glob("runs/gan/*"), key=lambda path: path.stat().st_mtime_ns))
