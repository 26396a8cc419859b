"""What every config keeps on one process; `test_every_config.py` asks for it and for what two processes keep."""

from __future__ import annotations

import contextlib
import copy

import torch
from lightning.pytorch import Callback

import pl_genmodels
from pl_genmodels.models.adversarial import AdversarialModule
from pl_genmodels.models.base import SamplingModule
from pl_genmodels.models.fitted import FittedModule
from tests.models.devices import stays_on_its_device
from tests.models.harness import (
    Recorder,
    SaveAt,
    assert_equal,
    everything,
    fresh,
    one_round,
    snapshot,
    trainer,
)

EPOCHS, BATCHES, BATCH_SIZE = 2, 3, 4
LOADED_AT_ONCE = 100  # what an epoch holds is looked at in larger batches: some data are drawn while they are loaded
STOP = 5  # in the middle of an epoch and, with two critic steps, of a round


# ---- training, sampling, reloading, resuming


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


class Seen(Callback):
    """Keeps the batches of a run."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append({key: value.clone() for key, value in batch.items()})


def run(built, folder, *, ckpt_path=None, callbacks=()):
    """Two short epochs, or what is left of them; what was logged, what was seen, and all that is there at the end."""
    model, data, stateful = built
    recorder, seen = Recorder(), Seen()
    runner = trainer(folder, logger=recorder, callbacks=[*stateful, seen, *callbacks], max_epochs=EPOCHS)
    runner.limit_train_batches = BATCHES
    runner.fit(model, data, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
    end = everything(
        {
            "training": snapshot(model, runner),
            "model": model,
            "data": data.state_dict(),
            "callbacks": [callback.state_dict() for callback in stateful],
        }
    )
    return runner, recorder.rows, seen.batches, end


def outputs(model, batch):
    """What a model is for, by name: samples of a seed, or translations of a batch in every direction it knows."""
    if isinstance(model, SamplingModule):
        return {"samples": model.sample(BATCH_SIZE, seed=3)}
    keys = dict(zip(("AtoB", "BtoA"), model.batch_keys, strict=False))
    return {direction: model.translate(batch[keys[direction]], direction, seed=3) for direction in model.directions}


def good_outputs(model, batch):
    """They have their shape, a range whatever the weights, and do not depend on who draws."""
    shapes = {"samples": model.image_shape, "AtoB": model.image_shape}
    shapes["BtoA"] = getattr(model, "source_shape", None)
    wild = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in wild.parameters():
            parameter.mul_(10)
    found, extreme = outputs(model, batch), outputs(wild, batch)
    assert found
    for name, values in found.items():
        assert values.shape == (BATCH_SIZE, *shapes[name])
        assert torch.isfinite(values).all()
        if values.ndim > 2:
            for pictures in (values, extreme[name].nan_to_num(0.0)):
                assert pictures.abs().max() <= 1, "pictures lie in [-1, 1]"
    if isinstance(model, SamplingModule):
        alone = model.sample(BATCH_SIZE - 2, seed=3, first=2)
        assert torch.allclose(alone, found["samples"][2:], rtol=0, atol=1e-5)
    else:
        assert_equal(found, outputs(model, batch))
    return found


def trains_samples_reloads_and_resumes(built, folder):
    """One straight run, with a checkpoint on the way, shows most of the contract."""
    straight = fresh(built)
    model = straight.model
    problems, reached = [], set()
    model.configure_model()
    adversarial = isinstance(model, AdversarialModule)
    if adversarial:
        watch_turns(model, problems)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # as in a copy that is kept
            continue
        parameter.register_post_accumulate_grad_hook(
            # a critic's last bias cancels in Wasserstein losses: its gradient exists and is 0
            lambda p, name=name: reached.add(name) if name.endswith("bias") or bool((p.grad != 0).any()) else None
        )
    untrained = copy.deepcopy(model.state_dict())
    path = folder / "middle.ckpt"
    runner, logged, batches, end = run(straight, folder, callbacks=[SaveAt(STOP, path)])

    assert not problems
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    if isinstance(model, FittedModule):  # without gradients: every value has been computed instead
        assert not trainable
        trained = model.state_dict()
        assert all(moved(untrained[name], trained[name]) for name, _ in model.named_buffers())
    else:
        assert trainable
    assert trainable - reached == set(), "no gradient ever reached these"
    steps = EPOCHS * BATCHES
    assert len(dict(logged)) == steps
    assert all(torch.isfinite(torch.tensor(value)) for _, metrics in logged for value in metrics.values())
    assert runner.global_step == (model.generator_updates if adversarial else steps) > 0
    assert model.images_seen == BATCH_SIZE * steps
    key = model.batch_keys[0]
    epochs = fresh(built).data
    epochs.batch_size = LOADED_AT_ONCE
    loader = epochs.train_dataloader()
    first, second = (torch.cat([batch[key] for batch in loader]) for _ in range(2))
    assert len(first) == len(second)
    assert not torch.equal(first, second), "every epoch has the same order"

    found = good_outputs(model, batches[0])
    final = folder / "final.ckpt"
    runner.save_checkpoint(final)
    assert_equal(outputs(pl_genmodels.load(final), batches[0]), found)

    _, relogged, rebatches, reend = run(fresh(built), folder, ckpt_path=path)
    assert relogged == [(step, values) for step, values in logged if step >= STOP]
    assert_equal(everything(batches[STOP:]), everything(rebatches))
    assert_equal(end, reend)


# ---- precisions

# Relative to float64, of each term's values per sample. A rounding is 2^-24, 2^-9 (bf16) or 2^-12 (fp16); along the
# depth of the networks some tens of them add up at random, and differences of logits near 0 lose a few bits more.
TERMS_WITHIN = {"32-true": 1e-5, "bf16-mixed": 4e-2, "bf16-true": 4e-2, "16-mixed": 5e-3}
# Gradients pass twice the depth, and batch normalisation of small batches amplifies: a bound on gross errors, such as
# a scale that was not taken out (a factor of 256)
GRADIENTS_WITHIN = {"32-true": 1e-3, "bf16-mixed": 0.5, "bf16-true": 0.5, "16-mixed": 0.5}


def relative_errors(found, wanted):
    """A term that is exactly 0, as one whose weight starts there, has to be 0."""
    return {key: float((found[key] - wanted[key]).norm() / wanted[key].norm().clamp(min=1e-200)) for key in wanted}


def precisions_agree(built, folder):
    """The round that float64 computes, with the same draws; gradients inside of terms never pass 16 bits."""
    data = built.data
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    exact, exact_gradients, _ = one_round(built, batch, "64-true", folder)
    for precision, tolerance in TERMS_WITHIN.items():
        terms, gradients, in_half = one_round(built, batch, precision, folder)
        assert terms.keys() == exact.keys()
        assert len(gradients) == len(exact_gradients)
        assert bool(gradients) != isinstance(built.model, FittedModule)
        errors = relative_errors(terms, exact)
        assert max(errors.values()) <= tolerance, f"{precision}: {errors}"
        errors = relative_errors(dict(enumerate(gradients)), dict(enumerate(exact_gradients)))
        assert max(errors.values(), default=0.0) <= GRADIENTS_WITHIN[precision], f"{precision}: {errors}"
        assert not in_half or precision.endswith("-true"), f"{precision}: a penalty passed 16 bits"


def moved(before, after):
    """Whether training changed a value, or the length of one that is as long as the data."""
    return before.shape != after.shape or bool((before - after).abs().max() > 1e-5)


ROWS = (trains_samples_reloads_and_resumes, precisions_agree, stays_on_its_device)
