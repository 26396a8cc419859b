"""Classical densities reach on real digits what closed forms and EM reach."""

from __future__ import annotations

import math

import pytest
import torch
from lightning.pytorch import seed_everything

from pl_genmodels.models.baselines.gmm import GMM
from pl_genmodels.models.baselines.kde import KDE, normal_mixture
from pl_genmodels.models.baselines.pca import PCA
from tests.learning.bench import Check, Stream, fit, near, passed, real_digits

UNITS = 64 * math.log(2)  # nats between a density over [-1, 1] and one over [0, 1]
SHAPE = (1, 8, 8)
LAST_PCA = {5: 9.538, 10: 17.59, 20: 26.77, 40: 38.76}  # measured last, by number of components
LAST_KDE = (30.27, 0.15)
LAST_GMM = (60.68, 25.45, -1.698)


def digits():
    """1,500 and 297 digits of 8 x 8 pixels: levels 0 to 16, each spread over its width, -1 to 1.125."""
    generator = torch.Generator().manual_seed(0)
    images = real_digits(8)[0]
    images = images[torch.randperm(len(images), generator=generator)]
    levels = (images.double() / 255 * 16).round()
    return torch.split(((levels + torch.rand(levels.shape, generator=generator)) / 8 - 1).float(), [1500, 297])


def eight_gaussians(count):
    """Points around eight centres on a circle of radius 2, with a deviation of 0.2."""
    angle = torch.randint(8, (count,)) * (math.pi / 4)
    return 2 * torch.stack([angle.cos(), angle.sin()], 1) + 0.2 * torch.randn(count, 2)


def trained(model, train):
    """Through Lightning, in batches of 60."""
    batches = iter(train.split(60))
    return fit(model, Stream(lambda: next(batches), len(train) // 60), epochs=1)


def nats(model, images):
    return float(model.log_prob(images).mean()) + UNITS


def pca(model=PCA):
    train, test = digits()
    found = {count: nats(trained(model(SHAPE, latent_dim=count), train), test) for count in LAST_PCA}
    wanted = {5: 7, 10: 15, 20: 23.5, 40: 35.5}
    return [Check(f"PCA of {count}", value, low=wanted[count], last=LAST_PCA[count]) for count, value in found.items()]


def kde(model=KDE):
    train, test = digits()
    density = trained(model(SHAPE), train)
    return [
        Check("KDE", nats(density, test), low=27, last=LAST_KDE[0]),
        Check("KDE's bandwidth over [0, 1]", round(float(density.bandwidth) / 2, 6), 0.12, 0.15, LAST_KDE[1]),
    ]


def gmm(model=GMM):
    train, test = digits()
    ten, twenty = (trained(model(SHAPE, num_components=count), train) for count in (10, 20))
    seed_everything(0, verbose=False)
    ring = trained(model((2,), num_components=8, regularization=1e-6), eight_gaussians(6000))
    return [
        Check("GMM of 10", nats(ten, test), low=55, last=LAST_GMM[0]),
        Check("GMM of 20 fits too well", nats(twenty, train) - nats(twenty, test), low=10, last=LAST_GMM[1]),
        near("GMM of 8 on a ring", float(ring.log_prob(eight_gaussians(20_000)).mean()), -1.70, 0.03, LAST_GMM[2]),
    ]


class TotalNoise(PCA):
    """The discarded eigenvalues' sum instead of their mean."""

    def estimate(self, rows):
        values = super().estimate(rows)
        return {**values, "noise": values["noise"] * (rows.shape[1] - self.latent_dim)}


class WithItself(KDE):
    """Each point counts for its own likelihood: the least bandwidth wins."""

    def leave_one_out(self, rows):
        distances = torch.cdist(rows, rows).square()
        return torch.stack([normal_mixture(distances, h, 64, len(rows)).mean() for h in self._bandwidths])


class WithoutVolume(GMM):
    """The determinant is forgotten."""

    def estimate(self, rows):
        values = super().estimate(rows)
        scale = values["factors"].diagonal(dim1=1, dim2=2).log().mean(1).exp()
        return {**values, "factors": values["factors"] / scale[:, None, None]}


class OldMeans(GMM):
    """Means that lag behind the covariances."""

    def estimate(self, rows):
        values = super().estimate(rows)
        return {**values, "means": 0.5 * (values["means"] + rows.mean(0))}


@pytest.mark.learning
@pytest.mark.parametrize("experiment", [pca, kde, gmm])
def test_baseline(experiment):
    checks = experiment()
    print("\n".join(map(str, checks)))
    assert passed(checks)


@pytest.mark.learning
@pytest.mark.parametrize(
    ("experiment", "broken"), [(pca, TotalNoise), (kde, WithItself), (gmm, WithoutVolume), (gmm, OldMeans)]
)
def test_baselines_breakages_are_seen(experiment, broken):
    assert not passed(experiment(broken))
