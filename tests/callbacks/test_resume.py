"""Random states survive a checkpoint."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from pl_genmodels.callbacks import ExactResume
from tests.models.harness import SaveAt, assert_same, snapshot
from tests.small import BATCH, Batches, fit, gan, samples


def draw():
    """One number from each of the three states that training may use."""
    return random.random(), float(np.random.rand()), float(np.random.randn()), float(torch.rand(()))


def noisy(model):
    """A model whose every step draws from all of them."""
    drawn, step = [], model.training_step

    def training_step(batch, batch_idx):
        drawn.append(draw())
        step({"image": batch["image"] + sum(drawn[-1])}, batch_idx)

    model.training_step = training_step
    return drawn


def batches():
    return Batches({"image": x} for x in samples(3).split(BATCH))


def seed(value):
    random.seed(value)
    np.random.seed(value)


def runs(tmp_path, callbacks):
    """A straight run of two epochs, and one resumed after the first from other random states."""
    path, straight, resumed = tmp_path / "middle.ckpt", gan(), gan()
    straight_draws, resumed_draws = noisy(straight), noisy(resumed)
    seed(1)
    one = fit(straight, batches(), tmp_path, max_epochs=2, callbacks=[*callbacks(), SaveAt(3, path)])
    seed(2)
    two = fit(resumed, batches(), tmp_path, seed=2, max_epochs=2, ckpt_path=path, callbacks=callbacks())
    return (snapshot(straight, one), straight_draws), (snapshot(resumed, two), resumed_draws), path


def test_every_random_state_goes_on(tmp_path):
    (straight, straight_draws), (resumed, resumed_draws), _ = runs(tmp_path, lambda: [ExactResume()])
    assert straight_draws[3:] == resumed_draws
    assert_same(straight, resumed)


def test_without_the_callback_none_does(tmp_path):
    (_, straight_draws), (_, resumed_draws), _ = runs(tmp_path, list)
    assert all(one != two for one, two in zip(straight_draws[3], resumed_draws[0], strict=True))


def test_the_checkpoint_is_plain(tmp_path):
    _, _, path = runs(tmp_path, lambda: [ExactResume()])
    (states,) = torch.load(path, weights_only=True)["callbacks"]["ExactResume"]["ranks"]
    assert {"python", "numpy", "torch"} <= states.keys()


@pytest.mark.parametrize("how_many", [0, 1, 7])
def test_states_come_back_after_any_number_of_draws(how_many, tmp_path):
    """Gaussian numbers of NumPy and Python come in pairs, of which one may wait in the state."""
    callback = ExactResume()
    for _ in range(how_many):
        np.random.randn()
        random.gauss(0, 1)
    torch.save(callback.state_dict(), tmp_path / "state.pt")

    def next_numbers():
        return draw(), random.gauss(0, 1), np.random.randn(3).tolist(), torch.randn(3).tolist()

    wanted = next_numbers()
    draw()
    callback.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    callback.on_train_start(type("Trainer", (), {"world_size": 1, "global_rank": 0}), None)
    assert next_numbers() == wanted


def test_states_of_another_number_of_processes_are_left_alone(tmp_path):
    callback = ExactResume()
    saved = callback.state_dict()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    callback.load_state_dict(saved)
    callback.on_train_start(type("Trainer", (), {"world_size": 2, "global_rank": 0}), None)
    assert torch.equal(torch.get_rng_state(), before)
