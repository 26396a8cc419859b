"""The alternation of players: what counts as a step, who sees which batch, when schedules and logs are due."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from pl_genmodels.losses import Relativistic
from pl_genmodels.models.gan.wgan import WGAN
from pl_genmodels.models.optimizers import GANAdam
from tests.models.harness import Recorder, SaveAt, assert_same, snapshot
from tests.small import BATCH, Batches, fit, gan, loader, samples


class Watch(Callback):
    """Notes a value after every batch."""

    def __init__(self, of):
        self.of, self.values = of, []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.values.append(self.of(trainer, pl_module))


def steps_made(optimizer):
    """Updates that Adam has counted."""
    return {int(state["step"]) for state in optimizer.state.values()}


# ---- steps


def test_a_step_is_an_update_of_the_generator(tmp_path):
    model = gan(critic_steps=3)
    checkpoints = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_top_k=-1)
    watch = Watch(lambda trainer, module: trainer.global_step)
    options = {"enable_checkpointing": True, "callbacks": [checkpoints, watch]}
    runner = fit(model, loader(7), tmp_path, max_steps=4, max_epochs=-1, **options)
    assert watch.values == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4]
    assert runner.global_step == model.generator_updates == 4
    assert model.images_seen == 12 * BATCH
    discriminator, generator = runner.optimizers
    assert steps_made(discriminator) == {12}
    assert steps_made(generator) == {4}
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["step=2.ckpt", "step=4.ckpt"]


def test_each_discriminator_step_takes_its_own_batch(tmp_path):
    model, seen = gan(critic_steps=3), {"discriminator": [], "generator": []}
    for player, batches in seen.items():
        terms = getattr(model, f"{player}_terms")
        setattr(
            model,
            f"{player}_terms",
            lambda batch, generated, terms=terms, batches=batches: (
                batches.append(batch["image"]) or terms(batch, generated)
            ),
        )
    fit(model, loader(6), tmp_path)
    assert torch.equal(torch.cat(seen["discriminator"]), samples(6))
    assert torch.equal(torch.cat(seen["generator"]), torch.cat([samples(6).split(BATCH)[i] for i in (2, 5)]))


def test_an_interrupted_round_goes_on_where_it_stopped(tmp_path):
    batches = Batches({"image": x, "latent": torch.randn(BATCH, 3)} for x in samples(4).split(BATCH))
    straight, resumed = gan(critic_steps=3), gan(critic_steps=3)
    path = tmp_path / "middle.ckpt"
    one = fit(straight, batches, tmp_path, max_epochs=2, callbacks=[SaveAt(4, path)])
    two = fit(resumed, batches, tmp_path, max_epochs=2, ckpt_path=path)
    assert torch.load(path, weights_only=True)["pl_genmodels"]["critic_turns"] == 1
    assert (resumed.generator_updates, resumed.critic_turns, resumed.images_seen) == (2, 2, 8 * BATCH)
    assert_same(snapshot(straight, one), snapshot(resumed, two))


def test_wgan_schedule_of_critic_steps():
    model = gan(model=WGAN)
    wanted = {0: 100, 24: 100, 25: 5, 499: 5, 500: 100, 501: 5, 1000: 100}
    assert {update: model.critic_steps_at(update) for update in wanted} == wanted
    without = gan(model=WGAN, warmup_updates=0)
    assert {without.critic_steps_at(update) for update in wanted} == {5}


def test_wgan_trains_by_its_schedule(tmp_path):
    model = gan(model=WGAN, warmup_updates=2, warmup_steps=3, critic_steps=2, clip=0.03)
    watch = Watch(lambda trainer, module: module.generator_updates)
    bound = Watch(lambda trainer, module: max(p.abs().max() for p in module.discriminator.parameters()))
    fit(model, loader(10), tmp_path, callbacks=[watch, bound])
    assert watch.values == [0, 0, 1, 1, 1, 2, 2, 3, 3, 4]
    assert max(bound.values) <= 0.03


# ---- latents


def generator_forwards(model, data, tmp_path, **options):
    """Latents of every pass through the generator."""
    latents = []
    model.generator.register_forward_hook(lambda module, inputs, output: latents.append(inputs[0]))
    fit(model, data, tmp_path, **options)
    return latents


def test_one_pass_through_the_generator_serves_both_players(tmp_path):
    assert [len(z) for z in generator_forwards(gan(), loader(2), tmp_path)] == [8, 8]
    assert [len(z) for z in generator_forwards(gan(critic_steps=3), loader(6), tmp_path)] == [8] * 6


def test_fresh_latents(tmp_path):
    latents = generator_forwards(gan(fresh_latents=True), loader(2), tmp_path)
    assert [len(z) for z in latents] == [8] * 4
    assert len(torch.cat(latents).unique(dim=0)) == 32


def test_generator_batch_factor(tmp_path):
    latents = generator_forwards(gan(generator_batch_factor=3), loader(2), tmp_path)
    assert [len(z) for z in latents] == [8, 24, 8, 24]
    assert len(torch.cat(latents).unique(dim=0)) == 64


def test_a_paired_loss_has_no_batch_factor():
    with pytest.raises(ValueError, match="generator_batch_factor: got 2, allowed is 1 with Relativistic"):
        gan(generator_batch_factor=2, loss=Relativistic())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"critic_steps": 0}, "critic_steps: got 0, allowed is 1 or more"),
        ({"generator_batch_factor": 0}, "generator_batch_factor: got 0, allowed is 1 or more"),
        ({"scheduler_interval": "batch"}, "scheduler_interval: got 'batch', allowed are 'step' and 'epoch'"),
    ],
)
def test_wrong_numbers(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        gan(**arguments)


# ---- schedules


def scheduled(interval, **arguments):
    """Rates that halve every step for G and fall to a tenth every second step for D."""
    return gan(
        optimizer_generator=partial(GANAdam, lr=1.0e-2),
        optimizer_discriminator=partial(GANAdam, lr=1.0e-3),
        scheduler_generator=partial(StepLR, step_size=1, gamma=0.5),
        scheduler_discriminator=partial(StepLR, step_size=2, gamma=0.1),
        scheduler_interval=interval,
        **arguments,
    )


def rates(trainer, module):
    discriminator, generator = (optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers)
    return pytest.approx(discriminator), pytest.approx(generator)


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_schedules_count_generator_updates_or_epochs(interval, tmp_path):
    watch, path = Watch(rates), tmp_path / "middle.ckpt"
    model = scheduled(interval, critic_steps=2)
    runner = fit(model, loader(4), tmp_path, max_epochs=3, callbacks=[watch, SaveAt(8, path)])
    ticks = [n // 2 for n in range(1, 13)] if interval == "step" else [n // 4 for n in range(1, 13)]
    assert watch.values == [(1e-3 * 0.1 ** (n // 2), 1e-2 * 0.5**n) for n in ticks]

    saved = torch.load(path, weights_only=True)
    assert [schedule["last_epoch"] for schedule in saved["lr_schedulers"]] == [ticks[7]] * 2
    assert tuple(state["param_groups"][0]["lr"] for state in saved["optimizer_states"]) == watch.values[7]

    again = scheduled(interval, critic_steps=2)
    resumed = fit(again, loader(4), tmp_path, max_epochs=3, ckpt_path=path)
    assert rates(resumed, again) == rates(runner, model)


def test_one_player_alone_may_have_a_schedule(tmp_path):
    model = gan(scheduler_discriminator=partial(StepLR, step_size=1, gamma=0.5))
    runner = fit(model, loader(3), tmp_path)
    assert rates(runner, model) == (2e-4 / 8, 2e-4)


# ---- logs


def test_values_are_computed_and_logged_only_when_due(tmp_path):
    model, recorder, computed = gan(critic_steps=2), Recorder(), []
    log, log_dict = model.log, model.log_dict
    model.log = lambda *args, **kwargs: computed.append(model.images_seen) or log(*args, **kwargs)
    model.log_dict = lambda *args, **kwargs: computed.append(model.images_seen) or log_dict(*args, **kwargs)
    norms = Watch(lambda trainer, module: dict(module.gradient_norms))
    fit(model, loader(12), tmp_path, logger=recorder, log_every_n_steps=5, callbacks=[norms])
    assert set(computed) == {5 * BATCH, 10 * BATCH}
    assert [step for step, _ in recorder.rows] == [4, 9]
    assert [row["images_seen"] for _, row in recorder.rows] == [5 * BATCH, 10 * BATCH]
    assert len({id(values.get("discriminator")) for values in norms.values}) == 3  # none, then one each time
    names = {f"{player}/{name}" for player in model.players for name in ("adversarial", "loss", "gradient_norm")}
    assert names | {"images_seen", "epoch"} == set(recorder.rows[1][1])


def test_logged_values_are_those_of_the_whole_batch(tmp_path):
    """With unequal micro-batches, 8 = 3 + 3 + 2."""
    model, recorder, terms = gan(), Recorder(), []
    before = {key: value.clone() for key, value in model.state_dict().items()}
    batch = {"image": samples(1), "latent": torch.randn(BATCH, 3)}
    fit(model, Batches([batch]), tmp_path, logger=recorder, accumulate_grad_batches=3)
    reference = gan()
    reference.load_state_dict(before)
    terms = reference.discriminator_terms(batch, reference.generate(batch))["adversarial"].mean()
    gradient = torch.autograd.grad(terms, list(reference.discriminator.parameters()))
    (_, row), *_ = recorder.rows
    assert row["discriminator/adversarial"] == pytest.approx(float(terms), rel=1e-5)
    assert row["discriminator/loss"] == pytest.approx(float(terms), rel=1e-5)
    norm = torch.cat([part.flatten() for part in gradient]).norm()
    assert row["discriminator/gradient_norm"] == pytest.approx(float(norm), rel=1e-5)


# ---- batches


class TheirData(LightningDataModule):
    """Somebody's data module, which says nothing of shapes."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def train_dataloader(self):
        return self.make()


def test_a_batch_may_be_a_tensor_a_tuple_or_a_dict(tmp_path):
    parts = samples(3).split(BATCH)
    kinds = {
        "tensor": list(parts),
        "tuple": [(x, torch.zeros(BATCH)) for x in parts],
        "list": [[x] for x in parts],
        "dict": [{"image": x, "anything": torch.zeros(BATCH)} for x in parts],
    }
    states = {}
    for kind, batches in kinds.items():
        model = gan()
        states[kind] = snapshot(model, fit(model, Batches(batches), tmp_path))
    for kind in kinds:
        assert_same(states["tensor"], states[kind])


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        ({"picture": torch.zeros(2, 2)}, r"batch: has keys \['picture'\], but this model needs 'image'"),
        (["a", "b"], "batch: got list, allowed are a tensor, a tuple .* or a dict with 'image'"),
        (3, "batch: got int, allowed are"),
    ],
)
def test_any_other_batch_is_refused(batch, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence) as caught:
        fit(gan(), Batches([batch]), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
@pytest.mark.parametrize("wrap", [lambda make: make(), TheirData], ids=["loader", "data module"])
def test_the_shape_is_read_from_the_data(shape, wrap, tmp_path):
    model = gan(None)
    fit(model, wrap(lambda: loader(2, shape)), tmp_path)
    assert model.image_shape == shape
    assert model.hparams["image_shape"] == list(shape)
    assert model.sample(3).shape == (3, *shape)


def test_reading_the_shape_leaves_the_random_state_alone(tmp_path):
    shuffled = DataLoader(TensorDataset(samples(4)), BATCH, shuffle=True)
    inferred = gan(None)
    fit(inferred, shuffled, tmp_path, seed=0, limit_train_batches=0)
    given = gan((2,))  # from seed 0, too
    assert all(torch.equal(value, given.state_dict()[key]) for key, value in inferred.state_dict().items())


def test_a_shape_is_needed_before_there_are_data():
    with pytest.raises(ValueError, match=r"image_shape: not given; pass it, e.g. \(1, 32, 32\), or fit the model"):
        gan(None).configure_model()


@pytest.mark.parametrize(
    ("convert", "warns"),
    [
        (lambda x: (x + 1) / 2, True),
        (lambda x: (x + 1) * 127.5, True),
        (lambda x: 3 * x, True),
        (lambda x: x, False),
        (lambda x: x.clamp(-0.9, 0.4), False),
    ],
    ids=["0 to 1", "0 to 255", "-3 to 3", "-1 to 1", "dark"],
)
def test_images_of_another_range_are_noticed(convert, warns, tmp_path, recwarn):
    images = convert(samples(2, (1, 4, 4)))
    fit(gan((1, 4, 4)), DataLoader(TensorDataset(images), BATCH), tmp_path)
    found = [str(w.message) for w in recwarn if "expect images in [-1, 1]" in str(w.message)]
    assert len(found) == int(warns), found
    fit(gan(), DataLoader(TensorDataset(samples(2) + 1), BATCH), tmp_path)
    assert len([w for w in recwarn if "expect images" in str(w.message)]) == int(warns), "points have no range"


def test_images_of_whole_numbers_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"batch: got images of torch.uint8, allowed are floats, for pictures in \[-1, 1\]"
    ):
        fit(gan((1, 4, 4)), Batches([torch.zeros(8, 1, 4, 4, dtype=torch.uint8)]), tmp_path)
