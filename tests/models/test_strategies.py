"""Every data-parallel strategy of Lightning: equal to one process, ended together, and resumable."""

from __future__ import annotations

import os
import signal
import stat

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn

from pl_genmodels.callbacks import GeneratorEMA, LastCheckpoint
from pl_genmodels.cli.errors import sentence_for
from pl_genmodels.models.ranks import LOST_RANK, EqualEpochs
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator
from tests.callbacks.test_fidelity import all_metrics
from tests.models.harness import assert_same, snapshot, trainer
from tests.models.launches import free_port
from tests.models.strategy_worker import ROUNDS, ROWS, report, train
from tests.models.test_likelihood import Gaussian
from tests.small import BATCH, fit, gan, loader

# ---- real processes


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """One process on the whole batches."""
    return report(train(tmp_path_factory.mktemp("one"), strategy="auto", devices=1)[0])


def assert_equal(many, one, tolerance=1e-12):
    assert (
        many["progress"] == one["progress"] == {"images_seen": ROUNDS * ROWS, "generator_updates": 3, "critic_turns": 0}
    )
    assert many["averaged"] is one["averaged"] is True
    assert_same(many["weights"], one["weights"], tolerance)
    assert (many["samples"] - one["samples"]).abs().max() <= tolerance


@pytest.mark.parametrize("strategy", ["ddp", "ddp_find_unused_parameters_true"])
def test_two_nodes_of_torchrun_equal_one_process(strategy, launches, one):
    launches["nodes"].statuses()
    for rank in (0, 1):
        assert_equal(launches["nodes"].load(f"{strategy}.rank{rank}"), one)


def test_two_nodes_measure_what_one_process_does(launches, tmp_path):
    launches["nodes"].statuses()
    expected = all_metrics(tmp_path)
    assert "val/kid-subset19-projection-0-val23-fake19" in expected
    for rank in (0, 1):
        assert launches["nodes"].load(f"metrics.rank{rank}") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook"])
def test_what_started_processes_learn_comes_home(strategy, launches, one):
    """Weights, averaged weights and counters are those of one process, in the script's own object."""
    launches["script"].statuses()
    assert_equal(launches["script"].load(f"{strategy}.home"), one)


def test_a_model_without_a_shape_comes_home_built(launches, tmp_path):
    launches["script"].statuses()
    alone = report(train(tmp_path, strategy="auto", devices=1, built=False)[0])
    assert_equal(launches["script"].load("lazy.home"), alone, 1e-6)  # this process keeps single precision


def test_a_signal_at_one_rank_ends_all_after_the_same_round(launches):
    nodes, images = launches["nodes"], 8 * 2 * 4
    nodes.statuses()
    first, second = (nodes.load(f"signal.rank{rank}") for rank in (0, 1))
    assert first == second == {"status": 128 + signal.SIGTERM, "images": images}
    assert nodes.load("signal/checkpoints/last.ckpt")["pl_genmodels"]["images_seen"] == images


def test_a_killed_rank_ends_the_others_with_a_sentence(launches):
    nodes = launches["nodes"]
    assert 0 not in nodes.statuses()
    path = nodes.folder / "dead" / "checkpoints" / "last.ckpt"
    sentence = (nodes.folder / "dead.rank0").read_text()
    assert LOST_RANK in sentence
    assert f"resume with: fit ... --ckpt_path {path}" in sentence
    assert torch.load(path, weights_only=True)["pl_genmodels"]["images_seen"] == 6 * 2 * 4


def test_a_rank_that_fails_ends_a_run_of_lightnings_launcher(launches):
    """The other one says that somebody is gone, unless Lightning, which says so too, ended it first."""
    script = launches["script"]
    assert script.statuses() != [0]
    assert "ValueError: on purpose" in script.said()
    assert LOST_RANK in script.said() or "Child process" in script.said()
    saved = script.load("failing/checkpoints/last.ckpt")
    assert saved["pl_genmodels"]["images_seen"] == 6 * 2 * 4


# ---- unequal work, three tasks of SLURM

SIZES = {
    "ours": [[8, 8, 8, 8, 2]] * 3,
    "ours whole": [[8, 8, 8, 8]] * 3,
    "sampler": [[8, 8, 8, 8, 2]] * 3,
    "lengths": [[4] * 7 + [2], [4] * 8, [4] * 8],  # of 8, 9 and 10 batches
    "stream": [[4] * 6] * 3,  # of 6, 8 and 10
}


@pytest.mark.parametrize("case", SIZES)
def test_ranks_with_unequal_work(case, launches):
    run = launches["unequal"]
    assert run.statuses() == [0], run.said()[-3000:]
    ranks = [run.load(f"unequal.rank{rank}")[case] for rank in range(3)]
    assert [rank["sizes"] for rank in ranks] == [[sizes] * 2 for sizes in SIZES[case]]
    assert_same(ranks[0]["weights"], ranks[1]["weights"])
    assert_same(ranks[0]["weights"], ranks[2]["weights"])
    assert [rank["validated"] for rank in ranks] == [2 if case == "lengths" else 0] * 3


@pytest.mark.parametrize(("case", "used", "repeated"), [("ours", 100, 2), ("ours whole", 96, 0), ("sampler", 100, 2)])
def test_which_samples_an_epoch_uses(case, used, repeated, launches):
    """What fills no batch of all ranks is left out by data modules (`drop_last`); otherwise the order starts again."""
    launches["unequal"].statuses()
    rows = torch.cat([launches["unequal"].load(f"unequal.rank{rank}")[case]["rows"] for rank in range(3)])
    assert len(rows) == used + repeated
    assert len(rows.unique(dim=0)) == used


# ---- batch normalisation over ranks


def test_synchronised_batch_normalisation(tmp_path, monkeypatch):
    """Lightning exchanges the layers after the model is built; a turn then keeps the new layers' statistics too."""
    monkeypatch.setattr(nn.SyncBatchNorm, "forward", nn.BatchNorm2d.forward)  # the real one needs GPUs
    monkeypatch.setattr(nn.SyncBatchNorm, "_check_input_dim", lambda self, x: None)
    monkeypatch.setattr(
        nn.parallel.DistributedDataParallel, "_passing_sync_batchnorm_handle", lambda self, module: None
    )
    states, kinds, moved = [], set(), []

    def train_with(sync):
        from functools import partial

        parts = {
            "generator": partial(DCGANGenerator, latent_dim=3, channels=4),
            "discriminator": partial(DCGANDiscriminator, channels=4),
        }
        model = gan(None, **parts)
        turn = model.turn

        def watched(player):
            kinds.update(type(m) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
            moved.append(sum(len(buffers) for _, buffers in [model._others.get(player, ((), ()))]))
            return turn(player)

        if sync:
            model.turn = watched
        options = {"strategy": "ddp", "sync_batchnorm": sync, "callbacks": [GeneratorEMA()]}
        runner = fit(model, loader(3, (1, 16, 16)), tmp_path / str(sync), **options)
        states.append(snapshot(model, runner))

    monkeypatch.setenv("MASTER_PORT", free_port())
    try:
        for sync in (True, False):
            train_with(sync)
    finally:
        dist.destroy_process_group()
    assert kinds == {nn.SyncBatchNorm}
    assert max(moved) > 0
    assert_same(*states)


# ---- strategies for one optimiser


@pytest.mark.parametrize("kind", [FSDPStrategy, DeepSpeedStrategy])
def test_players_do_not_fit_strategies_of_one_optimiser(kind, tmp_path):
    """Before anything starts; the strategy itself would need a GPU."""
    runner = trainer(tmp_path)
    runner._accelerator_connector.strategy = runner.strategy.__class__.__new__(kind)
    runner.strategy._lightning_module = gan()
    runner.strategy._lightning_module.trainer = runner
    with pytest.raises(
        ValueError, match=f"strategy: got {kind.__name__}.*allowed are 'ddp', and ModelParallelStrategy"
    ):
        runner.lightning_module.configure_callbacks()


@pytest.mark.parametrize("kind", [FSDPStrategy, DeepSpeedStrategy])
def test_one_optimiser_fits_them(kind, tmp_path):
    runner, model = trainer(tmp_path), Gaussian()
    runner._accelerator_connector.strategy = runner.strategy.__class__.__new__(kind)
    model.trainer = runner
    assert [type(callback) for callback in model.configure_callbacks()] == [EqualEpochs]


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (RuntimeError("[/gloo/pair.cc:561] Connection closed by peer [127.0.0.1]:406."), "closed by peer"),
        (RuntimeError("NCCL communicator was aborted on rank 1. Original reason for failure was: timeout"), "NCCL"),
        (ValueError("SyncBatchNorm layers only work with GPU modules"), "trainer.sync_batchnorm: got true"),
        (RuntimeError("shapes cannot be multiplied"), None),
    ],
)
def test_sentences(error, part):
    sentence = sentence_for(error)
    assert (sentence is None) if part is None else (part in sentence)


def test_a_strategy_that_needs_a_gpu_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="fsdp") as error:
        trainer(tmp_path, strategy="fsdp")
    assert sentence_for(error.value) == f"trainer: {error.value}"


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
