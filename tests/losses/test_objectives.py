"""Objectives of variational models against what they are made of."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from pl_genmodels.losses import (
    Capacity,
    EvidenceLowerBound,
    FreeBits,
    ImportanceWeightedBound,
    kl_normal,
    kl_of_dimensions,
    log_normal,
)
from pl_genmodels.models.posteriors import NormalLatents


def latents(count=3, batch=5, length=4):
    torch.manual_seed(0)
    mean, log_variance, prior_mean, prior_log_variance = torch.randn(4, batch, length, dtype=torch.float64)
    mean.requires_grad_()
    value = mean + (0.5 * log_variance).exp() * torch.randn(count, batch, length, dtype=torch.float64)
    return NormalLatents(value, (prior_mean, prior_log_variance), mean, log_variance)


def log_likelihood(count=3, batch=5):
    return torch.randn(count, batch, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_general_kl_equals_sampling():
    torch.manual_seed(0)
    mean, log_variance, prior_mean, prior_log_variance = torch.randn(4, 3, 5, dtype=torch.float64)
    draws = mean + (0.5 * log_variance).exp() * torch.randn(100_000, 3, 5, dtype=torch.float64)
    ratio = (log_normal(draws, mean, log_variance) - log_normal(draws, prior_mean, prior_log_variance)).sum(2)
    error = 4 * ratio.std(0) / math.sqrt(len(draws))
    exact = kl_normal(mean, log_variance, prior_mean, prior_log_variance)
    assert ((exact - ratio.mean(0)).abs() < error).all()
    assert torch.allclose(kl_of_dimensions(mean, log_variance, prior_mean, prior_log_variance).sum(1), exact)


def test_log_normal_is_torchs():
    value, mean, log_variance = torch.randn(3, 4, 2, dtype=torch.float64)
    wanted = Normal(mean, (0.5 * log_variance).exp()).log_prob(value)
    assert torch.allclose(log_normal(value, mean, log_variance), wanted)
    assert torch.allclose(log_normal(value), Normal(0.0, 1.0).log_prob(value))


def test_bound_has_a_weight_on_each_term_and_grows_the_kls():
    drawn, log_p = latents(), log_likelihood()
    plain = EvidenceLowerBound()(log_p, drawn, 0)
    exact = kl_normal(drawn.mean, drawn.log_variance, *drawn.prior)
    assert torch.allclose(plain["reconstruction"], -log_p.mean(0))
    assert torch.allclose(plain["kl"], exact)
    objective = EvidenceLowerBound(reconstruction_weight=2.0, kl_weight=4.0, warm_up_images=1000)
    for images_seen, share in ((0, 0.0), (250, 0.25), (1000, 1.0), (5000, 1.0)):
        terms = objective(log_p, drawn, images_seen)
        assert torch.allclose(terms["reconstruction"], 2 * plain["reconstruction"])
        assert torch.allclose(terms["kl"], 4 * share * exact)


def test_free_bits_are_those_of_the_batch_and_hold_gradients_back():
    drawn, log_p = latents(), log_likelihood()
    means = drawn.kl().mean(0).detach()
    free = float(means.sort().values[1:3].mean())  # two dimensions lie below
    terms = FreeBits(free_nats=free)(log_p, drawn, 0)
    assert terms["kl"].shape == (5,)
    assert terms["kl"].mean().item() == pytest.approx(means.clamp_min(free).sum().item())
    assert terms["kl"].mean() > means.sum()
    (gradient,) = torch.autograd.grad(terms["kl"].mean(), drawn.mean)
    assert torch.equal((gradient != 0).all(0), means > free)
    assert torch.equal((gradient == 0).all(0), means <= free)
    assert torch.allclose(FreeBits(free_nats=0.0)(log_p, drawn, 0)["kl"], EvidenceLowerBound()(log_p, drawn, 0)["kl"])


@pytest.mark.parametrize("capacity", [1.0, 1000.0])
def test_capacity_is_the_distance_of_the_mean_kl_from_it(capacity):
    drawn, log_p = latents(), log_likelihood()
    kl = drawn.kl().sum(1).mean()
    objective = Capacity(weight=3.0, capacity=capacity, growth_images=100)
    for images_seen, share in ((50, 0.5), (100, 1.0), (200, 1.0)):
        value = objective(log_p, drawn, images_seen)["kl"].mean()
        assert value.item() == pytest.approx(3 * abs(kl.item() - share * capacity))
    wanted = torch.autograd.grad(3 * (kl - capacity).abs(), drawn.mean, retain_graph=True)[0]
    assert torch.allclose(torch.autograd.grad(value, drawn.mean)[0], wanted)


def test_importance_weights_are_averaged_before_the_logarithm_and_weigh_the_gradient():
    drawn, log_p = latents(), log_likelihood()
    log_q = Normal(drawn.mean, (0.5 * drawn.log_variance).exp()).log_prob(drawn.value).sum(2)
    log_prior = Normal(drawn.prior[0], (0.5 * drawn.prior[1]).exp()).log_prob(drawn.value).sum(2)
    weights = log_p + log_prior - log_q  # (K, B)
    terms = ImportanceWeightedBound(3)(log_p, drawn, 0)
    assert torch.allclose(terms["bound"], -weights.exp().mean(0).log())
    weighted = -(weights.softmax(0).detach() * weights).sum(0).mean()
    gradients = [torch.autograd.grad(x, drawn.mean, retain_graph=True)[0] for x in (terms["bound"].mean(), weighted)]
    assert torch.allclose(*gradients)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: EvidenceLowerBound(reconstruction_weight=0.0), "reconstruction_weight: got 0.0"),
        (lambda: EvidenceLowerBound(kl_weight=-1.0), "kl_weight: got -1.0"),
        (lambda: EvidenceLowerBound(warm_up_images=-1), "warm_up_images: got -1"),
        (lambda: FreeBits(free_nats=-0.1), "free_nats: got -0.1"),
        (lambda: Capacity(growth_images=0), "growth_images: got 0"),
        (lambda: ImportanceWeightedBound(0), "num_latents: got 0"),
    ],
)
def test_bad_arguments_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
