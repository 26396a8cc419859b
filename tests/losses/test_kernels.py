"""Kernels and discrepancies against double loops and closed forms."""

import math

import pytest
import torch

from pl_genmodels.losses import EnergyMargin, GaussianSum, RationalQuadratic, pulling_away, root_mmd, squared_mmd

GAUSSIAN = (GaussianSum((0.5, 2.0)), lambda d, x, y: math.exp(-d / 0.5) + math.exp(-d / 8))
QUADRATIC = (
    RationalQuadratic((0.2, 3.0), linear=True),
    lambda d, x, y: (1 + d / 0.4) ** -0.2 + (1 + d / 6) ** -3 + float(x @ y),
)


def samples(number, dim=3, shift=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, dim, generator=generator, dtype=torch.float64) + shift


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize(("kernel", "formula"), [GAUSSIAN, QUADRATIC], ids=["gaussian", "quadratic"])
def test_discrepancy_equals_a_double_loop(kernel, formula, unbiased):
    x, y = samples(7), samples(5, shift=1.0, seed=1)

    def mean(left, right, without_itself):
        pairs = [(i, j) for i in range(len(left)) for j in range(len(right)) if not (without_itself and i == j)]
        values = [formula(float((left[i] - right[j]).square().sum()), left[i], right[j]) for i, j in pairs]
        return sum(values) / len(values)

    wanted = mean(x, x, unbiased) + mean(y, y, unbiased) - 2 * mean(x, y, False)
    assert squared_mmd(kernel, x, y, unbiased).item() == pytest.approx(wanted, abs=1e-12)
    single = squared_mmd(kernel, x.float(), y.float(), unbiased).item()
    assert single == pytest.approx(wanted, abs=1e-6)


def test_pictures_are_compared_as_vectors():
    x, y = samples(4, dim=12), samples(6, dim=12, seed=1)
    kernel = RationalQuadratic(linear=True)
    torch.testing.assert_close(kernel(x.view(4, 3, 2, 2), y.view(6, 3, 2, 2)), kernel(x, y))


def test_discrepancy_of_two_normals_is_the_closed_form():
    """N(0, 1) and N(1, 1) with width 1: 2 sqrt(1/3) (1 - exp(-1/6))."""
    points = torch.special.ndtri((torch.arange(1000, dtype=torch.float64) + 0.5) / 1000)[:, None]
    assert squared_mmd(GaussianSum((1.0,)), points, points + 1).item() == pytest.approx(0.17727, abs=5e-4)


def test_unbiased_is_zero_on_average_where_nothing_differs():
    kernel = GaussianSum((1.0,))
    draws = [(samples(20, 2, seed=2 * i), samples(20, 2, seed=2 * i + 1)) for i in range(200)]
    unbiased, biased = (torch.stack([squared_mmd(kernel, *pair, flag) for pair in draws]) for flag in (True, False))
    assert unbiased.mean().abs() < 3 * unbiased.std() / math.sqrt(200)
    assert biased.min() > 0


def test_a_single_sample_has_no_unbiased_discrepancy():
    for sizes in ((1, 4), (4, 1)):
        with pytest.raises(ValueError, match="unbiased: got true for a batch of 1, allowed are 2 or more samples"):
            squared_mmd(GaussianSum((1.0,)), *map(samples, sizes), unbiased=True)
    assert squared_mmd(GaussianSum((1.0,)), samples(1), samples(1)).item() == 0


def test_distances_far_from_the_origin_keep_their_digits():
    x, y = samples(6, shift=300.0), samples(5, shift=300.0, seed=1)
    kernel = GaussianSum((1.0,))
    torch.testing.assert_close(kernel(x.float(), y.float()).double(), kernel(x, y), rtol=0, atol=1e-4)


def test_gradients_are_those_of_finite_differences():
    x, y = samples(4), samples(3, seed=1).requires_grad_()
    for unbiased in (False, True):
        kernel = RationalQuadratic((0.5, 2.0), linear=True)
        assert torch.autograd.gradcheck(lambda y, u=unbiased, k=kernel: squared_mmd(k, x, y, u), y)
        assert torch.autograd.gradcheck(lambda y, u=unbiased: squared_mmd(GaussianSum((1.0,)), x, y, u), y)


def test_root_is_finite_where_the_discrepancy_vanishes():
    squared = torch.tensor([-0.1, 0.0, 0.25], requires_grad=True)
    values = root_mmd(squared)
    (gradient,) = torch.autograd.grad(values.sum(), squared)
    torch.testing.assert_close(values, torch.tensor([1e-4, 1e-4, 0.5]))
    assert gradient.isfinite().all()
    assert gradient[2].item() == pytest.approx(1.0)


# ---- energies


def test_pulling_away_of_equal_orthogonal_and_random_codes():
    same, orthogonal = torch.ones(5, 3) * torch.arange(1, 6)[:, None], torch.eye(4)
    torch.testing.assert_close(pulling_away(same, same), torch.ones(5))
    torch.testing.assert_close(pulling_away(orthogonal, orthogonal), torch.zeros(4))
    torch.testing.assert_close(pulling_away(torch.cat([same, -same]), torch.cat([same, -same])), torch.ones(10))
    assert pulling_away(*[samples(400, 64)] * 2).mean().item() == pytest.approx(1 / 64, rel=0.02)
    alone = samples(1)
    torch.testing.assert_close(pulling_away(alone, alone), torch.zeros(1, dtype=alone.dtype))


def test_pulling_away_equals_a_double_loop():
    codes = samples(5, 4)
    cosine = torch.nn.functional.cosine_similarity
    for i, value in enumerate(pulling_away(codes, codes)):
        others = [cosine(codes[i], codes[j], dim=0) ** 2 for j in range(5) if j != i]
        torch.testing.assert_close(value, sum(others) / 4)
    part = pulling_away(codes[:2], codes)  # a rank's own codes among all
    torch.testing.assert_close(part, pulling_away(codes, codes)[:2])


def test_energy_margin_is_per_sample():
    """Energies 0 and 2 under a margin of 1 cost 1 and 0; their mean would cost nothing."""
    loss = EnergyMargin(1.0)
    fake = -torch.tensor([0.0, 2.0])
    torch.testing.assert_close(loss.discriminator(torch.zeros(2), fake), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(loss.discriminator(-torch.ones(2), fake), torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(loss.generator(fake), torch.tensor([0.0, 2.0]))


@pytest.mark.parametrize("margin", [1.0, 0.3])
def test_least_energy_loss_is_total_variation(margin):
    """m (1 - TV), reached by energy m where q is larger and 0 elsewhere; energies are not negative."""
    p, q = torch.tensor([0.5, 0.5, 0.0, 0.0]), torch.tensor([0.0, 0.5, 0.3, 0.2])
    loss = EnergyMargin(margin)

    def value(energies):
        return (p * energies).sum() + (q * loss.discriminator(torch.zeros(4), -energies)).sum()

    best = value(margin * (q > p).float())
    torch.testing.assert_close(best, margin * (1 - (p - q).abs().sum() / 2))
    torch.manual_seed(0)
    for _ in range(50):
        assert value(2 * margin * torch.rand(4)) >= best - 1e-6


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: GaussianSum(()), r"bandwidths: got \[\], allowed are one or more numbers above 0"),
        (lambda: RationalQuadratic((1.0, 0.0)), r"exponents: got \[1.0, 0.0\], allowed"),
        (lambda: EnergyMargin(0.0), "margin: got 0.0, allowed is more than 0"),
    ],
)
def test_error_sentences(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()
