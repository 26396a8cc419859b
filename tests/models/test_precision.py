"""Every precision of the Trainer, on the CPU: what stays in float32, and how one loss scaler serves two players."""

from __future__ import annotations

import copy
import itertools
from contextlib import nullcontext
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.optim.lr_scheduler import StepLR

from pl_genmodels.callbacks import CollapseMonitor, GeneratorEMA, TrainingCollapsedError
from pl_genmodels.losses import DRAGAN, R1, R2, GradientPenalty, NonSaturating, SpectralNorm
from pl_genmodels.models.engine import mean_terms
from pl_genmodels.models.finite import MIN_SCALE
from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.models.inference_gan.aae import AAE
from pl_genmodels.networks import MLPDiscriminator, MLPEncoder, MLPGenerator
from tests.models.harness import Recorder, SaveAt, assert_same, snapshot
from tests.models.test_likelihood import Gaussian
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

    watched.name, watched.double_backward = penalty.name, penalty.double_backward
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


@pytest.mark.parametrize("growth_interval", [1, 2])
def test_updates_are_those_by_hand(growth_interval, tmp_path):
    """Scales are powers of two, so float16 rounds alike, and every applied update is equal to the last bit."""
    model = gan(optimizer_generator=DESCENT, optimizer_discriminator=DESCENT)
    generator, discriminator = copy.deepcopy(model.generator), copy.deepcopy(model.discriminator)
    data = batches(3)
    fit(model, data, tmp_path, **half(scale=256.0, growth_interval=growth_interval))

    def update(network, loss):
        parameters = list(network.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(2048 * loss, parameters), strict=True):
            parameter.data.add_(gradient / 2048, alpha=-0.1)

    for batch in data:
        with torch.autocast("cpu", torch.float16, cache_enabled=False):
            fake = generator(batch["latent"])
            on_real, on_fake = discriminator(batch["image"]).float(), discriminator(fake.detach()).float()
            update(discriminator, (F.softplus(-on_real) + F.softplus(on_fake)).mean())
            update(generator, F.softplus(-discriminator(fake).float()).mean())
    for network, wanted in ((model.generator, generator), (model.discriminator, discriminator)):
        for parameter, value in zip(network.parameters(), wanted.parameters(), strict=True):
            assert torch.equal(parameter, value)


def test_logged_norms_are_unscaled_and_skipped_steps_are_counted(tmp_path):
    recorder = Recorder()
    model = gan(model=Overflowing)
    model.who = "discriminator"
    fit(model, batches(5), tmp_path, logger=recorder, **half(scale=256.0))
    rows = [row for _, row in recorder.rows]
    assert [row["discriminator/skipped_steps"] for row in rows] == [0, 0, 1, 1, 1]
    assert [row["generator/skipped_steps"] for row in rows] == [0] * 5

    plain, single = Recorder(), gan(model=Overflowing)
    single.training_step = partial(GAN.training_step, single)
    fit(single, batches(5), tmp_path, logger=plain)
    assert not any("skipped" in key for _, row in plain.rows for key in row)
    for row, (_, wanted) in zip(rows[:2], plain.rows[:2], strict=True):
        for player in model.players:
            assert row[f"{player}/gradient_norm"] == pytest.approx(wanted[f"{player}/gradient_norm"], rel=0.02)


def test_a_fused_optimiser_is_counted_too(tmp_path):
    """It is called after an overflow as well, and leaves its weights alone by itself."""
    model = gan(
        model=Overflowing,
        optimizer_generator=partial(torch.optim.Adam, fused=True),
        optimizer_discriminator=partial(torch.optim.Adam, fused=True),
    )
    model.who, recorder = "generator", Recorder()
    fit(model, batches(4), tmp_path, logger=recorder, **half(scale=256.0))
    assert model.moved[2] == {"discriminator"}
    assert [row["generator/skipped_steps"] for _, row in recorder.rows] == [0, 0, 1, 1]
    assert [row["discriminator/skipped_steps"] for _, row in recorder.rows] == [0] * 4


@pytest.mark.parametrize("who", ["discriminator", "generator"])
def test_a_round_counts_though_its_step_was_skipped(who, tmp_path):
    """Schedules and averaged weights go on."""
    halving = partial(StepLR, step_size=1, gamma=0.5)
    model = gan(model=Overflowing, scheduler_generator=halving, scheduler_discriminator=halving)
    model.who = who
    history = []

    class Note(Callback):
        def on_train_batch_end(self, trainer, module, *args):
            networks = (module.generator, module.generator_ema)
            history.append([torch.cat([p.detach().flatten() for p in n.parameters()]) for n in networks])

    callbacks = [GeneratorEMA(half_life=BATCH, ramp_up=0), Note()]
    runner = fit(model, batches(4), tmp_path, callbacks=callbacks, **half(scale=256.0))
    assert [optimizer.param_groups[0]["lr"] for optimizer in runner.optimizers] == [2e-4 / 16] * 2
    for (_, before), (current, after) in itertools.pairwise(history):
        assert torch.allclose(after, (before + current) / 2, atol=1e-7)
    assert torch.equal(history[1][0], history[2][0]) == (who == "generator")


def test_an_overflow_is_no_collapse(tmp_path):
    """As long as the scaler has a scale to try."""
    for scale, end in ((256.0, nullcontext()), (MIN_SCALE, pytest.raises(TrainingCollapsedError, match="the scale"))):
        model = gan(model=Overflowing)
        model.who = "discriminator"
        monitor = CollapseMonitor(every_n_images=BATCH, min_diversity=0.0)
        with end:
            fit(model, batches(4), tmp_path, callbacks=[monitor], **half(scale))


def test_the_scaler_resumes(tmp_path):
    path, ends = tmp_path / "middle.ckpt", []
    for start in (None, path):
        model = gan(model=Overflowing)
        model.who = "generator"
        callbacks = [] if start else [SaveAt(4, path)]
        options = half(scale=256.0, growth_interval=3)
        runner = fit(model, batches(4), tmp_path, max_epochs=2, ckpt_path=start, callbacks=callbacks, **options)
        ends.append({**snapshot(model, runner), "scale": torch.tensor(model.scales[-2:])})
    assert_same(*ends)


class OverflowOnOneRank(Overflowing):
    """The last rank alone overflows; every rank writes down what it has become."""

    def blow_up(self, player, terms):
        return super().blow_up(player, terms) if self.global_rank else terms

    def on_train_end(self):
        super().on_train_end()
        state = {"moved": [sorted(moved) for moved in self.moved], "scales": self.scales, "weights": self.state_dict()}
        torch.save(state, f"{self.trainer.default_root_dir}/rank{self.global_rank}")


def test_an_overflow_on_one_rank_skips_the_step_on_all(tmp_path):
    model = gan(model=OverflowOnOneRank)
    model.who = "discriminator"
    fit(model, batches(5), tmp_path, strategy="ddp_fork", devices=2, **half(scale=256.0))
    first, second = (torch.load(tmp_path / f"rank{rank}") for rank in (0, 1))
    both = ["discriminator", "generator"]
    assert first["moved"] == second["moved"] == [both, both, ["generator"], both, both]
    assert first["scales"] == second["scales"] == [256.0, 256.0, 128.0, 128.0, 128.0]
    assert_same(first["weights"], second["weights"])


class GoesThroughGradients(GAN):
    differentiates_gradients = True


def test_systems_that_differentiate_gradients_have_no_loss_scale(tmp_path):
    sentence = "precision: got '16-mixed', whose scaled gradients GoesThroughGradients would differentiate; allowed"
    with pytest.raises(ValueError, match=sentence):
        fit(gan(model=GoesThroughGradients), batches(1), tmp_path, **half())
    fit(gan(model=GoesThroughGradients), batches(1), tmp_path, precision="bf16-mixed")


# ---- weights in half and in double precision


class Pictures(LightningDataModule):
    """Whole numbers that become floats on the device, when Lightning has converted the batch already."""

    def train_dataloader(self):
        return Batches((samples(3).split(BATCH)[i] * 127).to(torch.int8) for i in range(3))

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return {"image": batch.float() / 127}


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-true", torch.bfloat16), ("64-true", torch.float64)])
def test_batches_come_in_the_precision_of_the_weights(precision, dtype, tmp_path):
    model = gan(penalties=[GradientPenalty()])
    monitor = CollapseMonitor(every_n_images=BATCH)
    fit(model, Pictures(), tmp_path, precision=precision, callbacks=[monitor, GeneratorEMA()])
    assert {p.dtype for network in (model.generator, model.discriminator) for p in network.parameters()} == {dtype}
    assert all(p.isfinite().all() for p in model.parameters())
    assert model.sample(3).dtype == torch.promote_types(dtype, torch.float32)


def test_logits_and_terms_are_single_with_half_weights(tmp_path):
    loss, recorder = SpyLoss(), Recorder()
    model = gan(loss=loss)
    fit(model, batches(1), tmp_path, precision="bf16-true", logger=recorder)
    assert loss.dtypes == {torch.float32}
    total = recorder.rows[0][1]["discriminator/loss"]
    assert total != float(torch.tensor(total).bfloat16())


def test_means_of_half_precision_terms_are_single():
    term = torch.tensor([256.0, 258.0]).bfloat16()  # which has no number between them
    assert mean_terms({"one": term})["one"].item() == 257.0
    assert mean_terms({"one": term.double()})["one"].dtype == torch.float64


def test_16_true_is_refused(tmp_path):
    with pytest.raises(ValueError, match="precision: got '16-true', in which Adam's moments vanish; allowed for fit"):
        fit(gan(), batches(1), tmp_path, precision="16-true")


@pytest.mark.parametrize("constraints", [[], [SpectralNorm()]], ids=["free", "spectral norm"])
@pytest.mark.parametrize("kind", PENALTIES, ids=lambda kind: kind.__name__)
def test_penalties_of_half_weights_equal_double_precision(kind, constraints, monkeypatch):
    """Their value and their gradient, which is rounded once, when it arrives in the weights."""
    model = gan(constraints=constraints).bfloat16()
    model.discriminator.eval()  # of spectral normalisation, which would take a step of its iteration
    real, fake = (part.bfloat16() for part in samples(2).split(BATCH))
    exact = copy.deepcopy(model.discriminator).double()
    noise = torch.rand(BATCH, 2)
    monkeypatch.setattr(torch, "rand", lambda *shape, dtype, device: noise[:, : shape[1]].to(dtype))
    monkeypatch.setattr(torch, "rand_like", lambda like: noise.to(like.dtype))
    found, wanted = [], []
    for discriminator, dtype, into in ((model.discriminator, real.dtype, found), (exact, torch.float64, wanted)):
        value = kind()(discriminator, real.to(dtype), fake.to(dtype))
        into += [value, *torch.autograd.grad(value.sum(), list(discriminator.parameters()), allow_unused=True)]
    assert found[0].dtype == torch.float32
    assert (found[0] - wanted[0]).abs().max() < 1e-5 * wanted[0].abs().max()
    moved = 0
    for gradient, exactly in zip(found[1:], wanted[1:], strict=True):
        if exactly is not None:
            assert gradient.dtype == torch.bfloat16
            assert ((gradient - exactly).abs() <= exactly.abs() / 256 + 1e-6).all()
            moved += bool((exactly != 0).any())
    assert moved >= 2


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed", "32-true", "64-true"])
def test_averaged_weights_follow_small_steps(precision, tmp_path):
    """A decay of 0.9995, whose steps bfloat16 rounds to nothing, against the formula in double precision."""
    model = gan(optimizer_generator=partial(torch.optim.SGD, lr=0.5))
    half_life = BATCH * 0.6931471805599453 / 5e-4
    history, path = [], tmp_path / "middle.ckpt"

    class Note(Callback):
        def on_train_batch_end(self, trainer, module, *args):
            history.append(flat(module.generator))

    start = flat(model.generator.bfloat16().float() if precision == "bf16-true" else model.generator)
    callbacks = [GeneratorEMA(half_life, ramp_up=0), Note(), SaveAt(15, path)]
    fit(model, batches(15), tmp_path, max_epochs=2, precision=precision, callbacks=callbacks)
    wanted = start.double()
    for current in history:
        wanted += (1 - 0.5 ** (BATCH / half_life)) * (current.double() - wanted)
    moved, found = (wanted - start).norm(), (flat(model.generator_ema).double() - wanted).norm()
    assert moved > 0
    assert found < 1e-3 * moved
    assert model.generator_ema.layers[0].weight.dtype == (torch.float64 if precision == "64-true" else torch.float32)

    resumed = gan(optimizer_generator=partial(torch.optim.SGD, lr=0.5))
    options = {"precision": precision, "callbacks": callbacks[:1], "ckpt_path": path}
    fit(resumed, batches(15), tmp_path, max_epochs=2, **options)
    assert torch.equal(flat(resumed.generator_ema), flat(model.generator_ema))


def flat(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


# ---- one network, two players


class Caching(MixedPrecision):
    """Converts a weight once in a batch, as Lightning's own did before 2.6."""

    def autocast_context_manager(self):
        return torch.autocast(self.device, torch.bfloat16)


def test_a_players_step_is_seen_by_the_next_player_that_trains_the_same_network(tmp_path):
    """The encoder is trained as half of an autoencoder, and then again."""
    model = AAE(
        (2,),
        generator=partial(MLPGenerator, latent_dim=3, hidden_dim=8),
        encoder=partial(MLPEncoder, hidden_dim=8),
        discriminator=partial(MLPDiscriminator, hidden_dim=8),
        optimizer_autoencoder=partial(torch.optim.SGD, lr=10.0),
    )
    codes, terms = [], model.encoder_terms

    def encoder_terms(batch, generated):
        codes.append(model.encoder(batch["image"]).detach())
        torch.clear_autocast_cache()
        codes.append(model.encoder(batch["image"]).detach())
        return terms(batch, generated)

    model.encoder_terms = encoder_terms
    fit(model, Batches([{"image": samples(1)}]), tmp_path, plugins=[Caching("bf16-mixed", "cpu")])
    assert codes[0].dtype == torch.bfloat16
    assert torch.equal(*codes)


# ---- one objective


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"])
def test_likelihoods_train_in_every_precision(precision, tmp_path):
    model, recorder = Gaussian((2,), partial(torch.optim.SGD, lr=0.1)), Recorder()
    options = half(scale=1024.0) if precision == "16-mixed" else {"precision": precision}
    fit(model, Batches({"image": x} for x in samples(3).split(BATCH)), tmp_path, logger=recorder, **options)
    mean, scale = torch.zeros(2).double(), torch.zeros(2).double()
    for x, (_, row) in zip(samples(3).double().split(BATCH), recorder.rows, strict=True):
        z = (x - mean) * torch.exp(-scale)
        tolerance = 0.03 if precision == "bf16-true" else 1e-5
        assert row["loss"] == pytest.approx(float((0.5 * z**2).sum(1).mean() + scale.sum()), abs=tolerance)
        mean, scale = mean + 0.1 * (z * torch.exp(-scale)).mean(0), scale - 0.1 * (1 - (z**2).mean(0))
    assert torch.allclose(model.mean.double(), mean, atol=tolerance)
    assert torch.allclose(model.log_scale.double(), scale, atol=tolerance)
