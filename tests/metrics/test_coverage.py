import math

import pytest
import torch

from pl_genmodels.metrics import class_coverage, mode_coverage, sliced_wasserstein, symmetric_kl, wasserstein

SIGMA = 0.1
ANGLES = torch.arange(8) * math.tau / 8
RING = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)


def ring(num, seed=0):
    generator = torch.Generator().manual_seed(seed)
    modes = torch.randint(8, (num,), generator=generator)
    return RING[modes] + SIGMA * torch.randn(num, 2, generator=generator)


def test_true_samples_find_all_modes_with_the_share_of_a_perfect_sampler():
    result = mode_coverage(ring(2500), RING, SIGMA)
    assert result["modes"] == 8
    assert result["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.008)
    assert 0 <= result["kl"] < 0.005


def test_one_point_is_one_mode():
    result = mode_coverage(RING[:1].expand(100, 2), RING, SIGMA)
    assert result == {"modes": 1, "high_quality": 1, "kl": pytest.approx(math.log(8))}


def test_uniform_noise_is_rarely_near_a_mode():
    noise = torch.rand(20000, 2, generator=torch.Generator().manual_seed(0)) * 6 - 3
    assert mode_coverage(noise, RING, SIGMA)["high_quality"] == pytest.approx(0.0628, abs=0.006)


def test_half_the_modes_cost_log_two():
    points = RING[torch.arange(400) % 4]
    result = mode_coverage(points, RING, SIGMA)
    assert result["modes"] == 4
    assert result["kl"] == pytest.approx(math.log(2))


def test_far_samples_capture_nothing():
    for samples in (RING + 1.0, RING * float("nan")):
        assert mode_coverage(samples, RING, SIGMA) == {"modes": 0, "high_quality": 0, "kl": math.inf}


def test_sliced_distance_of_a_shift_is_two_over_pi_of_it():
    samples, shift = ring(500), torch.tensor([3.0, -4.0])
    distance = sliced_wasserstein(samples, samples + shift, num_projections=20000)
    assert distance == pytest.approx(5 * 2 / math.pi, rel=0.01)


def test_sliced_distance_ignores_order_and_leaves_the_global_random_numbers_alone():
    samples = ring(300)
    before = torch.get_rng_state()
    assert sliced_wasserstein(samples, samples.flip(0)) == 0
    assert sliced_wasserstein(samples, ring(300, seed=1)) == sliced_wasserstein(samples, ring(300, seed=1))
    assert torch.equal(before, torch.get_rng_state())
    other = torch.Generator().manual_seed(5)
    assert sliced_wasserstein(samples, RING[:1] + samples, generator=other) > 0.5


def test_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="allowed are"):
        mode_coverage(torch.zeros(3, 2), torch.zeros(8, 3), SIGMA)
    with pytest.raises(ValueError, match="sigma: got 0"):
        mode_coverage(torch.zeros(3, 2), RING, 0)
    with pytest.raises(ValueError, match=r"samples2: got shape \(4, 2\)"):
        sliced_wasserstein(torch.zeros(3, 2), torch.zeros(4, 2))


# ---- whole clouds


def test_symmetric_divergence_of_two_histograms():
    """Shares (3/4, 1/4) against (1/4, 3/4) in two cells: log 3."""
    left, right = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.0])
    first, second = torch.stack([left, left, left, right]), torch.stack([left, right, right, right])
    assert symmetric_kl(first, second, bins=2) == pytest.approx(math.log(3), rel=1e-6)
    assert symmetric_kl(second, first, bins=2) == pytest.approx(math.log(3), rel=1e-6)
    assert symmetric_kl(first, first) == 0
    assert symmetric_kl(left[None], right[None], smoothing=1e-8) == pytest.approx(2 * math.log(1e8), rel=1e-3)


def test_points_outside_of_the_grid_count_at_its_border():
    assert symmetric_kl(torch.tensor([[9.0, -9.0]]), torch.tensor([[2.99, -2.99]])) == 0


def test_wasserstein_of_a_shift_is_its_length():
    points = ring(200)
    assert wasserstein(points, points[torch.randperm(200)]) == pytest.approx(0, abs=1e-6)
    assert wasserstein(points, points + torch.tensor([0.3, 0.4])) == pytest.approx(0.5, abs=1e-6)
    assert wasserstein(torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [0.0]])) == 1.0


def test_what_no_distance_is_defined_for():
    with pytest.raises(ValueError, match=r"samples2: got shape \(3, 2\) with samples1 \(4, 2\)"):
        wasserstein(torch.zeros(4, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="samples1: got values that are not finite"):
        wasserstein(torch.full((2, 2), math.nan), torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"samples1: got shape \(4, 3\), allowed are points in the plane"):
        symmetric_kl(torch.zeros(4, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="high: got 1 with low 1"):
        symmetric_kl(torch.zeros(4, 2), torch.zeros(4, 2), low=1, high=1)


def test_classes_are_counted_and_their_spread_is_measured():
    uneven = class_coverage(torch.tensor([1, 3, 0, 0]))
    assert uneven["modes"] == 2
    assert uneven["kl"] == pytest.approx(0.25 * math.log(1) + 0.75 * math.log(3))
    assert class_coverage(torch.full((1000,), 26)) == {"modes": 1000, "kl": pytest.approx(0, abs=1e-12)}
    assert class_coverage(torch.eye(1000)[7])["kl"] == pytest.approx(math.log(1000))
    real = torch.randint(1000, (26_000,), generator=torch.Generator().manual_seed(0)).bincount(minlength=1000)
    assert class_coverage(real) == {"modes": 1000, "kl": pytest.approx(999 / 52_000, rel=0.1)}
    for counts in (torch.zeros(3), torch.ones(2, 2)):
        with pytest.raises(ValueError, match="counts: got shape"):
            class_coverage(counts)
