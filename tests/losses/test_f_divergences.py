"""The table of f-divergences: with the best discriminator each bound is the divergence, with any other it is less."""

import math

import pytest
import torch

from pl_genmodels.losses import F_DIVERGENCES, FDivergence, Minimax, NonSaturating

GRID = torch.linspace(-14, 16, 30_001, dtype=torch.float64)
STEP = GRID[1] - GRID[0]
P = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0).log_prob(GRID)
UNEQUAL = torch.distributions.Normal(torch.ones((), dtype=torch.float64), 1.2).log_prob(GRID)
EQUAL = torch.distributions.Normal(torch.ones((), dtype=torch.float64), 1.0).log_prob(GRID)
# the logit at which T is f'(u), of the logarithm of u
BEST = {
    "kl": lambda log_u: 1 + log_u,
    "reverse_kl": lambda log_u: log_u,
    "pearson": lambda log_u: 2 * log_u.expm1(),
    "neyman": lambda log_u: 2 * log_u,
    "squared_hellinger": lambda log_u: log_u / 2,
    "jensen_shannon": lambda log_u: log_u,
    "gan": lambda log_u: log_u,
    "total_variation": lambda log_u: 100 * log_u.sign(),
}
# of N(0, 1) from N(1, 1.2^2), and from N(1, 1)
KNOWN = {
    "kl": (0.37677, 0.5),
    "reverse_kl": (0.53768, 0.5),
    "pearson": (0.78769, math.e - 1),
    "neyman": (5.64126, math.e - 1),
    "squared_hellinger": (0.20963, 0.23501),
    "jensen_shannon": (0.19673, 0.22284),
    "gan": (-1.18956, -1.16345),
    "total_variation": (0.35692, 0.38292),
}


def bound(loss, logits, log_q):
    """E_p T - E_q f*(T) by quadrature."""
    activation, conjugate = loss.variational(logits)
    return ((P.exp() * activation - log_q.exp() * conjugate).sum() * STEP).item()


def test_no_divergence_is_left_out():
    assert BEST.keys() == KNOWN.keys() == F_DIVERGENCES.keys()


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_the_best_discriminator_reaches_the_divergence(name):
    loss = FDivergence(name, limit=0.0)
    for log_q, known in zip((UNEQUAL, EQUAL), KNOWN[name], strict=True):
        log_ratio = P - log_q
        direct = ((log_q.exp() * F_DIVERGENCES[name].f(log_ratio.exp())).sum() * STEP).item()
        assert direct == pytest.approx(known, abs=1e-5)
        best = bound(loss, BEST[name](log_ratio), log_q)
        assert best == pytest.approx(known, abs=1e-5)
        torch.manual_seed(0)
        for scale in (0.03, 0.3, 2.0):
            wrong = BEST[name](log_ratio) + scale * torch.sin(torch.randn(()) + GRID)
            assert bound(loss, wrong, log_q) < best + 1e-9


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_activation_is_the_slope_and_conjugate_is_its_legendre_transform(name):
    """f*(f'(u)) = u f'(u) - f(u)."""
    u = torch.tensor([0.05, 0.3, 0.9, 1.2, 3.0, 20.0], dtype=torch.float64, requires_grad=True)
    value = F_DIVERGENCES[name].f(u)
    (slope,) = torch.autograd.grad(value.sum(), u)
    activation, conjugate = FDivergence(name, limit=0.0).variational(BEST[name](u.log()))
    torch.testing.assert_close(activation, slope, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(conjugate, u * slope - value, rtol=1e-9, atol=1e-9)
    assert torch.equal(activation > F_DIVERGENCES[name].threshold, u > 1)


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_limit_leaves_small_logits_alone(name):
    logits = torch.linspace(-0.5, 0.5, 11, dtype=torch.float64)
    free, limited = (FDivergence(name, limit=limit).variational(logits) for limit in (0.0, 10.0))
    torch.testing.assert_close(limited, free, rtol=0, atol=2e-3)


@pytest.mark.parametrize(("non_saturating", "twin"), [(False, Minimax()), (True, NonSaturating())])
def test_gan_is_one_of_them(non_saturating, twin):
    loss, real, fake = FDivergence("gan", non_saturating), torch.randn(9), torch.randn(9)
    torch.testing.assert_close(loss.discriminator(real, fake), twin.discriminator(real, fake))
    torch.testing.assert_close(loss.generator(fake), twin.generator(fake))


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_generator_descends_the_bound(name):
    """Its loss is the part of the bound that depends on q; the other form raises T."""
    real, fake = torch.randn(9), torch.randn(9)
    loss = FDivergence(name)
    torch.testing.assert_close(loss.generator(fake), -loss.variational(fake)[1])
    torch.testing.assert_close(FDivergence(name, non_saturating=True).generator(fake), -loss.variational(fake)[0])
    expected = -loss.generator(fake) - loss.variational(real)[0]
    torch.testing.assert_close(loss.discriminator(real, fake), expected)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"divergence": "wasserstein"}, "divergence: got 'wasserstein', allowed are"),
        ({"limit": -1.0}, "limit: got -1.0, allowed is 0 or more"),
    ],
)
def test_error_sentences(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        FDivergence(**arguments)
