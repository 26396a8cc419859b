"""MADE with several masks: the average of models that share their weights."""

from __future__ import annotations

import functools

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pl_genmodels.losses import Bernoulli, Categorical
from pl_genmodels.models.autoregressive.made import MADE
from pl_genmodels.networks import MADENetwork
from tests.models.harness import trainer
from tests.small_pixels import all_images, draw_naively, with_random_weights

MASKS = 3


def masked(shape=(1, 2, 3), likelihood=None, **arguments):
    torch.manual_seed(0)
    network = functools.partial(MADENetwork, hidden_dim=30, num_layers=2, num_masks=MASKS, any_order=True)
    model = MADE(shape, network=network, likelihood=likelihood or Bernoulli(), **arguments)
    with_random_weights(model.network, 1.5)
    return model.double()


def test_the_likelihood_is_the_mean_of_all_masks():
    model, images = masked(), all_images(2, 1, 2, 3)
    each = []
    for _ in model.network.each_mask():
        model.train()  # one mask only
        each.append((-model.terms({"image": images})["nll"]).exp().detach())
        assert each[-1].sum() == pytest.approx(1, abs=1e-9)
    assert (each[0] - each[1]).abs().max() > 0.01, "masks that hardly matter"
    probability = torch.stack(each).mean(0)
    assert torch.allclose(model.log_likelihood(images).exp(), probability, rtol=1e-9)
    model.eval()
    assert torch.allclose((-model.terms({"image": images})["nll"]).exp(), probability, rtol=1e-9)


@pytest.mark.parametrize(("shape", "likelihood"), [((1, 2, 3), Bernoulli()), ((3, 2, 2), Categorical(4))])
def test_each_sample_is_drawn_in_the_order_of_its_mask(shape, likelihood):
    model = masked(shape, likelihood)
    samples, uniforms = model.sample(8, seed=0), model.draw_uniforms(8, seed=0)
    for mask in model.network.each_mask():
        rows = slice(mask, None, MASKS)
        assert torch.equal(samples[rows], draw_naively(model, uniforms[rows])[0])
    assert torch.equal(model.sample(4, seed=0, first=4), samples[4:])
    known, mask = samples.flip(0), torch.rand(shape[1:]) < 0.5
    completed = model.sample(8, seed=0, known=known, mask=mask)
    assert torch.equal(completed[:, :, mask], known[:, :, mask])


def test_samples_follow_the_likelihood():
    model, images = masked((1, 2, 2)), all_images(2, 1, 2, 2)
    probability = model.log_likelihood(images).exp()
    samples = model.sample(6000, seed=1)
    found = (samples.flatten(1)[:, None] == images.flatten(1)).all(2).double().mean(0)
    error = (found - probability) / (probability / len(samples)).sqrt()
    assert error[probability > 2e-3].abs().max() < 4.5


@pytest.mark.parametrize("accumulated", [1, 2])
def test_training_takes_masks_in_turn_and_batches_of_one_step_share_theirs(accumulated, tmp_path, monkeypatch):
    taken, terms = [], MADE.terms

    def told(model, batch):
        taken.append(model.network.mask)
        return terms(model, batch)

    monkeypatch.setattr(MADE, "terms", told)
    network = functools.partial(MADENetwork, hidden_dim=30, num_masks=MASKS)
    model = MADE((1, 2, 3), network=network)
    images = torch.rand(10, 1, 2, 3).sub(0.5).sign()
    loader = DataLoader(TensorDataset(images), batch_size=1)
    trainer(tmp_path, max_epochs=1, accumulate_grad_batches=accumulated).fit(model, loader)
    assert taken == [batch // accumulated % MASKS for batch in range(10)]
