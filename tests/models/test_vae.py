"""The variational autoencoder against what can be computed exactly."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from pl_genmodels.losses import EvidenceLowerBound, Gaussian
from pl_genmodels.losses import objectives as module
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import MLPDecoder, MLPEncoder

STD = 0.5


def linear_vae(**arguments):
    """A linear-Gaussian model, whose likelihood and posterior have closed forms."""
    torch.manual_seed(0)
    networks = {
        "encoder": functools.partial(MLPEncoder, num_layers=0),
        "decoder": functools.partial(MLPDecoder, num_layers=0),
    }
    likelihood = Gaussian(STD, bounded=False)
    return VAE((4,), latent_dim=2, likelihood=likelihood, **networks, **arguments).double()


def exact(model, image):
    """log p(x), and mean and covariance of p(z|x)."""
    layer = model.decoder.layers[0]
    weight, bias = layer.weight.detach(), layer.bias.detach()
    covariance = weight @ weight.T + STD**2 * torch.eye(4, dtype=torch.float64)
    precision = weight.T @ weight / STD**2 + torch.eye(2, dtype=torch.float64)
    posterior = precision.inverse()
    mean = (image - bias) @ weight @ posterior / STD**2
    return MultivariateNormal(bias, covariance).log_prob(image), mean, posterior


def test_terms_are_the_bound_and_never_exceed_the_likelihood():
    model = linear_vae()
    image = torch.randn(1, 4, dtype=torch.float64).expand(20_000, 4)
    terms = model.terms({"image": image})
    bound = -(terms["reconstruction"] + terms["kl"])
    likelihood, mean, posterior = exact(model, image[:1])
    q_mean, q_log_variance = model.encoder(image[:1]).detach().chunk(2, 1)
    q = MultivariateNormal(q_mean, torch.diag_embed(q_log_variance.exp()))
    gap = torch.distributions.kl_divergence(q, MultivariateNormal(mean, posterior))
    error = 4 * bound.std() / math.sqrt(len(bound))
    assert (bound.mean() - (likelihood - gap)).abs() < error
    assert gap > 10 * error, "the test could not tell the bound from the likelihood"


def test_importance_weighted_bound_rises_to_the_likelihood():
    model = linear_vae()
    with torch.no_grad():  # the prior as the posterior: wide, so that no weight is huge
        for parameter in model.encoder.parameters():
            parameter.zero_()
    image = torch.randn(32, 4, dtype=torch.float64)
    likelihood = exact(model, image)[0]
    gaps = [(likelihood - model.log_likelihood(image, count)).mean().item() for count in (1, 30, 30_000)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert abs(gaps[2]) < 0.02  # the mean of 32 estimates whose errors are about 0.05


def test_importance_weighted_bound_is_computed_in_parts(monkeypatch):
    model, image = linear_vae(), torch.randn(3, 4, dtype=torch.float64)
    rows = []
    hook = model.decoder.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    monkeypatch.setattr(module, "MAX_VALUES", 50 * 4)
    assert model.log_likelihood(image, 120).shape == (3,)
    hook.remove()
    assert max(rows) <= 50
    assert sum(rows) == 3 * 120


def test_the_weight_multiplies_the_reconstruction_only():
    image = torch.randn(5, 4, dtype=torch.float64)
    terms = []
    for weight in (1.0, 3.0):
        model = linear_vae(objective=EvidenceLowerBound(reconstruction_weight=weight))
        torch.manual_seed(1)
        terms.append(model.terms({"image": image}))
    assert torch.allclose(terms[1]["reconstruction"], 3 * terms[0]["reconstruction"])
    assert torch.equal(terms[1]["kl"], terms[0]["kl"])


def test_latents_are_reparametrised():
    model, image = linear_vae(), torch.randn(5, 4, dtype=torch.float64)
    model.terms({"image": image})["reconstruction"].mean().backward()
    weight = model.encoder.layers[0].weight
    mean_rows, variance_rows = weight.grad.chunk(2)
    assert (mean_rows != 0).all()
    assert (variance_rows != 0).all()


def test_samples_encodings_and_reconstructions_have_their_shapes():
    model = VAE((1, 8, 8), latent_dim=3, likelihood=Gaussian(learned="each"))
    image = torch.rand(5, 1, 8, 8) * 2 - 1
    assert model.encode(image).shape == (5, 3)
    assert model.reconstruct(image).shape == image.shape
    assert torch.equal(model.reconstruct(image), model.decode(model.encode(image)))
    samples = model.sample(70, seed=0)
    assert samples.shape == (70, 1, 8, 8)
    assert samples.abs().max() <= 1
    assert torch.allclose(model.sample(4, seed=0, first=66), samples[66:], atol=1e-6)
    assert not torch.equal(model.sample(4, seed=1), samples[:4])


def test_a_latent_without_length_is_refused():
    with pytest.raises(ValueError, match="latent_dim: got 0, allowed is 1 or more"):
        VAE((4,), latent_dim=0)


def test_bad_counts_are_refused():
    model = linear_vae()
    with pytest.raises(ValueError, match="num_importance_samples: got 0"):
        model.log_likelihood(torch.zeros(1, 4, dtype=torch.float64), 0)
    with pytest.raises(ValueError, match="num_samples: got 0"):
        model.sample(0)
