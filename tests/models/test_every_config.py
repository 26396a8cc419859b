"""The contract that every config keeps. A new YAML is under it without a line of test code."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest
import torch

import pl_genmodels
from tests.conftest import ROOT
from tests.models.harness import (
    LONG,
    LONG_CRITIC_STEPS,
    Recorder,
    SaveAt,
    assert_same,
    build,
    build_shared,
    snapshot,
    train_shared,
    trainer,
)

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
BATCHES = 12
STOP = 7  # in the middle of an epoch and, with two critic steps, of a round


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def config(request):
    return request.param


def watch_turns(model, problems):
    """Note whatever a player's turn changes in somebody else's network."""
    turn = model.turn

    @contextlib.contextmanager
    def watched(player):
        mine = {id(p) for p in model.parameters_of(player)}
        mine |= {id(b) for network in model.player_networks(player) for b in network.buffers()}
        others = {k: p for k, p in model.named_parameters() if id(p) not in mine}
        buffers = {k: b for k, b in model.named_buffers() if id(b) not in mine}
        before = {k: v.detach().clone() for k, v in {**others, **buffers}.items()}
        gradients = {k: None if p.grad is None else p.grad.clone() for k, p in others.items()}
        with turn(player):
            yield
        for key, value in {**others, **buffers}.items():
            if not torch.equal(value, before[key]):
                problems.append(f"{player}'s turn changed {key}")
        for key, gradient in gradients.items():
            now = others[key].grad
            same = now is None if gradient is None else now is not None and torch.equal(now, gradient)
            if not same:
                problems.append(f"{player}'s turn changed the gradient of {key}")

    model.turn = watched


def test_trains_samples_reloads_and_resumes(config, tmp_path):
    """One straight run, with a checkpoint on the way, shows most of the contract."""
    model, data, callbacks = build(config)
    problems, reached = [], set()
    model.configure_model()
    watch_turns(model, problems)
    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(
            # a critic's last bias cancels in Wasserstein losses: its gradient exists and is 0
            lambda p, name=name: reached.add(name) if name.endswith("bias") or bool((p.grad != 0).any()) else None
        )
    path, recorder = tmp_path / "middle.ckpt", Recorder()
    straight = trainer(tmp_path, logger=recorder, callbacks=[*callbacks, SaveAt(STOP, path)], max_epochs=1)
    straight.limit_train_batches = BATCHES
    straight.fit(model, data)

    assert not problems
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable - reached == set(), "no gradient ever reached these"
    rows = dict(recorder.rows)
    assert len(rows) == BATCHES
    assert all(torch.isfinite(torch.tensor(value)) for metrics in rows.values() for value in metrics.values())
    assert straight.global_step == model.generator_updates
    assert model.images_seen == 8 * BATCHES

    samples = model.sample(5, seed=3)
    assert samples.shape == (5, *model.image_shape)
    assert torch.isfinite(samples).all()
    assert torch.equal(model.sample(3, seed=3, first=2), samples[2:]) or (
        (model.sample(3, seed=3, first=2) - samples[2:]).abs().max() < 1e-5
    )

    final = tmp_path / "final.ckpt"
    straight.save_checkpoint(final)
    assert torch.equal(pl_genmodels.load(final).sample(5, seed=3), samples)

    again, data, callbacks = build(config)
    recorder = Recorder()
    resumed = trainer(tmp_path, logger=recorder, callbacks=callbacks, max_epochs=1)
    resumed.limit_train_batches = BATCHES
    resumed.fit(again, data, ckpt_path=path, weights_only=True)
    assert_same(snapshot(model, straight), snapshot(again, resumed))
    assert recorder.rows == [(step, rows[step]) for step in sorted(rows) if step >= STOP]


@pytest.fixture(scope="module")
def ddp_states(tmp_path_factory):
    """Every config trained by one pair of gloo processes, and the batches it was trained on."""
    folder = tmp_path_factory.mktemp("ddp")
    cases = {path.stem: (str(path), 3, 1, None) for path in CONFIGS}
    cases[LONG] = (str(ROOT / "configs" / "wgan_gp.yaml"), 20, 2, 1.0)
    for name, (path, rounds, _, _) in cases.items():
        model, data, _ = build(path)
        torch.manual_seed(0)
        steps = LONG_CRITIC_STEPS if name == LONG else max(model.critic_steps_at(0), 1)
        loader = iter(data.evaluation_loader("train"))
        batches = [data.on_after_batch_transfer(next(loader), 0) for _ in range(rounds * steps)]
        batches = [{"image": batch["image"].double()} for batch in batches]
        model.configure_model()
        weights = {k: v.double() if v.is_floating_point() else v for k, v in model.state_dict().items()}
        torch.save({"batches": batches, "weights": weights}, folder / f"{name}.in")
    worker = ROOT / "tests" / "models" / "ddp_worker.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(worker)]
    arguments = [f"{name}={path}={micro}={clip or 0}" for name, (path, _, micro, clip) in cases.items()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, str(folder), *arguments], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, cases


@pytest.mark.parametrize("name", [*(path.stem for path in CONFIGS), LONG])
def test_two_processes_equal_one(name, ddp_states, tmp_path):
    """Plain ddp in double precision against one process on the whole batch.

    `wgan_gp_long` is gradient penalty, five critic steps, two micro-batches and clipping for 20 rounds.
    """
    folder, cases = ddp_states
    path, _, micro_batches, clip = cases[name]
    given = torch.load(folder / f"{name}.in", weights_only=True)
    model = build_shared(name, path, given["weights"])
    one = train_shared(model, given["batches"], tmp_path, rank=0, world_size=1, micro_batches=micro_batches, clip=clip)
    first, second = (torch.load(folder / f"{name}.rank{rank}", weights_only=True) for rank in (0, 1))
    assert_same(first, second)
    parameters = {name for name, _ in model.named_parameters()}
    for states in (one, first):
        for key in [key for key in states if key.removeprefix("model/") not in parameters]:
            del states[key]
    assert_same(one, first, tolerance=1e-12)
    moved = max((one[f"model/{k}"] - given["weights"][k]).abs().max() for k in parameters)
    assert moved > 1e-5, "nothing was trained"
