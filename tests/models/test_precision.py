"""Mixed precision on the CPU: penalties stay in float32, and one scaler serves two players."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision

from pl_genmodels.losses import DRAGAN, R1, R2, GradientPenalty, NonSaturating
from pl_genmodels.models.gan.gan import GAN
from tests.small import BATCH, Batches, fit, gan, samples

PENALTIES = (GradientPenalty, R1, R2, DRAGAN)
DESCENT = partial(torch.optim.SGD, lr=0.1)


def batches(num_batches):
    torch.manual_seed(3)
    return Batches({"image": x, "latent": torch.randn(BATCH, 3)} for x in samples(num_batches).split(BATCH))


def half(scale=4.0, growth_interval=2000):
    """What `precision="16-mixed"` is on a GPU."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=growth_interval)
    return {"plugins": [MixedPrecision("16-mixed", "cpu", scaler)]}


# ---- penalties in float32


class SpyLoss(NonSaturating):
    """Notes the type of the logits."""

    def __init__(self):
        self.dtypes = set()

    def discriminator(self, real, fake):
        self.dtypes |= {real.dtype, fake.dtype}
        return super().discriminator(real, fake)

    def generator(self, fake, real=None):
        self.dtypes.add(fake.dtype)
        return super().generator(fake, real)


@pytest.mark.parametrize("kind", PENALTIES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_penalties_are_computed_in_single_precision(kind, precision, tmp_path):
    inside, outputs, values, loss = [], {True: set(), False: set()}, [], SpyLoss()
    penalty = kind()

    def watched(discriminator, real, fake):
        inside.append(True)
        torch.manual_seed(7)
        value = penalty(discriminator, real, fake)
        torch.manual_seed(7)
        with torch.autocast("cpu", enabled=False):
            whole = penalty(discriminator, real.float(), fake.float())
        inside.pop()
        values.append((value.detach(), whole.detach()))
        return value

    watched.name = penalty.name
    model = gan(loss=loss)
    model.penalties = [watched]
    model.discriminator.layers[0].register_forward_hook(
        lambda module, inputs, output: outputs[bool(inside)].add(output.dtype)
    )
    options = half() if precision == "16-mixed" else {"precision": precision}
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fit(model, batches(3), tmp_path, **options)

    low = torch.float16 if precision == "16-mixed" else torch.bfloat16
    assert outputs == {True: {torch.float32}, False: {low}}
    assert loss.dtypes == {torch.float32}
    assert len(values) == 3
    assert all(torch.equal(value, whole) and value.dtype == torch.float32 for value, whole in values)
    after = model.state_dict()
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in after.values())
    assert all(not torch.equal(value, before[key]) for key, value in after.items())


# ---- one scaler, two players


class Noting(GAN):
    """Keeps every player's gradient as it is when its optimiser steps."""

    def on_before_optimizer_step(self, optimizer):
        super().on_before_optimizer_step(optimizer)
        player = self.players[[o.optimizer for o in self.optimizers()].index(optimizer)]
        gradients = [p.grad.clone() for p in self.parameters_of(player)]
        self.noted = [*getattr(self, "noted", []), (player, torch.cat([g.flatten() for g in gradients]))]


def noted(tmp_path, *, critic_steps=1, accumulate=1, **options):
    model = gan(model=Noting, optimizer_generator=DESCENT, optimizer_discriminator=DESCENT, critic_steps=critic_steps)
    runner = fit(model, batches(6), tmp_path, accumulate_grad_batches=accumulate, **options)
    return model.noted, runner


@pytest.mark.parametrize("growth_interval", [1, 2, 3, 2000])
@pytest.mark.parametrize(("critic_steps", "accumulate"), [(1, 1), (2, 1), (1, 2)])
def test_gradients_are_unscaled(growth_interval, critic_steps, accumulate, tmp_path):
    """Also when the scale doubles between two players' turns."""
    options = {"critic_steps": critic_steps, "accumulate": accumulate}
    scaled, runner = noted(tmp_path, **options, **half(growth_interval=growth_interval))
    single, _ = noted(tmp_path, **options)
    assert [player for player, _ in scaled] == [player for player, _ in single]
    for (player, found), (_, wanted) in zip(scaled, single, strict=True):
        assert (found - wanted).norm() < 0.02 * wanted.norm(), player
    growths = len(scaled) // growth_interval
    assert runner.precision_plugin.scaler.get_scale() == 4.0 * 2.0**growths


def test_clipping_sees_unscaled_gradients(tmp_path):
    scaled, _ = noted(tmp_path, gradient_clip_val=0.05, **half(growth_interval=1))
    for _, gradient in scaled:
        assert gradient.norm() == pytest.approx(0.05, rel=1e-4)


class Overflowing(GAN):
    """In one round one player's loss is infinite."""

    round, who = -1, ""

    def training_step(self, batch, batch_idx):
        self.round = batch_idx
        before = {p: [v.clone() for v in self.parameters_of(p)] for p in self.players}
        super().training_step(batch, batch_idx)
        moved = {
            p for p in self.players for v, w in zip(self.parameters_of(p), before[p], strict=True) if (v != w).any()
        }
        self.moved = [*getattr(self, "moved", []), moved]
        self.scales = [*getattr(self, "scales", []), self.trainer.precision_plugin.scaler.get_scale()]

    def discriminator_terms(self, batch, generated):
        return self.blow_up("discriminator", super().discriminator_terms(batch, generated))

    def generator_terms(self, batch, generated):
        return self.blow_up("generator", super().generator_terms(batch, generated))

    def blow_up(self, player, terms):
        factor = float("inf") if (player, self.round) == (self.who, 2) else 1.0
        return {name: factor * term for name, term in terms.items()}


@pytest.mark.parametrize("who", ["discriminator", "generator"])
def test_an_overflow_skips_one_player_once(who, tmp_path):
    model = gan(model=Overflowing)
    model.who = who
    runner = fit(model, batches(5), tmp_path, **half(scale=256.0))
    both = set(model.players)
    assert model.moved == [both, both, both - {who}, both, both]
    assert model.scales == [256.0, 256.0, 128.0, 128.0, 128.0]
    assert runner.global_step == model.generator_updates == 5
    assert all(value.isfinite().all() for value in model.state_dict().values())
    counts = [{int(state["step"]) for state in optimizer.state.values()} for optimizer in runner.optimizers]
    assert counts == [{4}, {5}] if who == "discriminator" else [{5}, {4}]
