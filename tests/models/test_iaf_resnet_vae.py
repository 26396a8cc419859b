"""The ResNet VAE: its terms by hand, its bounds, and latents as one vector."""

from __future__ import annotations

import functools

import pytest
import torch
from torch.distributions import Normal
from torch.utils.data import DataLoader, TensorDataset

from pl_genmodels.layers.weight_norm import start_from_data
from pl_genmodels.losses import Bernoulli, DiscretizedLogistic, EvidenceLowerBound, FreeBits
from pl_genmodels.models.vae.iaf_resnet_vae import IAFResNetVAE
from pl_genmodels.networks import LadderNetwork
from tests.models.harness import trainer

SMALL = functools.partial(LadderNetwork, channels=6, latent_channels=2, num_resolutions=2, num_blocks=1)


def small(likelihood=None, objective=None, shape=(1, 8, 8)):
    torch.manual_seed(0)
    likelihood, objective = likelihood or Bernoulli(), objective or EvidenceLowerBound()
    return IAFResNetVAE(shape, network=SMALL, likelihood=likelihood, objective=objective).double()


def images(number, shape=(1, 8, 8)):
    return torch.rand(number, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def test_terms_are_those_of_the_layers():
    model, image = small(objective=EvidenceLowerBound(num_latents=3)), images(2)
    torch.manual_seed(1)
    terms = model.terms({"image": image})
    torch.manual_seed(1)
    noise = [torch.randn(3, 2, *shape, dtype=torch.float64).flatten(0, 1) for shape in model.network.latent_shapes]
    parameters, rungs = model.network(image, noise)
    kl = torch.zeros(6)
    for rung in rungs:
        log_posterior = Normal(0, 1).log_prob(rung.noise) - rung.log_scale
        log_prior = Normal(rung.prior_mean, rung.prior_log_std.exp()).log_prob(rung.value)
        kl = kl + (log_posterior - log_prior).flatten(1).sum(1)
    assert torch.allclose(terms["kl"], kl.view(3, 2).mean(0))
    log_likelihood = model.likelihood.log_prob(parameters, image.repeat(3, 1, 1, 1))
    assert torch.allclose(terms["reconstruction"], -log_likelihood.view(3, 2).mean(0))


def test_bits_are_free_by_feature_map_of_a_layer():
    model, image = small(objective=FreeBits(free_nats=1e6)), images(4)
    assert torch.allclose(model.terms({"image": image})["kl"], torch.full((4,), 2 * 2 * 1e6).double())


def test_weights_of_prior_latents_average_to_the_likelihood():
    """Of an image whose posterior is set to the prior, weights are plain likelihoods of draws from the prior."""
    model, image = small(), images(2)
    model.network.forward = lambda image, noise, forward=model.network.forward: forward(None, noise)
    torch.manual_seed(0)
    found = model.log_likelihood(image, 2000)
    draws = model.network(None, model._noise(2000, 1))[0]
    wanted = torch.stack([model.likelihood.log_prob(draws, each.expand(2000, -1, -1, -1)) for each in image])
    assert torch.allclose(found, wanted.logsumexp(1) - torch.tensor(2000.0).log(), rtol=0, atol=0.2)


def test_more_importance_samples_give_a_tighter_bound():
    model, image = small(), images(8)
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            parameter.mul_(20 if name.endswith("gain") else 1)  # latents that matter
        torch.manual_seed(0)
        each = torch.stack([sum(model.evaluation_terms({"image": image}).values()) for _ in range(100)])
    bounds = [-each.mean(), model.log_likelihood(image, 20).mean(), model.log_likelihood(image, 300).mean()]
    assert bounds[0] < bounds[1] < bounds[2]


def test_one_vector_stands_for_all_layers():
    model = small()
    latents = model.draw_latents(3, seed=0)
    assert latents.shape == (3, 2 * 16 + 2 * 4)
    assert torch.equal(model.sample(3, seed=0), model.decode(latents))
    assert torch.equal(model.sample(1, seed=0, first=2), model.decode(latents[2:]))
    image = images(5)
    noise = [torch.zeros(5, *shape, dtype=torch.float64) for shape in model.network.latent_shapes]
    centre = model.likelihood.mean(model.network(image, noise)[0])
    assert torch.allclose(model.reconstruct(image), centre, rtol=0, atol=1e-10)


def test_the_first_batch_sets_gains_and_biases(tmp_path):
    model = small(DiscretizedLogistic())
    expected = IAFResNetVAE((1, 8, 8), network=SMALL).double()
    expected.load_state_dict(model.state_dict())
    image = images(6)
    data = DataLoader(TensorDataset(image), batch_size=6)
    noise = expected._noise(6, 1)
    values = start_from_data(expected.network.eval(), lambda: expected.network(image, noise))
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), 0.0)
    model._noise = lambda number, count: noise
    trainer(tmp_path, max_epochs=2).fit(model, data)
    assert model.started == 1
    for name, value in values.items():
        assert torch.allclose(model.network.get_parameter(name), value)


def test_bits_per_dimension_are_logged(tmp_path):
    model = small(DiscretizedLogistic(16), shape=(3, 4, 4))
    found = trainer(tmp_path, limit_val_batches=1.0).validate(
        model, DataLoader(TensorDataset(images(4, (3, 4, 4)))), verbose=False
    )[0]
    assert found["val/bits_per_dim"] == pytest.approx(found["val/loss"] / (48 * 0.6931471805599453))
