import math

import pytest
import torch
from torch import nn

from pl_genmodels.losses import (
    F_DIVERGENCES,
    R1,
    R2,
    BoundarySeeking,
    BregmanRatio,
    FDivergence,
    ForwardRatio,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    RelativisticAverage,
    ReverseRatio,
    Wasserstein,
)

LOSSES = [
    Minimax(),
    NonSaturating(),
    LeastSquares(),
    LeastSquares(-1.0, 1.0, 0.0),
    Hinge(),
    Wasserstein(),
    Relativistic(),
    RelativisticAverage(),
    RelativisticAverage("least_squares"),
    RelativisticAverage("hinge"),
    BoundarySeeking(),
    *(FDivergence(divergence) for divergence in F_DIVERGENCES),
    FDivergence("kl", non_saturating=True),
    ForwardRatio(0.2),
    ReverseRatio(0.1),
    *(BregmanRatio(f) for f in ("pearson", "kl", "reverse_kl", "logistic")),
    BregmanRatio("pearson", exact=False, mixture=0.5),
]
P = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64)
Q = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


def name(loss):
    return type(loss).__name__ + "-".join(str(value) for value in loss.init_args.values())


def expected_discriminator_loss(loss, scores, p=P, q=Q):
    """Exact mean over independent x ~ p and y ~ q when the discriminator is the table `scores`."""
    size = len(scores)
    real, fake = scores[:, None].expand(size, size), scores[None].expand(size, size)
    values = loss.discriminator(real.reshape(-1), fake.reshape(-1)).view(size, size)
    return (p[:, None] * q[None] * values).sum()


def derivative(function, at):
    point = torch.tensor([float(at)], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(function(point).sum(), point)
    return gradient.item()


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_one_value_per_sample(loss):
    real, fake = torch.randn(5), torch.randn(5)
    assert loss.discriminator(real, fake).shape == (5,)
    assert loss.generator(fake, real).shape == (5,)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if not isinstance(loss, RelativisticAverage)], ids=name)
def test_samples_do_not_mix(loss):
    real, fake = torch.randn(5), torch.randn(5)
    both = loss.discriminator(real, fake), loss.generator(fake, real)
    rows = [slice(row, row + 1) for row in range(5)]
    torch.testing.assert_close(both[0], torch.cat([loss.discriminator(real[row], fake[row]) for row in rows]))
    torch.testing.assert_close(both[1], torch.cat([loss.generator(fake[row], real[row]) for row in rows]))


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_generator_needs_real_only_where_it_says_so(loss):
    fake, first, second = torch.randn(5), torch.randn(5), torch.randn(5)
    differs = not torch.equal(loss.generator(fake, first), loss.generator(fake, second))
    assert differs == loss.generator_needs_real
    if not loss.generator_needs_real:
        assert torch.equal(loss.generator(fake), loss.generator(fake, first))


@pytest.mark.parametrize(
    ("loss", "score", "discriminator", "generator"),
    [
        (Minimax(), 0.0, 2 * math.log(2), -math.log(2)),
        (NonSaturating(), 0.0, 2 * math.log(2), math.log(2)),
        (LeastSquares(), 0.5, 0.25, 0.125),
        (LeastSquares(-1.0, 1.0, 0.0), 0.0, 1.0, 0.0),
        (Hinge(), 0.7, 2.0, -0.7),
        (Wasserstein(), 0.7, 0.0, -0.7),
        (Relativistic(), 0.7, math.log(2), math.log(2)),
        (RelativisticAverage(), 0.7, math.log(2), math.log(2)),
        (RelativisticAverage("least_squares"), 0.7, 1.0, 1.0),
        (RelativisticAverage("hinge"), 0.7, 1.0, 1.0),
    ],
    ids=lambda value: name(value) if hasattr(value, "init_args") else "",
)
def test_values_where_real_and_fake_score_alike(loss, score, discriminator, generator):
    scores = torch.full((4,), score)
    torch.testing.assert_close(loss.discriminator(scores, scores), torch.full((4,), discriminator))
    torch.testing.assert_close(loss.generator(scores, scores), torch.full((4,), generator))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Minimax(), -sigmoid(-5)),  # -0.0067: vanishes when D is sure
        (NonSaturating(), -sigmoid(5)),  # -0.9933
        (LeastSquares(), -6.0),
        (LeastSquares(-1.0, 1.0, 0.0), -5.0),
        (Hinge(), -1.0),
        (Wasserstein(), -1.0),
        (BoundarySeeking(), -5.0),
        (FDivergence("gan"), -sigmoid(-5)),
        (FDivergence("gan", non_saturating=True), -sigmoid(5)),
        (FDivergence("pearson"), 1.5),  # past the least f*(T) = v + v^2/4, at v = -2
        (ForwardRatio(), -sigmoid(-5)),
        (ReverseRatio(0.1), 0.1 * sigmoid(-5) / math.log1p(math.exp(-5))),
    ],
    ids=lambda value: name(value) if hasattr(value, "init_args") else "",
)
def test_generator_gradient_at_a_confident_discriminator(loss, expected):
    assert derivative(loss.generator, -5) == pytest.approx(expected, abs=1e-9)


def test_boundary_seeking_pushes_towards_the_boundary_from_both_sides():
    assert [derivative(BoundarySeeking().generator, logit) for logit in (-2, 0, 3)] == [-2, 0, 3]


@pytest.mark.parametrize("loss", [Minimax(), NonSaturating(), BoundarySeeking()], ids=name)
def test_log_loss_is_optimal_at_the_log_ratio(loss):
    p, q = P[:3] / P[:3].sum(), Q[:3] / Q[:3].sum()
    scores = (p / q).log().requires_grad_()
    value = expected_discriminator_loss(loss, scores, p, q)
    (gradient,) = torch.autograd.grad(value, scores)
    torch.testing.assert_close(gradient, torch.zeros(3, dtype=torch.float64))
    mean = (p + q) / 2
    jensen_shannon = ((p * (p / mean).log()).sum() + (q * (q / mean).log()).sum()) / 2
    torch.testing.assert_close(value, 2 * math.log(2) - 2 * jensen_shannon)


@pytest.mark.parametrize("targets", [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0), (0.2, 0.7, 0.5)])
def test_least_squares_is_optimal_at_the_mean_target(targets):
    fake_target, real_target, _ = targets
    scores = ((real_target * P + fake_target * Q) / (P + Q)).requires_grad_()
    value = expected_discriminator_loss(LeastSquares(*targets), scores)
    (gradient,) = torch.autograd.grad(value, scores)
    torch.testing.assert_close(gradient, torch.zeros(4, dtype=torch.float64))


def test_least_squares_generator_measures_pearson_chi_square():
    loss = LeastSquares(-1.0, 1.0, 0.0)
    scores = (P - Q) / (P + Q)
    value = (P * loss.generator(scores) + Q * loss.generator(scores)).sum()
    torch.testing.assert_close(2 * value, ((2 * Q - (P + Q)) ** 2 / (P + Q)).sum())


@pytest.mark.parametrize(
    ("p", "q"), [(P, Q), (torch.tensor([0.5, 0.5, 0.0]).double(), torch.tensor([0.0, 0.5, 0.5]).double())]
)
def test_hinge_minimum_is_total_variation(p, q):
    total_variation = (p - q).abs().sum() / 2
    best = expected_discriminator_loss(Hinge(), (p - q).sign(), p, q)
    torch.testing.assert_close(best, 2 * (1 - total_variation))
    torch.manual_seed(0)
    for scale in (0.01, 0.3, 2.0):  # the loss is convex, so a local minimum is the minimum
        for _ in range(20):
            nearby = (p - q).sign() + scale * torch.randn(len(p), dtype=torch.float64)
            assert expected_discriminator_loss(Hinge(), nearby, p, q) >= best - 1e-12


def test_hinge_ignores_samples_beyond_the_margin():
    real, fake = torch.tensor([1.5, 0.5], requires_grad=True), torch.tensor([-1.5, -0.5], requires_grad=True)
    Hinge().discriminator(real, fake).sum().backward()
    assert real.grad.tolist() == [0.0, -1.0]
    assert fake.grad.tolist() == [0.0, 1.0]


def test_relativistic_formulas():
    real, fake = torch.randn(6), torch.randn(6)
    torch.testing.assert_close(Relativistic().discriminator(real, fake), -torch.log(torch.sigmoid(real - fake)))
    torch.testing.assert_close(Relativistic().generator(fake, real), -torch.log(torch.sigmoid(fake - real)))


@pytest.mark.parametrize("form", ["standard", "least_squares", "hinge"])
def test_relativistic_average_formulas(form):
    torch.manual_seed(1)
    a, b = torch.randn(6), torch.randn(6)
    a_mean, b_mean = a.mean(), b.mean()
    discriminator, generator = {
        "standard": (
            -torch.log(torch.sigmoid(a - b_mean)) - torch.log(1 - torch.sigmoid(b - a_mean)),
            -torch.log(torch.sigmoid(b - a_mean)) - torch.log(1 - torch.sigmoid(a - b_mean)),
        ),
        "least_squares": (
            (a - b_mean - 1) ** 2 + (b - a_mean + 1) ** 2,
            (b - a_mean - 1) ** 2 + (a - b_mean + 1) ** 2,
        ),
        "hinge": (
            torch.clamp(1 - (a - b_mean), min=0) + torch.clamp(1 + (b - a_mean), min=0),
            torch.clamp(1 + (a - b_mean), min=0) + torch.clamp(1 - (b - a_mean), min=0),
        ),
    }[form]
    loss = RelativisticAverage(form)
    torch.testing.assert_close(loss.discriminator(a, b), discriminator / 2)
    torch.testing.assert_close(loss.generator(b, a), generator / 2)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_relativistic_average_differentiates_through_both_means(player):
    first, second = (torch.zeros(4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    getattr(RelativisticAverage("least_squares"), player)(first, second).sum().backward()
    # each logit gets 1 from its own term, and 1 through the mean that the other side is compared with
    assert first.grad.tolist() == [-2.0] * 4
    assert second.grad.tolist() == [2.0] * 4


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_large_logits_stay_exact_in_float32(loss):
    extremes = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4])
    # the slope of a limit, 1 - tanh^2, is a difference of nearly equal numbers where it has all but vanished
    tolerance = 1e-3 if getattr(loss, "limit", 0.0) else 1e-5
    real, fake = (grid.flatten() for grid in torch.meshgrid(extremes, extremes, indexing="ij"))
    for player in (lambda a, b: loss.discriminator(a, b), lambda a, b: loss.generator(b, a)):
        results = []
        for dtype in (torch.float32, torch.float64):
            a, b = (logits.detach().to(dtype).requires_grad_() for logits in (real, fake))
            value = player(a, b)
            gradients = torch.autograd.grad(value.sum(), (a, b), allow_unused=True)
            results.append([value, *(gradient for gradient in gradients if gradient is not None)])
        for single, double in zip(*results, strict=True):
            assert single.isfinite().all()
            torch.testing.assert_close(single.double(), double, rtol=tolerance, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: LeastSquares(1.0, 0.0, 1.0), "generator_target: got 1.0"),
        (lambda: RelativisticAverage("mean"), "form: got 'mean', allowed are"),
    ],
)
def test_error_sentences(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()


class DiracCritic(nn.Module):
    """D(x) = psi x on points (B, 1)."""

    def __init__(self):
        super().__init__()
        self.psi = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, points):
        return (self.psi * points).squeeze(1)


def dirac_distances(loss, penalties=(), steps=100, learning_rate=0.1, simultaneous=False):
    """|(theta, psi)| after each step of plain gradient descent from (1, 1); theta moves first.

    Mescheder et al. 2018: real data sit at 0 and generated ones at theta.
    """
    critic, theta = DiracCritic(), torch.ones(1, 1, dtype=torch.float64)
    real, distances = torch.zeros(1, 1, dtype=torch.float64), []
    for _ in range(steps):
        theta.requires_grad_()
        (theta_gradient,) = torch.autograd.grad(loss.generator(critic(theta), critic(real)).sum(), theta)
        moved = (theta - learning_rate * theta_gradient).detach()
        fake = theta.detach() if simultaneous else moved
        critic_loss = loss.discriminator(critic(real), critic(fake)).sum()
        critic_loss = critic_loss + sum(penalty(critic, real, fake).sum() for penalty in penalties)
        (psi_gradient,) = torch.autograd.grad(critic_loss, critic.psi)
        critic.psi.data -= learning_rate * psi_gradient
        theta = moved
        distances.append(math.hypot(theta.item(), critic.psi.item()))
    return distances


@pytest.mark.parametrize("loss", [Minimax(), Wasserstein()], ids=name)
def test_dirac_unregularised_games_orbit(loss):
    distances = dirac_distances(loss, steps=600)
    assert 1.2 < min(distances) < max(distances) < 1.7
    assert distances[99] == pytest.approx({Minimax: 1.447, Wasserstein: 1.436}[type(loss)], abs=0.01)


def test_dirac_simultaneous_updates_spiral_out():
    assert dirac_distances(Minimax(), simultaneous=True)[-1] == pytest.approx(1.59, abs=0.02)
    assert dirac_distances(Wasserstein(), simultaneous=True)[-1] == pytest.approx(2.33, abs=0.02)


def test_dirac_zero_centred_penalties_converge():
    assert dirac_distances(Minimax(), [R1(1.0)])[-1] == pytest.approx(0.19, abs=0.02)
    assert dirac_distances(NonSaturating(), [R1(1.0)])[-1] == pytest.approx(0.09, abs=0.02)
    both = dirac_distances(Minimax(), [R1(1.0), R2(1.0)], steps=500)
    assert both[99] == pytest.approx(0.449, abs=0.01)
    assert both[-1] == pytest.approx(0.0023, abs=0.0003)
