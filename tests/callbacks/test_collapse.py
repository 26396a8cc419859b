"""Signs of collapse on networks built to show them, and what is done about each."""

from __future__ import annotations

import math
import warnings
from functools import partial

import pytest
import torch
from torch import nn

import pl_genmodels
from pl_genmodels.callbacks import CollapseMonitor, LastCheckpoint, TrainingCollapsedError
from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import Discriminator, Generator
from tests.models.harness import Recorder, SaveAt, assert_same, snapshot
from tests.small import BATCH, Batches, fit, gan, loader, samples


class Scaled(Generator):
    """Latents times a factor, which is also the spread of the samples."""

    def __init__(self, image_shape: tuple[int, ...], factor: float = 1.0) -> None:
        super().__init__(image_shape, image_shape[0])
        self.factor = factor
        self.shift = nn.Parameter(torch.zeros(image_shape))

    def forward(self, latent):
        return self.factor * latent + self.shift


class FirstCoordinate(Discriminator):
    """Its logit is a multiple of the first coordinate."""

    def __init__(self, image_shape: tuple[int, ...]) -> None:
        super().__init__(image_shape)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, image):
        return self.gain * image[:, 0]


def constructed(factor, **arguments):
    """A GAN whose players do not move."""
    still = {f"optimizer_{player}": Still for player in ("generator", "discriminator")}
    return gan(generator=Scaled((2,), factor), discriminator=FirstCoordinate, **still, **arguments)


class Still(torch.optim.SGD):
    def __init__(self, params) -> None:
        super().__init__(params, lr=0.0)


def normal(num_batches, batch=64, shift=0.0):
    generator = torch.Generator().manual_seed(3)
    return Batches(torch.randn(batch, 2, generator=generator) + shift for _ in range(num_batches))


def signs(model, data, tmp_path, **arguments):
    """The last row of the monitor."""
    recorder = Recorder()
    monitor = CollapseMonitor(**{"every_n_images": 1, **arguments})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(model, data, tmp_path, logger=recorder, callbacks=[monitor])
    rows = [row for _, row in recorder.rows if "monitor/diversity" in row]
    return {key.removeprefix("monitor/"): value for key, value in rows[-1].items()}


# ---- signs


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"min_discriminator_loss": 1e-3}, "the discriminator has won: its loss is"),
        ({"max_gradient_norm": 1e-12}, "the discriminator's gradient has norm"),
    ],
    ids=["loss", "norm"],
)
def test_a_discriminator_that_wins_is_told(options, sentence, tmp_path):
    """A thousand times the learning rate, and real samples far away: its loss falls to nothing."""

    def run(learning_rate, batches):
        model = gan(optimizer_discriminator=partial(GANAdam, lr=learning_rate))
        monitor = CollapseMonitor(every_n_images=64, min_diversity=0, action="stop", **options)
        fit(model, normal(batches, shift=20.0), tmp_path, logger=Recorder(), callbacks=[monitor])

    with pytest.raises(TrainingCollapsedError, match=sentence):
        run(0.2, 60)
    if "min_discriminator_loss" in options:
        run(2e-4, 3)


@pytest.mark.parametrize("factor", [0.0, 0.05, 1.0, 2.0])
def test_diversity_is_the_share_of_the_real_spread(factor, tmp_path):
    found = signs(constructed(factor), normal(1), tmp_path)["diversity"]
    assert found == pytest.approx(factor, rel=0.15)


def test_diversity_by_hand(tmp_path):
    model, (real,) = constructed(0.7), normal(1, batch=5)
    found = signs(model, Batches([real]), tmp_path, num_samples=6, seed=9)

    def mean_distance(points):
        pairs = [(points[i] - points[j]).norm() for i in range(len(points)) for j in range(i)]
        return sum(pairs) / len(pairs)

    wanted = mean_distance(model.sample(6, seed=9)) / mean_distance(real)
    assert found["diversity"] == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize(("shift", "accuracy"), [(8.0, 1.0), (0.0, 0.5), (-8.0, 0.0)])
def test_accuracy_and_gap_of_logits(shift, accuracy, tmp_path):
    found = signs(constructed(1.0), normal(1, shift=shift), tmp_path)
    assert found["accuracy"] == pytest.approx(accuracy, abs=0.15 if shift == 0 else 1e-3)
    assert found["logit_gap"] == pytest.approx(shift, abs=0.5)


def test_ratio_of_gradient_norms(tmp_path):
    recorder = Recorder()
    fit(gan(), loader(3), tmp_path, logger=recorder, callbacks=[CollapseMonitor(every_n_images=1)])
    scalars = {step: row for step, row in recorder.rows if "generator/gradient_norm" in row}
    looks = {step: row for step, row in recorder.rows if "monitor/gradient_norm_ratio" in row}
    assert len(looks) == 3
    for step, row in looks.items():
        ratio = scalars[step]["discriminator/gradient_norm"] / scalars[step]["generator/gradient_norm"]
        assert row["monitor/gradient_norm_ratio"] == pytest.approx(ratio, rel=1e-5)


def test_signs_are_logged_at_their_interval(tmp_path):
    """Whatever log_every_n_steps is, once each, on the images that they were measured at."""
    recorder = Recorder()
    monitor = CollapseMonitor(every_n_images=20)
    fit(gan(), loader(4), tmp_path, logger=recorder, log_every_n_steps=3, max_epochs=2, callbacks=[monitor])
    rows = [(step, row["images_seen"]) for step, row in recorder.rows if "monitor/diversity" in row]
    assert rows == [(2, 24), (4, 40), (7, 64)]
    assert all("images_seen" in row for _, row in recorder.rows)


def test_looking_does_not_change_training(tmp_path):
    plain, watched = gan(), gan()
    one = fit(plain, loader(5), tmp_path)
    two = fit(watched, loader(5), tmp_path, callbacks=[CollapseMonitor(every_n_images=1, min_diversity=0)])
    assert_same(snapshot(plain, one), snapshot(watched, two))


# ---- actions on collapse


def test_warn_says_so_once(tmp_path):
    monitor = CollapseMonitor(every_n_images=1)
    model = constructed(0.01)
    model.after_step = lambda player: setattr(model.generator, "factor", 0.9 * model.generator.factor)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runner = fit(model, normal(5), tmp_path, callbacks=[monitor])
    said = [str(w.message) for w in caught if "collapsed" in str(w.message)]
    assert len(said) == 1
    assert said[0].startswith("After 64 images (step 1), the samples have collapsed: their mean distance is 0.0")
    assert "\n" not in said[0]
    assert runner.global_step == 5


def test_a_healthy_run_is_left_alone(tmp_path):
    monitor = CollapseMonitor(every_n_images=1, action="stop")
    assert fit(constructed(0.3), normal(5), tmp_path, callbacks=[monitor]).global_step == 5


def test_stop_ends_the_run(tmp_path):
    monitor = CollapseMonitor(every_n_images=100, action="stop")
    with pytest.raises(TrainingCollapsedError, match=r"After 128 images .* the last good checkpoint stays") as caught:
        fit(constructed(0.0), normal(5), tmp_path, callbacks=[monitor])
    assert "\n" not in str(caught.value)


def test_min_diversity_of_zero_turns_the_test_off(tmp_path):
    monitor = CollapseMonitor(every_n_images=1, action="stop", min_diversity=0)
    assert fit(constructed(0.0), normal(3), tmp_path, callbacks=[monitor]).global_step == 3


# ---- what is not finite


class Breaking(GAN):
    """Once, in one round, one player's loss is not a number."""

    broken_round, who = -1, "generator"
    rounds = 0

    def training_step(self, batch, batch_idx):
        self.rounds += 1
        super().training_step(batch, batch_idx)

    def discriminator_terms(self, batch, generated):
        return self.breaking("discriminator", super().discriminator_terms(batch, generated))

    def generator_terms(self, batch, generated):
        return self.breaking("generator", super().generator_terms(batch, generated))

    def breaking(self, player, terms):
        factor = math.nan if (self.rounds, player) == (self.broken_round, self.who) else 1.0
        return {name: factor * term for name, term in terms.items()}


def breaking(broken_round, who="generator"):
    model = gan(model=Breaking)
    model.broken_round, model.who = broken_round, who
    return model


def resumable(path, model):
    """A checkpoint of the same weights as if that model had written it."""
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"] = dict(model.hparams)
    torch.save(checkpoint, path)
    return path


def finite(model):
    return all(bool(value.isfinite().all()) for value in model.state_dict().values())


@pytest.mark.parametrize("who", ["generator", "discriminator"])
def test_a_loss_that_is_not_a_number_is_found(who, tmp_path):
    monitor = CollapseMonitor(every_n_images=BATCH, action="stop")
    with pytest.raises(TrainingCollapsedError, match=rf"After 24 images \(step 3\), {who}/adversarial is not finite"):
        fit(breaking(3, who), loader(6), tmp_path, callbacks=[monitor])


def test_weights_are_looked_at_too(tmp_path):
    model = constructed(1.0)
    model.after_step = lambda player: model.discriminator.gain.fill_(math.inf) if player == "generator" else None
    monitor = CollapseMonitor(every_n_images=1, action="stop")
    with pytest.raises(TrainingCollapsedError, match=r"discriminator\.gain is not finite"):
        fit(model, normal(2), tmp_path, callbacks=[monitor])


@pytest.mark.parametrize(("every", "broken_round"), [(1, 6), (16, 5), (72, 5)])
def test_restore_goes_back_and_goes_on(every, broken_round, tmp_path):
    """Whether the monitor's turn comes before the next checkpoint or, with 72, after it."""
    model, last, sixth = breaking(broken_round), LastCheckpoint(2), tmp_path / "sixth.ckpt"
    monitor = CollapseMonitor(every_n_images=every, min_diversity=0, action="restore")
    callbacks = [monitor, SaveAt(6, sixth), last]
    with pytest.warns(UserWarning, match=r"is not finite; went back to .*last\.ckpt"):
        runner = fit(model, loader(9), tmp_path, enable_checkpointing=True, callbacks=callbacks)
    assert finite(model)
    assert model.images_seen == 9 * BATCH
    moments = [value for o in runner.optimizers for state in o.state.values() for value in state.values()]
    assert all(torch.as_tensor(value).isfinite().all() for value in moments)
    for path in (sixth, last.path):
        saved = torch.load(path, weights_only=True)
        states = [state for optimizer in saved["optimizer_states"] for state in optimizer["state"].values()]
        values = [*saved["state_dict"].values(), *(value for state in states for value in state.values())]
        assert all(torch.as_tensor(value).isfinite().all() for value in values)


def test_restored_is_what_the_checkpoint_holds(tmp_path):
    """Weights and optimisers, so the next step is that of a run which never broke."""
    data = Batches({"image": x, "latent": torch.randn(BATCH, 3)} for x in samples(6).split(BATCH))
    model = breaking(5)
    monitor = CollapseMonitor(every_n_images=BATCH, min_diversity=0, action="restore")
    last = LastCheckpoint(4)
    with pytest.warns(UserWarning, match="went back"):
        one = fit(model, data, tmp_path, enable_checkpointing=True, callbacks=[monitor, last])
    whole, without = gan(), Batches(batch for index, batch in enumerate(data) if index != 4)
    two = fit(whole, without, tmp_path)
    left, right = snapshot(model, one), snapshot(whole, two)
    del left["counters"], right["counters"]
    assert_same(left, right)


def test_restore_passes_over_what_cannot_be_used(tmp_path):
    model, last = breaking(6), LastCheckpoint(4)
    folder = tmp_path / "checkpoints"

    class Clutter(LastCheckpoint):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if batch_idx == 4:
                (folder / "cut.ckpt").write_bytes(last.path.read_bytes()[:900])
                trainer.save_checkpoint(folder / "weights.ckpt", weights_only=True)

    monitor = CollapseMonitor(every_n_images=BATCH, min_diversity=0, action="restore")
    with pytest.warns(UserWarning, match=r"went back to .*last\.ckpt"):
        fit(model, loader(6), tmp_path, enable_checkpointing=True, callbacks=[monitor, last, Clutter()])
    assert finite(model)


def test_restore_without_a_checkpoint_stops(tmp_path):
    monitor = CollapseMonitor(every_n_images=BATCH, action="restore")
    with pytest.raises(TrainingCollapsedError, match="there is no good checkpoint to go back to"):
        fit(breaking(2), loader(4), tmp_path, callbacks=[monitor])


@pytest.mark.parametrize("action", ["warn", "stop"])
def test_broken_weights_are_never_saved(action, tmp_path):
    """The monitor's own interval is far away, and no action but `restore` lets a run go on."""
    last = LastCheckpoint(2)
    monitor = CollapseMonitor(every_n_images=10_000, action=action)
    with pytest.raises(TrainingCollapsedError, match="not finite; no checkpoint was written since"):
        fit(breaking(3), loader(6), tmp_path, enable_checkpointing=True, callbacks=[monitor, last])
    assert pl_genmodels.load(last.path).images_seen == 2 * BATCH
    assert finite(pl_genmodels.load(last.path))


def test_a_resumed_run_goes_back_to_where_it_came_from(tmp_path):
    """Its own folder is still empty."""
    first = LastCheckpoint()
    fit(gan(), loader(3), tmp_path / "first", enable_checkpointing=True, callbacks=[first])
    monitor = CollapseMonitor(every_n_images=BATCH, min_diversity=0, action="restore")
    model = breaking(1)
    with pytest.warns(UserWarning, match=rf"went back to {first.path}"):
        fit(
            model,
            loader(2),
            tmp_path / "second",
            max_epochs=3,
            ckpt_path=resumable(first.path, model),
            callbacks=[monitor],
        )
    assert finite(model)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"every_n_images": 0}, "every_n_images: got 0, allowed is 1 or more"),
        ({"num_samples": 1}, "num_samples: got 1, allowed is 2 or more"),
        ({"action": "panic"}, r"action: got 'panic', allowed are \['warn', 'stop', 'restore'\]"),
    ],
)
def test_wrong_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        CollapseMonitor(**arguments)
