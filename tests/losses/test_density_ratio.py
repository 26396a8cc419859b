"""Discriminators that fit density ratios: on a table of states the minimum is the ratio, and its value known."""

import pytest
import torch

from pl_genmodels.losses import BregmanRatio, ForwardRatio, NonSaturating, ReverseRatio
from pl_genmodels.losses.density_ratio import log_softplus

P = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
Q = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
FORMS = {
    "pearson": lambda r: (r - 1) ** 2 / 2,
    "kl": lambda r: r * r.log() - r,
    "reverse_kl": lambda r: r - r.log(),
    "logistic": lambda r: r * r.log() - (1 + r) * (1 + r).log(),
}


def expected(loss, logits):
    """Mean of the discriminator's loss over independent x ~ p and y ~ q, and its gradient."""
    logits = logits.detach().clone().requires_grad_()
    real, fake = logits[:, None].expand(4, 4), logits[None].expand(4, 4)
    value = (P[:, None] * Q * loss.discriminator(real.reshape(-1), fake.reshape(-1)).view(4, 4)).sum()
    return value, torch.autograd.grad(value, logits)[0]


def before_softplus(values):
    return values.expm1().log()


@pytest.mark.parametrize(("alpha", "beta"), [(0.2, 0.1), (1.0, 1.0)])
def test_dual_discriminators_are_scaled_ratios(alpha, beta):
    """At the minimum, the negative losses are a KL(p||q) + a (log a - 1), and likewise in reverse."""
    forward, gradient = expected(ForwardRatio(alpha), before_softplus(alpha * P / Q))
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))
    a, b = (torch.tensor(weight, dtype=torch.float64) for weight in (alpha, beta))
    torch.testing.assert_close(-forward, a * (P * (P / Q).log()).sum() + a * (a.log() - 1))
    reverse, gradient = expected(ReverseRatio(beta), before_softplus(beta * Q / P))
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))
    torch.testing.assert_close(-reverse, b * (Q * (Q / P).log()).sum() + b * (b.log() - 1))


def test_dual_generator_terms_are_those_of_the_value():
    """What is left of the value -J without the samples x."""
    fake, real = torch.randn(7), torch.randn(7)
    one, two = ForwardRatio(0.3), ReverseRatio(0.7)
    softplus = torch.nn.functional.softplus
    torch.testing.assert_close(one.generator(fake), -softplus(fake))
    torch.testing.assert_close(two.generator(fake), 0.7 * softplus(fake).log())
    torch.testing.assert_close(one.discriminator(real, fake), softplus(fake) - 0.3 * softplus(real).log())
    torch.testing.assert_close(two.discriminator(real, fake), softplus(real) - 0.7 * softplus(fake).log())


def test_log_softplus_neither_underflows_nor_loses_its_gradient():
    logits = torch.tensor([-1e4, -200.0, -50.0, -20.0, 0.0, 30.0, 1e4], requires_grad=True)
    values = log_softplus(logits)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    exact = torch.cat([logits[:4].double(), torch.nn.functional.softplus(logits[4:].double()).log()])
    torch.testing.assert_close(values.double(), exact, rtol=1e-6, atol=1e-6)
    slopes = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.5 / 0.6931472, 1 / 30, 1e-4])
    torch.testing.assert_close(gradient, slopes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mixture", [0.0, 0.25])
@pytest.mark.parametrize("f", FORMS)
def test_bregman_divergence_is_least_at_the_ratio(f, mixture):
    loss = BregmanRatio(f, mixture=mixture, limit=0.0)
    ratio = P / (mixture * P + (1 - mixture) * Q)
    best, gradient = expected(loss, ratio.log())
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))
    torch.testing.assert_close(loss.ratio(ratio.log()), ratio)
    torch.manual_seed(0)
    for scale in (0.1, 1.0):
        assert expected(loss, ratio.log() + scale * torch.randn(4, dtype=torch.float64))[0] > best


def test_bregman_minimum_of_pearson():
    torch.testing.assert_close(expected(BregmanRatio("pearson", limit=0.0), (P / Q).log())[0], -(P**2 / Q).sum() / 2)


def test_bregman_discriminator_of_the_ordinary_gan():
    real, fake = torch.randn(9), torch.randn(9)
    found = BregmanRatio("logistic", limit=0.0).discriminator(real, fake)
    torch.testing.assert_close(found, NonSaturating().discriminator(real, fake))


@pytest.mark.parametrize("mixture", [0.0, 0.25])
@pytest.mark.parametrize("f", FORMS)
def test_bregman_generator_follows_the_gradient_of_the_divergence(f, mixture):
    """The derivative of D_f(p||m) = sum m f(p/m) with respect to each q, up to what normalisation takes out."""
    q = Q.clone().requires_grad_()
    mixed = mixture * P + (1 - mixture) * q
    (wanted,) = torch.autograd.grad((mixed * FORMS[f](P / mixed)).sum(), q)
    logits = (P / mixed).log().detach()
    for exact, same in ((True, True), (False, False)):
        left = BregmanRatio(f, exact=exact, mixture=mixture, limit=0.0).generator(logits) - wanted
        assert torch.allclose(left, left.mean().expand(4), rtol=0, atol=1e-12) == same
    found = BregmanRatio(f, exact=False, mixture=mixture, limit=0.0).generator(logits)
    left = found - (1 - mixture) * FORMS[f](logits.exp())
    torch.testing.assert_close(left, left.mean().expand(4))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: ForwardRatio(0.0), "alpha: got 0.0, allowed is more than 0 and at most 1"),
        (lambda: ReverseRatio(1.5), "beta: got 1.5, allowed is more than 0 and at most 1"),
        (lambda: BregmanRatio("hellinger"), "f: got 'hellinger', allowed are"),
        (lambda: BregmanRatio(mixture=1.0), "mixture: got 1.0, allowed is 0 or more and less than 1"),
        (lambda: BregmanRatio(limit=-1.0), "limit: got -1.0, allowed is 0 or more"),
    ],
)
def test_error_sentences(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()
