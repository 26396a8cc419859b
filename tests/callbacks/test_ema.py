"""Averaged generator weights against the formula, written out."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback

import pl_genmodels
from pl_genmodels.callbacks import GeneratorEMA
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import MLPGenerator
from tests.models.harness import SaveAt, assert_same, snapshot, trainer
from tests.small import BATCH, Batches, fit, gan, samples

SHAPE = (1, 4, 4)
FAST = partial(GANAdam, lr=0.02)


def model(**arguments):
    generator = partial(MLPGenerator, latent_dim=3, hidden_dim=8, batch_norm=True)
    return gan(SHAPE, generator=generator, optimizer_generator=FAST, **arguments)


def batches(number):
    torch.manual_seed(3)
    real = samples(number, SHAPE).split(BATCH)
    return Batches({"image": x, "latent": torch.randn(BATCH, 3)} for x in real)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


class History(Callback):
    """The generator, its average and the counters after every batch."""

    def __init__(self):
        self.entries = []

    def on_train_batch_end(self, trainer, module, *args):
        average, current = weights(module.generator_ema), weights(module.generator)
        self.entries.append((module.images_seen, module.generator_updates, current, average))


@pytest.mark.parametrize("critic_steps", [1, 3])
@pytest.mark.parametrize(("half_life", "ramp_up"), [(20.0, 0.0), (20.0, 0.25), (1e9, 0.5)])
def test_the_formula(critic_steps, half_life, ramp_up, tmp_path):
    history, gen = History(), model(critic_steps=critic_steps)
    average, last, updates = weights(gen.generator), 0, 0
    ema = GeneratorEMA(half_life, ramp_up)
    fit(gen, batches(14), tmp_path, callbacks=[ema, history])
    moved = 0
    for images, made, current, found in history.entries:
        if made > updates:  # once for each update of the generator, not of its critic
            effective = min(half_life, ramp_up * images) if ramp_up else half_life
            decay = 0.5 ** ((images - last) / effective)
            average = decay * average + (1 - decay) * current
            last, updates, moved = images, made, moved + 1
        assert torch.allclose(found, average, atol=1e-6)
    assert moved == 14 // critic_steps
    assert (average - current).norm() > 0.01 * current.norm(), "it lags behind"


def test_half_life(tmp_path):
    """After so many images the start has lost half of its weight."""
    gen, history = model(), History()
    start = weights(gen.generator)
    gen.after_step = lambda player: [p.fill_(1.0) for p in gen.generator.parameters()] if player == "generator" else 0
    fit(gen, batches(6), tmp_path, callbacks=[GeneratorEMA(half_life=3.0 * BATCH, ramp_up=0), history])
    assert torch.allclose(history.entries[2][3], 0.5 * start + 0.5)
    assert torch.allclose(history.entries[5][3], 0.25 * start + 0.75)


def test_buffers_are_copied(tmp_path):
    gen = model()
    fit(gen, batches(3), tmp_path, callbacks=[GeneratorEMA()])
    for kept, current in zip(gen.generator_ema.buffers(), gen.generator.buffers(), strict=True):
        assert torch.equal(kept, current)
    assert {int(b) for b in gen.generator_ema.buffers() if b.ndim == 0} == {3}


def test_nobody_trains_the_average(tmp_path):
    gen = model()
    runner = fit(gen, batches(2), tmp_path, callbacks=[GeneratorEMA()])
    assert not any(p.requires_grad for p in gen.generator_ema.parameters())
    assert not any(module.training for module in gen.generator_ema.modules())
    owned = {id(p) for optimizer in runner.optimizers for group in optimizer.param_groups for p in group["params"]}
    assert not owned & {id(p) for p in gen.generator_ema.parameters()}


def test_samples_come_from_the_average(tmp_path):
    gen = model()
    runner = fit(gen, batches(6), tmp_path, callbacks=[GeneratorEMA(half_life=100.0, ramp_up=0)])
    latents = gen.draw_latents(5, seed=2)
    with torch.no_grad():
        averaged, raw = gen.generator_ema(latents), gen.generator.eval()(latents)
    assert torch.equal(gen.sample(5, seed=2), averaged)
    assert (averaged - raw).abs().max() > 1e-3
    for parameter in gen.generator.parameters():
        parameter.data.fill_(float("nan"))
    assert runner.predict(gen, batches(1))[0].isfinite().all()


def test_a_checkpoint_holds_both(tmp_path):
    gen = model()
    fit(gen, batches(4), tmp_path, callbacks=[GeneratorEMA()]).save_checkpoint(tmp_path / "a.ckpt")
    state = torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]
    for name in ("generator", "generator_ema"):
        for key, value in getattr(gen, name).state_dict().items():
            assert torch.equal(state[f"{name}.{key}"], value)
    again = pl_genmodels.load(tmp_path / "a.ckpt")
    assert torch.equal(again.sample(3, seed=0), gen.sample(3, seed=0))


@pytest.mark.parametrize("stop", [3, 6])  # 3: in the middle of a round
def test_resumed_averages_equal_the_straight_run(stop, tmp_path):
    def ema():
        return GeneratorEMA(half_life=50.0, ramp_up=0.1)

    path, data = tmp_path / "stop.ckpt", batches(3)
    straight, resumed = model(critic_steps=2), model(critic_steps=2)
    one = fit(straight, data, tmp_path, max_epochs=4, callbacks=[ema(), SaveAt(stop, path)])
    two = fit(resumed, data, tmp_path, max_epochs=4, callbacks=[ema()], ckpt_path=path)
    assert resumed.generator_updates == 6
    assert_same(snapshot(straight, one), snapshot(resumed, two))


def test_resuming_without_the_callback_says_so(tmp_path):
    path = tmp_path / "with.ckpt"
    fit(model(), batches(2), tmp_path, callbacks=[GeneratorEMA(), SaveAt(2, path)])
    again = model()
    with pytest.warns(UserWarning, match="holds averaged weights, but no GeneratorEMA is configured: they are dropped"):
        fit(again, batches(2), tmp_path, max_epochs=2, ckpt_path=path)
    assert not hasattr(again, "generator_ema")
    assert again.generator_updates == 4


def test_an_average_that_starts_later_starts_from_the_generator(tmp_path):
    path, history, gen = tmp_path / "without.ckpt", History(), model()
    fit(gen, batches(2), tmp_path, callbacks=[SaveAt(2, path)])
    start, again = weights(gen.generator), model()
    ema = GeneratorEMA(half_life=20.0, ramp_up=0)
    fit(again, batches(2), tmp_path, max_epochs=2, ckpt_path=path, callbacks=[ema, history])
    decay = 0.5 ** (BATCH / 20.0)
    _, _, current, average = history.entries[0]
    assert torch.allclose(average, decay * start + (1 - decay) * current, atol=1e-6)


def test_a_callback_can_serve_another_run(tmp_path):
    """Its counters are those of the run, not of the one before."""
    ema = GeneratorEMA(half_life=20.0, ramp_up=0)
    fit(model(), batches(5), tmp_path, callbacks=[ema])
    found, fresh = model(), model()
    fit(found, batches(2), tmp_path, callbacks=[ema])
    fit(fresh, batches(2), tmp_path, callbacks=[GeneratorEMA(half_life=20.0, ramp_up=0)])
    assert torch.equal(weights(found.generator_ema), weights(fresh.generator_ema))


def test_only_models_with_a_generator(tmp_path):
    with pytest.raises(ValueError, match="GeneratorEMA: got LightningModule, allowed are models with a generator"):
        GeneratorEMA().setup(trainer(tmp_path), LightningModule(), "fit")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"half_life": 0}, "half_life: got 0, allowed is more than 0 images"),
        ({"ramp_up": -0.1}, "ramp_up: got -0.1, allowed is 0 or more"),
    ],
)
def test_wrong_numbers(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        GeneratorEMA(**arguments)
