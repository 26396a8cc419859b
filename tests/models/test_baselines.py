"""Densities fitted without gradients, against what can be computed exactly, and their way through Lightning."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal
from torch.utils.data import DataLoader

import pl_genmodels
from pl_genmodels.data import TensorSet
from pl_genmodels.models.baselines import kde as kde_module
from pl_genmodels.models.baselines.gmm import GMM
from pl_genmodels.models.baselines.kde import KDE
from pl_genmodels.models.baselines.pca import PCA
from tests.conftest import ROOT
from tests.models.harness import SaveAt, assert_same, build, fresh, trainer

MODELS = [PCA, KDE, GMM]
SMALL = {PCA: {"latent_dim": 2}, KDE: {}, GMM: {"num_components": 3, "regularization": 1e-3}}


@pytest.fixture
def rows():
    """300 points in six dimensions, skewed and correlated."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator)
    return (torch.randn(300, 6, generator=generator).exp() - 1) @ mixing * 0.2 + 0.3


def fitted(kind, rows, **arguments):
    model = kind(tuple(rows.shape[1:]), **{**SMALL[kind], **arguments})
    model.fit(rows)
    return model


# ---- principal components


def covariance_of(model):
    """W W^T + s^2 I, put together from the parts."""
    weight = model.components.T * (model.variances - model.noise).sqrt()
    return weight @ weight.T + model.noise * torch.eye(len(weight), dtype=torch.float64)


def test_pca_is_the_normal_distribution_of_tipping_and_bishop(rows):
    model, exact = fitted(PCA, rows), rows.double()
    values = torch.linalg.eigvalsh(torch.cov(exact.T, correction=0))
    assert float(model.noise) == pytest.approx(float(values[:4].mean()))
    assert torch.allclose(model.variances, values[4:].flip(0))
    wanted = MultivariateNormal(exact.mean(0), covariance_of(model)).log_prob(exact)
    assert torch.allclose(model.log_prob(rows), wanted, atol=1e-8)


def test_pca_equals_expectation_maximisation(rows):
    """Equations 25 to 28 from a random start reach the closed form's likelihood."""
    generator = torch.Generator().manual_seed(1)
    model, centred = fitted(PCA, rows), rows.double() - rows.double().mean(0)
    weight, noise = torch.randn(6, 2, generator=generator, dtype=torch.float64), 1.0
    for _ in range(200):
        precision = (weight.T @ weight + noise * torch.eye(2)).inverse()
        latent = centred @ weight @ precision
        second = len(rows) * noise * precision + latent.T @ latent
        new = centred.T @ latent @ second.inverse()
        residual = centred.square().sum() - 2 * (latent * (centred @ new)).sum() + (second * (new.T @ new)).sum()
        weight, noise = new, float(residual / centred.numel())
    covariance = weight @ weight.T + noise * torch.eye(6)
    by_steps = MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance).log_prob(centred).mean()
    assert abs(float(model.log_prob(rows).mean() - by_steps)) < 1e-3


def test_pca_reconstructs_up_to_the_discarded_eigenvalues(rows):
    model, exact = fitted(PCA, rows), rows.double()
    error = (model.reconstruct(rows).double() - exact).square().sum(1).mean()
    discarded = torch.linalg.eigvalsh(torch.cov(exact.T, correction=0))[:4].sum()
    assert float(error) == pytest.approx(float(discarded), rel=1e-5)


def test_pca_stays_a_density_without_noise_or_with_few_images(rows):
    flat = rows.clone()
    flat[:, 3:] = flat[:, :3]
    for images in (flat, rows[:3]):
        model = fitted(PCA, images, latent_dim=4)
        assert float(model.noise) == pytest.approx(0.01**2)
        wanted = MultivariateNormal(model.mean, covariance_of(model)).log_prob(rows.double())
        assert torch.allclose(model.log_prob(rows), wanted, rtol=1e-6)


# ---- windows


def test_kde_equals_scikit_learns_and_integrates_to_one(rows):
    from sklearn.neighbors import KernelDensity

    model = fitted(KDE, rows[:, :2])
    bandwidth = float(model.bandwidth)
    wanted = KernelDensity(bandwidth=bandwidth).fit(rows[:, :2].double()).score_samples(rows[:9, :2].double())
    assert np.allclose(model.log_prob(rows[:9, :2]), wanted, atol=1e-6)
    axis = torch.linspace(-9, 9, 250, dtype=torch.float64)
    density = model.log_prob(torch.cartesian_prod(axis, axis)).exp()
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=1e-3)


def test_kde_chooses_the_bandwidth_without_the_point_itself(rows, monkeypatch):
    few = rows[:20].double()
    model = KDE((6,), bandwidths=[0.1, 0.5, 2.0])
    wanted = []
    for bandwidth in (0.1, 0.5, 2.0):
        each = []
        for index, row in enumerate(few):
            others = torch.cat([few[:index], few[index + 1 :]])
            bumps = MultivariateNormal(row, bandwidth**2 * torch.eye(6, dtype=torch.float64)).log_prob(others)
            each.append(bumps.logsumexp(0) - math.log(19))
        wanted.append(torch.stack(each).mean())
    monkeypatch.setattr(kde_module, "MAX_PAIRS", 60)  # three rows at once
    assert torch.allclose(model.leave_one_out(few), torch.stack(wanted), atol=1e-6)
    model.fit(few)
    assert float(model.bandwidth) == [0.1, 0.5, 2.0][int(torch.stack(wanted).argmax())]


# ---- mixtures


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_gmm_equals_scikit_learns(covariance, rows):
    from sklearn.mixture import GaussianMixture

    model = fitted(GMM, rows, covariance=covariance)
    reference = GaussianMixture(3, covariance_type=covariance)
    reference.weights_, reference.means_ = model.weights.numpy(), model.means.numpy()
    reference.precisions_cholesky_ = model.factors.numpy()
    assert np.allclose(model.log_prob(rows), reference.score_samples(rows.double().numpy()), atol=1e-8)


def test_gmm_of_one_component_is_the_samples_normal_distribution(rows):
    model, exact = fitted(GMM, rows, num_components=1, regularization=0.0), rows.double()
    wanted = MultivariateNormal(exact.mean(0), torch.cov(exact.T, correction=0)).log_prob(exact)
    assert torch.allclose(model.log_prob(rows), wanted, atol=1e-8)


def test_the_likelihood_never_falls_with_more_steps():
    generator, found = torch.Generator().manual_seed(0), []
    centers = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    points = centers[torch.randint(3, (500,), generator=generator)] + 0.6 * torch.randn(500, 2, generator=generator)
    for steps in (1, 2, 4, 8, 16):
        model = fitted(GMM, points, max_steps=steps, regularization=0.0)
        found.append(float(model.log_prob(points).mean()))
    assert all(after >= before - 1e-6 for before, after in pairwise(found))
    assert found[-1] > found[0] + 1e-3


# ---- samples


@pytest.mark.parametrize(
    ("kind", "arguments"), [(PCA, {}), (KDE, {"bandwidths": [0.7]}), (GMM, {}), (GMM, {"covariance": "diag"})]
)
def test_samples_have_the_densitys_moments(kind, arguments, rows):
    model = fitted(kind, rows, **arguments)
    mean, covariance = moments(model)
    samples, scale = model.sample(40_000, seed=0).double(), covariance.diagonal().sqrt()
    assert ((samples.mean(0) - mean) / scale).abs().max() < 0.03  # six standard errors
    assert ((torch.cov(samples.T) - covariance) / scale.outer(scale)).abs().max() < 0.15  # heavy tails


def moments(model):
    """Mean and covariance by the law of total variance."""
    if isinstance(model, PCA):
        return model.mean, covariance_of(model)
    if isinstance(model, KDE):
        within = model.bandwidth**2 * torch.eye(6)
        return model.points.mean(0), torch.cov(model.points.T, correction=0) + within
    factors = model.factors if model.factors.ndim == 3 else torch.diag_embed(model.factors)
    within = torch.einsum("k,kij->ij", model.weights, (factors @ factors.mT).inverse())
    mean = model.weights @ model.means
    centred = model.means - mean
    return mean, within + torch.einsum("k,ki,kj->ij", model.weights, centred, centred)


# ---- Lightning


def loader(rows, batch_size=64):
    return DataLoader(TensorSet({"image": rows}, "rows"), batch_size=batch_size)


@pytest.mark.parametrize("kind", MODELS)
def test_a_run_fits_all_rows_whatever_their_order_and_precision(kind, rows, tmp_path):
    direct = fitted(kind, rows)
    model = kind(**SMALL[kind])
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(2))
    runner = trainer(tmp_path, max_epochs=1, precision="bf16-mixed")
    runner.fit(model, loader(rows[order]))
    assert_same(direct.state_dict(), model.state_dict())
    assert_same(model.state_dict(), fitted(kind, rows).bfloat16().state_dict())


@pytest.mark.parametrize("name", ["pca", "kde", "gmm"])
def test_resumes_in_the_middle_of_the_first_epoch(name, tmp_path):
    path, built = tmp_path / "middle.ckpt", build(ROOT / "configs" / f"{name}.yaml", "--data.size", "8")
    straight, resumed = fresh(built), fresh(built)
    for run, callbacks, checkpoint in ((straight, [SaveAt(2, path)], None), (resumed, [], path)):
        runner = trainer(tmp_path, max_epochs=1, callbacks=[*run.callbacks, *callbacks])
        runner.limit_train_batches = 5
        runner.fit(run.model, run.data, ckpt_path=checkpoint, weights_only=checkpoint and True)
    assert torch.load(path, weights_only=True)["state_dict"]["gathered.rows"].shape == (8, 64)
    assert_same(straight.model.state_dict(), resumed.model.state_dict())
    assert resumed.model.images_seen == straight.model.images_seen == 20
    runner.save_checkpoint(tmp_path / "end.ckpt")
    loaded = pl_genmodels.load(tmp_path / "end.ckpt")
    image = torch.rand(3, 1, 8, 8)
    assert torch.equal(loaded.log_prob(image), straight.model.log_prob(image))


def test_a_run_that_ends_early_fits_what_it_saw_and_a_second_run_starts_anew(rows, tmp_path):
    model = PCA((6,), latent_dim=2)
    trainer(tmp_path, max_steps=2).fit(model, loader(rows))
    assert_same(fitted(PCA, rows[:128]).state_dict(), model.state_dict())
    trainer(tmp_path, max_epochs=1).fit(model, loader(rows))
    assert_same(fitted(PCA, rows).state_dict(), model.state_dict())


def test_validation_sees_the_fitted_density(rows, tmp_path):
    model = PCA((6,), latent_dim=2)
    runner = trainer(tmp_path, max_epochs=1)
    runner.limit_val_batches = 1.0
    runner.fit(model, loader(rows), loader(rows, 300))
    assert float(runner.callback_metrics["val/nll"]) == pytest.approx(-float(model.log_prob(rows).mean()))


@pytest.mark.parametrize(
    ("kind", "arguments", "sentence"),
    [
        (PCA, {"latent_dim": 0}, "latent_dim: got 0"),
        (PCA, {"latent_dim": 5}, "latent_dim: got 5, allowed are up to the 4 values"),
        (PCA, {"min_std": 0.0}, "min_std: got 0.0"),
        (KDE, {"bandwidths": []}, "bandwidths: got"),
        (KDE, {"bandwidths": [0.1, -1.0]}, "bandwidths: got"),
        (GMM, {"num_components": 0}, "num_components: got 0"),
        (GMM, {"covariance": "tied"}, "covariance: got 'tied'"),
        (GMM, {"regularization": -1.0}, "regularization: got -1.0"),
    ],
)
def test_bad_arguments_are_refused(kind, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind((4,), **arguments)


@pytest.mark.parametrize("kind", MODELS)
def test_one_image_is_refused(kind):
    with pytest.raises(ValueError, match="images: got 1 to fit"):
        fitted(kind, torch.zeros(1, 6))
