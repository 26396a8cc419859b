"""Losses and weights that are not finite end a run, with a sentence, before anything good is lost."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.plugins import MixedPrecision
from torch.utils._python_dispatch import TorchDispatchMode

import pl_genmodels
from pl_genmodels.callbacks import ExactResume, LastCheckpoint, TrainingCollapsedError
from pl_genmodels.losses import R1
from pl_genmodels.models.finite import FOLD_AFTER, FiniteRecord, non_finite_weights
from pl_genmodels.models.gan.gan import GAN
from tests.models.harness import SaveAt
from tests.models.test_likelihood import Gaussian
from tests.small import BATCH, fit, gan, loader

# ---- the record


def filled(bad, values=40, dtype=torch.float32):
    """A record of two players with two terms each, with bad values at some places."""
    record = FiniteRecord()
    for place in range(values // 4):
        for turn, player in enumerate(("discriminator", "generator")):
            means = {}
            for index, term in enumerate(("adversarial", "penalty")):
                means[term] = torch.tensor(bad.get(4 * place + 2 * turn + index, 1.0), dtype=dtype)
            record.add(player, means, images=10 * place, step=place)
    return record


NAMES = [f"{player}/{term}" for player in ("discriminator", "generator") for term in ("adversarial", "penalty")]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 3, 17, FOLD_AFTER - 1, FOLD_AFTER, 3 * FOLD_AFTER + 5])
def test_the_first_of_all_is_found(value, place):
    """Wherever it lies, and although later ones follow."""
    record = filled({place: value, place + 1: math.nan, place + FOLD_AFTER: math.nan}, 4 * FOLD_AFTER)
    assert record.first() == (10 * (place // 4), place // 4, NAMES[place % 4])
    assert record.first() == (10 * (place // 4), place // 4, NAMES[place % 4]), "looking changes nothing"
    record.clear()
    assert record.first() is None


def test_finite_values_leave_nothing():
    assert filled({}, 8).first() is None
    assert FiniteRecord().first() is None
    assert filled({5: 3e38}).first() is None


def test_types_may_differ():
    record = FiniteRecord()
    record.add("a", {"half": torch.tensor(1.0).half(), "double": torch.tensor(1e300, dtype=torch.float64)}, 1, 1)
    assert record.first() is None
    record.add("a", {"half": torch.tensor(math.inf).half()}, 2, 2)
    assert record.first() == (2, 2, "a/half")


def test_it_holds_no_graph_and_does_not_grow():
    record, weight = FiniteRecord(), torch.ones((), requires_grad=True)
    for step in range(10 * FOLD_AFTER):
        record.add("a", {"b": 2 * weight}, step, step)
    assert len(record._values) < FOLD_AFTER
    assert not any(value.requires_grad for value in record._values)


# ---- weights


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_parameter_is_named(value):
    model = gan()
    assert non_finite_weights(model) is None
    with torch.no_grad():
        model.generator.layers[0].weight[1, 0] = value
    assert non_finite_weights(model) == "generator.layers.0.weight"


def test_buffers_may_hold_masks_but_not_nan():
    model = gan()
    model.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    model.register_buffer("count", torch.tensor(3))
    assert non_finite_weights(model) is None
    model.mask[0] = math.nan
    assert non_finite_weights(model) == "mask"


# ---- runs


class Breaking(GAN):
    """One term is not finite in one step."""

    at, term = 3, "discriminator/adversarial"

    def spoil(self, player, terms):
        spoilt = self.generator_updates + 1 == self.at
        return {
            name: term * math.nan if spoilt and f"{player}/{name}" == self.term else term
            for name, term in terms.items()
        }

    def discriminator_terms(self, batch, generated):
        return self.spoil("discriminator", super().discriminator_terms(batch, generated))

    def generator_terms(self, batch, generated):
        return self.spoil("generator", super().generator_terms(batch, generated))


class Both(LightningDataModule):
    """Eight batches to train on and one to validate with, where a run validates."""

    def train_dataloader(self):
        return loader(8)

    def val_dataloader(self):
        return loader(1)


@pytest.mark.parametrize("term", ["discriminator/adversarial", "discriminator/r1", "generator/adversarial"])
@pytest.mark.parametrize("look", ["logger", "checkpoint", "validation", "end"])
def test_a_run_ends_with_player_term_and_step(look, term, tmp_path):
    """Whatever is the first to look, and whatever else has broken by then."""
    model = gan(model=Breaking, penalties=[R1(0.1)])
    model.term, last = term, LastCheckpoint(2 if look == "checkpoint" else 500)
    options = {
        "logger": {"log_every_n_steps": 4},
        "checkpoint": {"log_every_n_steps": 0},
        "validation": {"log_every_n_steps": 0, "val_check_interval": 5, "limit_val_batches": 1},
        "end": {"log_every_n_steps": 0},
    }[look]
    with pytest.raises(TrainingCollapsedError) as caught:
        fit(model, Both(), tmp_path, callbacks=[last], enable_checkpointing=True, **options)
    assert str(caught.value).startswith(f"After 24 images (step 3), {term} is not finite; no checkpoint was written")
    assert "\n" not in str(caught.value)
    assert model.images_seen == {"logger": 4, "checkpoint": 4, "validation": 5, "end": 8}[look] * BATCH
    if look == "checkpoint":
        assert non_finite_weights(pl_genmodels.load(last.path)) is None
        assert pl_genmodels.load(last.path).images_seen == 2 * BATCH
    else:
        assert not last.path.exists()


class BrokenGaussian(Gaussian):
    def terms(self, batch):
        terms = super().terms(batch)
        self.calls = getattr(self, "calls", 0) + 1
        return {name: term / 0 if self.calls == 3 and name == "volume" else term for name, term in terms.items()}


def test_likelihood_models_too(tmp_path):
    with pytest.raises(TrainingCollapsedError, match=r"After 24 images \(step 3\), train/volume is not finite"):
        fit(BrokenGaussian((2,)), loader(8), tmp_path, log_every_n_steps=5)


def test_broken_weights_alone_are_not_saved(tmp_path):
    """All losses so far were finite."""
    model = gan()
    path = tmp_path / "kept.ckpt"
    fit(model, loader(1), tmp_path, callbacks=[SaveAt(1, path)])
    with torch.no_grad():
        model.discriminator.layers[0].bias[0] = math.inf
    before = path.read_bytes()
    with pytest.raises(TrainingCollapsedError, match=r"discriminator\.layers\.0\.bias is not finite"):
        model.trainer.save_checkpoint(path)
    assert path.read_bytes() == before


class Looks(TorchDispatchMode):
    """Counts values that Python reads from tensors, each of which waits for the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


SGD = partial(torch.optim.SGD, lr=0.01)  # Adam reads its step numbers, which are on the host


@pytest.mark.parametrize("kind", ["adversarial", "likelihood"])
def test_a_step_waits_for_nothing(kind, tmp_path):
    """Unless a logger is due; also when the record folds."""
    model = gan(optimizer_generator=SGD, optimizer_discriminator=SGD) if kind == "adversarial" else Gaussian((2,), SGD)
    steps, counts = FOLD_AFTER // 2 + 10, []
    step = model.training_step

    def training_step(batch, batch_idx):
        with Looks() as looks:
            result = step(batch, batch_idx)
        counts.append(looks.count)
        return result

    model.training_step = training_step
    model.images_seen = 8  # the range of the first images is looked at once
    fit(model, loader(steps, batch=1), tmp_path, log_every_n_steps=steps - 1)
    assert [index + 1 for index, count in enumerate(counts) if count] == [steps - 1]


# ---- sixteen bits


def scaled(scaler):
    return {"plugins": [MixedPrecision("16-mixed", "cpu", scaler)]}


def test_a_scaler_may_leave_out_steps(tmp_path):
    """Its run goes on from a loss that is not finite; the weights are as before."""
    model = gan(model=Breaking)
    runner = fit(model, loader(8), tmp_path, **scaled(torch.amp.GradScaler("cpu", init_scale=4.0)))
    assert runner.precision_plugin.scaler.get_scale() == 2.0
    assert runner.global_step == 8
    assert non_finite_weights(model) is None


def test_a_scale_that_keeps_falling_ends_the_run(tmp_path):
    model = gan()
    model.generator_terms = lambda batch, generated: {"adversarial": generated["image"].sum(1) * math.nan}
    with pytest.raises(TrainingCollapsedError, match=r"every gradient, the scale of 16-bit precision .* is not finite"):
        fit(model, loader(40), tmp_path, log_every_n_steps=10, **scaled(torch.amp.GradScaler("cpu", init_scale=8.0)))
    assert 10 * BATCH < model.images_seen <= 20 * BATCH
    assert non_finite_weights(model) is None


def test_a_new_run_starts_with_a_clean_record(tmp_path):
    """A model that broke can be trained from a good checkpoint again."""
    path, model = tmp_path / "good.ckpt", gan(model=Breaking)
    with pytest.raises(TrainingCollapsedError):
        fit(model, loader(8), tmp_path, callbacks=[ExactResume(), SaveAt(2, path)])
    model.at = -1
    assert fit(model, loader(8), tmp_path, ckpt_path=path, callbacks=[ExactResume()]).global_step == 8
