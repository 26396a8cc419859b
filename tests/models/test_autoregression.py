"""The base of autoregressive models, on a linear network whose distribution can be listed."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pl_genmodels.losses import Bernoulli, Categorical
from pl_genmodels.models.autoregression import AutoregressiveModule
from pl_genmodels.types import Paper
from tests.models.harness import Recorder, trainer
from tests.small_pixels import Linear, all_images, draw_cached, draw_naively


class Pixels(AutoregressiveModule):
    paper = Paper("Pixels", "Nobody", 2016, "https://example.org", "nothing")


class Coupled(Categorical):
    couples_channels = True


def pixels(shape=(1, 2, 2), likelihood=None, num_classes=0, **arguments):
    torch.manual_seed(0)
    likelihood = likelihood or Bernoulli()
    return Pixels(shape, network=Linear, likelihood=likelihood, num_classes=num_classes, **arguments).double()


@pytest.mark.parametrize(("likelihood", "levels"), [(Bernoulli(), 2), (Categorical(3), 3)])
@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 1, 2)])
def test_samples_follow_the_likelihood_which_sums_to_one(shape, likelihood, levels):
    model = pixels(shape, likelihood)
    images = all_images(levels, *shape)
    probability = model.log_likelihood(images).exp()
    assert probability.sum() == pytest.approx(1, abs=1e-9)
    samples = model.sample(4000, seed=1)
    found = (samples.flatten(1)[:, None] - images.flatten(1)).abs().amax(2) < 1e-6
    assert (found.sum(1) == 1).all(), "a sample is none of the images"
    likely = probability > 5e-3
    error = (found.double().mean(0) - probability)[likely] / (probability / len(samples)).sqrt()[likely]
    assert error.abs().max() < 4.5


def test_samples_of_a_seed_are_the_same_whoever_draws_them():
    model = pixels((3, 2, 2), Categorical(5))
    samples = model.sample(70, seed=3)
    assert not torch.equal(samples[:6], samples[64:]), "the numbers repeat from block to block"
    assert torch.equal(model.sample(3, seed=3, first=66), samples[66:69])
    assert not torch.equal(model.sample(70, seed=4), samples)
    torch.manual_seed(0)
    first = model.sample(5)
    assert not torch.equal(first, model.sample(5))
    torch.manual_seed(0)
    assert torch.equal(first, model.sample(5))


def test_known_pixels_stay_and_the_others_are_drawn_given_them():
    model = pixels((3, 2, 2), Categorical(4))
    known = model.sample(6, seed=9)
    mask = torch.tensor([[True, True], [False, True]])
    samples = model.sample(6, seed=0, known=known * 0.98, mask=mask)
    assert torch.equal(samples[:, :, mask], known[:, :, mask])
    uniforms = model.draw_uniforms(6, seed=0)
    naive, _ = draw_naively(model, uniforms, known=known, mask=mask)
    assert torch.equal(samples, naive)
    one = model.sample(6, seed=0, known=known[0], mask=mask)
    assert torch.equal(one[:, :, mask], known[:1, :, mask].expand(6, -1, -1))
    each = mask.expand(6, 1, 2, 2).clone()
    each[1] = False
    parts = model.sample(6, seed=0, known=known, mask=each)
    assert torch.equal(parts[1], model.sample(6, seed=0)[1])
    assert torch.equal(parts[2:], samples[2:])


def test_classes_reach_the_network():
    model = pixels((1, 2, 2), num_classes=3)
    images, label = all_images(2, 1, 2, 2), torch.arange(16) % 3
    by_class = torch.stack([model.log_likelihood(images, torch.full((16,), c)) for c in range(3)])
    assert torch.allclose(model.log_likelihood(images, label), by_class[label, torch.arange(16)])
    assert torch.allclose(model.terms({"image": images, "label": label})["nll"], -by_class[label, torch.arange(16)])
    cycled = model.sample(7, seed=0, first=2)
    assert torch.equal(cycled, model.sample(7, seed=0, first=2, label=torch.arange(2, 9) % 3))
    with pytest.raises(ValueError, match=r"label: got \[3\], allowed are 0 to 2, the model's 3 classes"):
        model.sample(2, label=torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"label: not given"):
        model.log_likelihood(images)
    with pytest.raises(ValueError, match=r"batch: has keys \['image'\], but a Pixels needs 'label' too"):
        model.terms({"image": images})


def test_classes_that_do_not_exist_end_a_run_at_its_start(tmp_path):
    model = pixels((1, 2, 2), num_classes=3).float()
    loader = DataLoader(TensorDataset(torch.zeros(4, 1, 2, 2), torch.arange(4)), 4)
    with pytest.raises(ValueError, match=r"label: got \[3\], allowed are 0 to 2, the model's 3 classes"):
        trainer(tmp_path, max_epochs=1).fit(model, loader)


def test_bits_per_dim_are_nats_over_values_and_log_2(tmp_path):
    model, recorder = pixels((3, 2, 2), Categorical(4)).float(), Recorder()
    images = model.sample(16, seed=0)
    runner = trainer(tmp_path, logger=recorder, max_epochs=1, log_every_n_steps=1)
    runner.limit_val_batches = 1.0
    loader = DataLoader(TensorDataset(images), 8)
    model.optimizer_factory = functools.partial(torch.optim.SGD, lr=0.0)
    runner.fit(model, loader, loader)
    row = next(row for _, row in recorder.rows if "val/nll" in row)
    assert row["val/nll"] == pytest.approx(-model.log_likelihood(images).mean().item(), rel=1e-5)
    assert row["val/bits_per_dim"] == pytest.approx(row["val/nll"] / (12 * math.log(2)), rel=1e-5)


def test_the_cache_is_asked_for_each_value_once_in_order():
    model = pixels((3, 2, 2), Categorical(4))
    samples, seen = draw_cached(model, 4)
    naive, wanted = draw_naively(model, model.draw_uniforms(4, seed=0))
    assert torch.equal(samples, naive)
    assert torch.allclose(seen, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_samples": 0}, "num_samples: got 0"),
        ({"known": torch.zeros(1, 2, 2)}, "known: allowed is together with mask"),
        ({"mask": torch.ones(2, 2) > 0}, "known: allowed is together with mask"),
        ({"known": torch.zeros(1, 2, 3), "mask": torch.ones(2, 2) > 0}, r"known: got shape \(1, 2, 3\), allowed are"),
        ({"known": torch.zeros(1, 2, 2), "mask": torch.ones(2, 3) > 0}, r"mask: got shape \(2, 3\), allowed are"),
        ({"known": torch.zeros(1, 2, 2), "mask": torch.ones(2, 2)}, "mask: got torch.float32, allowed are booleans"),
        ({"known": torch.full((1, 2, 2), 1.5), "mask": torch.ones(2, 2) > 0}, "known: got values from 1.5 to 1.5"),
        ({"label": torch.zeros(4).long()}, "label: given, but the model has no classes"),
    ],
)
def test_bad_arguments_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        pixels().sample(**{"num_samples": 4, **arguments})


def test_bad_images_and_parts_are_refused():
    with pytest.raises(ValueError, match="image: got values from 0 to 2, allowed are values"):
        pixels().log_likelihood(torch.tensor([0.0, 0, 0, 2]).view(1, 1, 2, 2))
    with pytest.raises(ValueError, match="num_classes: got -1"):
        pixels(num_classes=-1)
    with pytest.raises(ValueError, match=r"Linear: got image_shape \(4,\), allowed are pictures"):
        pixels((4,))

    with pytest.raises(ValueError, match="likelihood: got Coupled, which couples channels"):
        pixels((3, 2, 2), Coupled(4))
