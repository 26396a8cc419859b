"""Inverse autoregressive flow: its determinant, its order, and what it starts from."""

from __future__ import annotations

import pytest
import torch
from torch.autograd.functional import jacobian

from pl_genmodels.layers import InverseAutoregressiveStep
from pl_genmodels.models.posteriors import InverseAutoregressive


def step(reverse=False, length=5):
    torch.manual_seed(0)
    made = InverseAutoregressiveStep(length, 3, 16, reverse).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("reverse", [False, True])
def test_jacobian_is_triangular_and_its_determinant_is_the_scales(reverse):
    made, latent, context = step(reverse), torch.randn(1, 5).double(), torch.randn(1, 3).double()
    found = jacobian(lambda z: made(z, context)[0][0], latent)[:, 0]  # (5, 5)
    assert torch.equal(found != 0, torch.ones(5, 5).triu().bool() if reverse else torch.ones(5, 5).tril().bool())
    _, log_scale = made(latent, context)
    assert torch.allclose(found.det().abs().log(), log_scale.sum(), rtol=0, atol=1e-10)
    assert torch.allclose(found.diagonal().log(), log_scale[0], rtol=0, atol=1e-10)
    scales = jacobian(lambda z: made(z, context)[1][0], latent)[:, 0]
    assert (scales.diagonal() == 0).all(), "a scale must not know the latent that it scales"


def test_every_dimension_sees_the_context():
    made, latent = step(), torch.randn(1, 5).double()
    found = jacobian(lambda c: torch.cat(made(latent, c), 1)[0], torch.randn(1, 3).double())[:, 0]
    assert (found != 0).all()


def test_a_step_starts_near_the_identity():
    torch.manual_seed(0)
    latent = torch.randn(200, 5)
    moved, log_scale = InverseAutoregressiveStep(5, 0, 16)(latent)
    assert torch.corrcoef(torch.stack([latent.flatten(), moved.flatten()]))[0, 1] > 0.95
    assert (log_scale.exp() > 0.7).all()


@pytest.mark.parametrize("length", [1, 4])
def test_posterior_adds_up_the_determinants_of_all_steps(length):
    torch.manual_seed(0)
    posterior = InverseAutoregressive(length, num_steps=3, hidden_dim=12, context_dim=2).double()
    with torch.no_grad():
        for parameter in posterior.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    features = torch.randn(1, posterior.num_features).double()
    mean, log_variance = features[:, : 2 * length].chunk(2, 1)

    def flow(start):
        latent = start[None]
        for each in posterior.steps:
            latent, _ = each(latent, features[:, 2 * length :])
        return latent[0]

    torch.manual_seed(1)
    drawn = posterior(features, 4)
    torch.manual_seed(1)
    starts = mean + (0.5 * log_variance).exp() * torch.randn(4, 1, length, dtype=torch.float64)
    normal = torch.distributions.Normal(mean[0], (0.5 * log_variance[0]).exp())
    for index, start in enumerate(starts[:, 0]):
        assert torch.allclose(drawn.value[index, 0], flow(start))
        wanted = normal.log_prob(start).sum() - jacobian(flow, start).det().abs().log()
        assert torch.allclose(drawn.log_density()[index].sum(), wanted, rtol=0, atol=1e-9)
    assert torch.allclose(posterior.centre(features)[0], flow(mean[0]))


def test_orders_take_turns():
    posterior = InverseAutoregressive(3, num_steps=3, hidden_dim=6, context_dim=2)
    first, second, third = (each.last.mask for each in posterior.steps)
    assert not torch.equal(first, second)
    assert torch.equal(first, third)


def test_bad_counts_are_refused():
    with pytest.raises(ValueError, match="num_steps: got 0"):
        InverseAutoregressive(3, num_steps=0)
