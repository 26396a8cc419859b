import numpy as np
import pytest
import torch

from pl_genmodels.metrics import FrechetStatistics, frechet_distance


def gaussian(dim, seed, rank=None):
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(dim, rank or 2 * dim, generator=generator, dtype=torch.float64)
    return torch.randn(dim, generator=generator, dtype=torch.float64), factor @ factor.T / dim


def test_shift_of_a_standard_normal_is_the_squared_length():
    eye, zero, shift = torch.eye(7), torch.zeros(7), torch.linspace(-1, 2, 7)
    assert frechet_distance(zero, eye, shift, eye).item() == pytest.approx(shift.square().sum().item(), rel=1e-6)


def test_scaling_a_standard_normal():
    eye, zero = torch.eye(5, dtype=torch.float64), torch.zeros(5)
    assert frechet_distance(zero, eye, zero, 9 * eye).item() == pytest.approx(5 * (1 - 3) ** 2, rel=1e-12)


def test_commuting_covariances_compare_standard_deviations():
    variances1, variances2 = torch.tensor([1.0, 4.0, 0.0, 9.0]), torch.tensor([4.0, 1.0, 16.0, 0.0])
    expected = (variances1.sqrt() - variances2.sqrt()).square().sum().item()
    zero = torch.zeros(4)
    assert frechet_distance(zero, variances1.diag(), zero, variances2.diag()).item() == pytest.approx(expected)


@pytest.mark.parametrize("rank", [None, 5], ids=["full", "singular"])
def test_equals_the_formula_with_scipys_square_root(rank):
    scipy_linalg = pytest.importorskip("scipy.linalg")
    (mean1, cov1), (mean2, cov2) = gaussian(12, 0, rank), gaussian(12, 1, rank)
    root = scipy_linalg.sqrtm((cov1 @ cov2).numpy()).real
    expected = float((mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * np.trace(root))
    distance = frechet_distance(mean1, cov1, mean2, cov2)
    assert distance.dtype == torch.float64
    assert distance.item() == pytest.approx(expected, rel=1e-6 if rank else 1e-10)
    assert distance.item() == pytest.approx(frechet_distance(mean2, cov2, mean1, cov1).item(), rel=1e-6)


def test_distance_to_itself_is_zero_and_nan_stays_nan():
    mean, cov = gaussian(9, 2, rank=3)
    assert 0 <= frechet_distance(mean, cov, mean, cov).item() < 1e-6
    assert frechet_distance(mean * float("nan"), cov, mean, cov).isnan()


def test_statistics_of_batches_are_those_of_the_whole():
    features = torch.randn(101, 6, generator=torch.Generator().manual_seed(0)) * 3 + 50
    statistics = FrechetStatistics(6)
    for batch in features.split(17):
        statistics.update(batch)
    mean, covariance = statistics.mean_and_covariance()
    expected = features.double()
    torch.testing.assert_close(mean, expected.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(covariance, expected.T.cov(), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(statistics.compute()[0], mean)


def test_samples_of_two_gaussians_come_close_to_the_closed_form():
    generator = torch.Generator().manual_seed(0)
    first, second = FrechetStatistics(8), FrechetStatistics(8)
    first.update(torch.randn(5000, 8, generator=generator))
    second.update(torch.randn(5000, 8, generator=generator) * 2 + 1)
    expected = 8 * (1 - 2) ** 2 + 8
    distance = frechet_distance(*first.mean_and_covariance(), *second.mean_and_covariance()).item()
    assert distance == pytest.approx(expected, rel=0.1)


def test_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match=r"features: got shape \(3, 4\), allowed is \(B, 5\)"):
        FrechetStatistics(5).update(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="2 or more"):
        FrechetStatistics(5).mean_and_covariance()
