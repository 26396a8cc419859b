"""Likelihoods sum to one, and divergences equal what sampling says."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from pl_genmodels.losses import Bernoulli, Categorical, Gaussian, kl_normal


def test_kl_equals_sampling_and_torch():
    torch.manual_seed(0)
    mean, log_variance, prior_mean, prior_log_variance = torch.randn(4, 3, 5, dtype=torch.float64)
    q, p = (Normal(m, (0.5 * v).exp()) for m, v in ((mean, log_variance), (prior_mean, prior_log_variance)))
    assert torch.allclose(kl_normal(mean, log_variance, prior_mean, prior_log_variance), kl_divergence(q, p).sum(1))
    standard = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    latent = q.sample((100_000,))
    draws = (q.log_prob(latent) - standard.log_prob(latent)).sum(2)
    error = 4 * draws.std(0) / math.sqrt(len(draws))
    assert ((kl_normal(mean, log_variance) - draws.mean(0)).abs() < error).all()


def test_kl_of_equal_distributions_is_zero_and_one_prior_serves_a_batch():
    mean, log_variance = torch.randn(2, 4, 3)
    assert torch.equal(kl_normal(mean, log_variance, mean, log_variance), torch.zeros(4))
    assert torch.equal(kl_normal(torch.zeros(2, 3), torch.zeros(2, 3)), torch.zeros(2))
    shared = kl_normal(mean, log_variance, torch.zeros(1, 3), torch.zeros(1, 3))
    assert torch.allclose(shared, kl_normal(mean, log_variance))


def test_bernoulli_sums_to_one_over_all_images():
    logits = torch.randn(1, 1, 3, 3, dtype=torch.float64)
    images = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=9)), dtype=torch.float64).view(-1, 1, 3, 3)
    total = Bernoulli().log_prob(logits.expand(len(images), -1, -1, -1), images).exp().sum()
    assert total == pytest.approx(1, abs=1e-12)


def test_bernoulli_rounds_grey_unless_told_otherwise():
    logits, grey = torch.randn(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.2)
    white, black = torch.ones_like(grey), -torch.ones_like(grey)
    assert torch.equal(Bernoulli().log_prob(logits, grey), Bernoulli().log_prob(logits, white))
    share = 0.6  # of white in a value of 0.2
    mixed = share * Bernoulli().log_prob(logits, white) + (1 - share) * Bernoulli().log_prob(logits, black)
    assert torch.allclose(Bernoulli(binarize=False).log_prob(logits, grey), mixed)


def test_bernoulli_is_stable_at_the_edges_and_its_mean_is_in_the_datas_range():
    logits = torch.tensor([[[[200.0, -200.0]]]])
    right, wrong = torch.tensor([[[[1.0, -1.0]]]]), torch.tensor([[[[-1.0, 1.0]]]])
    assert Bernoulli().log_prob(logits, right) == 0
    assert Bernoulli().log_prob(logits, wrong) == -400
    assert torch.equal(Bernoulli().mean(logits), right)
    assert Bernoulli().mean(torch.zeros(1, 1, 1, 1)) == 0


def test_categorical_sums_to_one_over_256_levels_and_adds_up_over_values():
    torch.manual_seed(0)
    likelihood, logits = Categorical(), 3 * torch.randn(1, 2 * 256, 1, 1)
    levels = torch.arange(256) / 127.5 - 1
    rows = [torch.stack([levels, levels[7].expand(256)], 1), torch.stack([levels[9].expand(256), levels], 1)]
    first, second = (likelihood.log_prob(logits.expand(256, -1, -1, -1), row[..., None, None]) for row in rows)
    log_shares = logits.view(2, 256).log_softmax(1)
    assert (first - log_shares[1, 7]).exp().sum() == pytest.approx(1, abs=1e-5)
    assert (second - log_shares[0, 9]).exp().sum() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(first, log_shares[0] + log_shares[1, 7], atol=1e-5)


def test_categorical_rounds_to_the_nearest_level_and_is_stable_at_the_edges():
    likelihood = Categorical(5)
    assert likelihood.quantize(torch.tensor([-1, -0.76, -0.74, 0.2, 0.9, 1.0])).tolist() == [-1, -1, -0.5, 0, 1, 1]
    assert torch.equal(Categorical().quantize(torch.arange(256) / 127.5 - 1), torch.arange(256) * (2 / 255) - 1)
    logits = torch.tensor([2e3, 0, 0, 0, -2e3]).view(1, 5, 1, 1)
    white, black = torch.ones(1, 1, 1, 1), -torch.ones(1, 1, 1, 1)
    assert likelihood.log_prob(logits, black) == 0
    assert likelihood.log_prob(logits, white) == -4e3
    assert likelihood.mean(logits) == -1
    assert likelihood.mean(torch.zeros(2, 10, 1, 1)).abs().max() < 1e-6
    with pytest.raises(ValueError, match="levels: got 1, allowed is 2 or more"):
        Categorical(1)


@pytest.mark.parametrize(("likelihood", "levels"), [(Bernoulli(), 2), (Categorical(4), 4)])
def test_draws_invert_the_distribution_function(likelihood, levels):
    torch.manual_seed(0)
    parameters = torch.randn(1, likelihood.parameters_per_pixel(2), dtype=torch.float64)
    uniform = (torch.arange(10_000) / 10_000)[:, None].expand(-1, likelihood.uniforms_per_pixel(2))
    values = likelihood.draw(parameters.expand(len(uniform), -1), uniform)
    each = parameters.unflatten(1, (2, -1))[0]
    for channel in range(2):
        for level in range(levels):
            value = torch.full((1, 1), 2 * level / (levels - 1) - 1, dtype=torch.float64)
            share = ((values[:, channel] - value[0]).abs() < 1e-6).double().mean()
            wanted = likelihood.log_prob(each[channel][None], value).exp()
            assert share.item() == pytest.approx(wanted.item(), abs=2e-4)


def test_what_has_no_probability_is_never_drawn():
    logits = torch.tensor([[-1e4, 0.0, -1e4, 0.0, -1e4]])
    for uniform, value in ((0.0, -0.5), (0.49, -0.5), (0.51, 0.5), (1 - 2.0**-24, 0.5)):
        assert Categorical(5).draw(logits, torch.tensor([[uniform]])).item() == value
    assert Bernoulli().draw(torch.tensor([[-1e4]]), torch.zeros(1, 1)) == -1
    assert Bernoulli().draw(torch.tensor([[1e4]]), torch.full((1, 1), 1 - 2.0**-24)) == 1


@pytest.mark.parametrize("learned", ["none", "shared", "each"])
def test_gaussian_is_the_density_of_independent_normals(learned):
    torch.manual_seed(0)
    likelihood = Gaussian(std=0.3, learned=learned).double()
    parameters = torch.randn(4, 2 if learned == "each" else 1, 3, 3, dtype=torch.float64)
    image = torch.rand(4, 1, 3, 3, dtype=torch.float64) * 2 - 1
    std = 0.3 * parameters[:, 1:].exp() if learned == "each" else torch.tensor(0.3, dtype=torch.float64)
    expected = Normal(parameters[:, :1].tanh(), std.clamp_min(0.05)).log_prob(image).flatten(1).sum(1)
    assert torch.allclose(likelihood.log_prob(parameters, image), expected, rtol=1e-6)
    assert torch.equal(likelihood.mean(parameters), parameters[:, :1].tanh())
    assert [name for name, _ in likelihood.named_parameters()] == (["log_std"] if learned == "shared" else [])


def test_learned_deviation_stops_at_its_least():
    likelihood = Gaussian(std=0.1, learned="each", min_std=0.05, bounded=False)
    parameters = torch.cat([torch.zeros(1, 1), torch.full((1, 1), -20.0)], 1)
    expected = Normal(0.0, 0.05).log_prob(torch.tensor(0.0))
    assert likelihood.log_prob(parameters, torch.zeros(1, 1)) == pytest.approx(expected.item(), rel=1e-5)


def test_a_learned_shared_deviation_finds_the_data():
    likelihood = Gaussian(std=1.0, learned="shared", bounded=False)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(0)
    data = 0.2 * torch.randn(500, 4, generator=generator)
    for _ in range(200):
        optimizer.zero_grad()
        (-likelihood.log_prob(torch.zeros_like(data), data)).mean().backward()
        optimizer.step()
    assert likelihood.log_std.exp().item() == pytest.approx(data.square().mean().sqrt().item(), rel=1e-2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"std": 0.0}, "std: got 0.0, allowed is more than 0"),
        ({"min_std": -1.0}, "min_std: got -1.0"),
        ({"learned": "all"}, "learned: got 'all', allowed are"),
    ],
)
def test_bad_arguments_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Gaussian(**arguments)
