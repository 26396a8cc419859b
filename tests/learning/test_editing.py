"""What searching the latents of a trained generator finds.

Digits of 8x8 pixels, as scikit-learn has them: 1,500 train, and the 297 others are what is searched for.
"""

from __future__ import annotations

from functools import cache, partial

import pytest
import torch
from lightning.pytorch import seed_everything

from pl_genmodels.callbacks import GeneratorEMA
from pl_genmodels.data import Digits
from pl_genmodels.editing import anomaly_scores, fit_projector, inpaint, nearest_neighbours, project
from pl_genmodels.losses import Gaussian
from pl_genmodels.metrics import DigitClassifier
from pl_genmodels.models.gan.dcgan import DCGAN
from pl_genmodels.models.gan.lsgan import LSGAN
from pl_genmodels.models.known_pixels import HALVES, known_half
from pl_genmodels.models.optimizers import GANAdam, OnePassAdam
from pl_genmodels.models.vae.cvae import CVAE
from pl_genmodels.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDecoder,
    MLPDiscriminator,
    MLPEncoder,
    MLPGenerator,
)
from tests.learning.bench import Check, assert_learns, fit

pytestmark = pytest.mark.learning


def dcgan(channels, latent_dim):
    return DCGAN(
        generator=partial(DCGANGenerator, latent_dim=latent_dim, channels=channels),
        discriminator=partial(DCGANDiscriminator, channels=channels),
        optimizer_generator=partial(GANAdam, lr=1e-3),
        optimizer_discriminator=partial(GANAdam, lr=2e-4),
    )


def projection():
    """A generated image comes back: the networks of configs/dcgan.yaml, an eighth of its training."""
    seed_everything(0, verbose=False)
    model = fit(dcgan(16, 64), Digits(32, batch_size=64, seed=0), updates=160).eval()
    image = model.sample(8, seed=123)
    real = Digits(32).load("train").tensors["image"] / 127.5 - 1
    error = project(model, image).losses / real.var()
    name = "largest squared error of 8 projections, in variances of the data"
    return [Check(name, error.max().item(), 0, 1e-2, 0.00157)]


def test_projection():
    assert_learns([projection])


# ---- real digits


@cache
def digits(held_out):
    """Images in [-1, 1] and labels."""
    splits = ("val", "test") if held_out else ("train",)
    parts = [Digits(8).load(split).tensors for split in splits]
    images, labels = (torch.cat([part[name] for part in parts]) for name in ("image", "label"))
    return images / 127.5 - 1, labels


class Some:
    """Batches of given images, shuffled anew each epoch."""

    def __init__(self, images, batch_size=128):
        self.images, self.batch_size = images, batch_size

    def __len__(self):
        return len(self.images) // self.batch_size

    def __iter__(self):
        order = torch.randperm(len(self.images))[: len(self) * self.batch_size]
        return ({"image": self.images[rows]} for rows in order.split(self.batch_size))


@cache
def gan_of(classes, updates, rate=2e-4, seed=0):
    """LSGAN of some classes, with averaged weights; `rate` is the generator's."""
    seed_everything(seed, verbose=False)
    images, labels = digits(False)
    networks = partial(MLPGenerator, latent_dim=32, batch_norm=True), MLPDiscriminator
    model = LSGAN((1, 8, 8), *networks, optimizer_generator=partial(GANAdam, lr=rate))
    chosen = images[torch.isin(labels, torch.tensor(classes))]
    return fit(model, Some(chosen), updates=updates, callbacks=[GeneratorEMA(5000)]).eval()


def area(scores, anomalous):
    """Share of pairs of an anomaly and a normal image in which the anomaly scores higher."""
    return float((scores[anomalous][:, None] > scores[~anomalous]).float().mean())


# ---- anogan

SEARCH = {"num_starts": 2, "num_steps": 50}
ANOMALIES = {
    "unseen": (0.854, 0.262),
    1: (0.9908, 0.0694, 0.155),
    7: (1.0, 0.0216, 0.0247),
}  # measured last, in the order of the checks


def test_a_class_that_training_did_not_see_is_an_anomaly():
    images, labels = digits(True)
    found, before = [], []
    for unseen in (0, 1, 2):
        model = gan_of(tuple(label for label in range(10) if label != unseen), 2000)
        found.append(area(anomaly_scores(model, images, **SEARCH).scores, labels == unseen))
        before.append(area(anomaly_scores(model, images, num_starts=2, num_steps=0).scores, labels == unseen))
    print("AUROC of each", found, "of the starts", before)
    mean, start = (sum(each) / len(each) for each in (found, before))
    last = ANOMALIES["unseen"]
    assert_learns(
        [
            lambda: [
                Check("mean AUROC of three unseen classes", mean, 0.8, 1, last[0]),
                Check("above that of the starts", mean - start, 0.1, 1, last[1]),
            ]
        ]
    )


@pytest.mark.parametrize(("normal", "least"), [(1, 0.97), (7, 0.9)])
def test_other_classes_are_anomalies_to_a_gan_of_one(normal, least):
    """The generator is five times as fast as its judge, as in configs/dcgan.yaml.

    With equal rates two seeds reached 0.9705 and 0.9683 for digit 1; so they reach 0.9908 and 0.9991. The starts of the
    search alone, 0.921 and 0.764, do not pass.
    """
    (images, labels), (train, of) = digits(True), digits(False)
    model = gan_of((normal,), 800, 1e-3)
    scores = [area(anomaly_scores(model, images, num_starts=2, num_steps=s).scores, labels != normal) for s in (0, 50)]
    mean = area((images - train[of == normal].mean(0)).abs().flatten(1).sum(1), labels != normal)
    last = ANOMALIES[normal]
    assert_learns(
        [
            lambda: [
                Check(f"AUROC against {normal}", scores[1], least, 1, last[0]),
                Check("above that of the starts", scores[1] - scores[0], 0, 1, last[1]),
                Check("above that of the distance to the mean", scores[1] - mean, 0, 1, last[2]),
            ]
        ]
    )


# ---- inpaint


@pytest.mark.parametrize(("digit", "over_mean", "last"), [(1, 1.5, (2.85, 2.24)), (7, None, (2.43,))])
def test_a_hole_is_filled_better_by_a_search(digit, over_mean, last):
    (images, labels), (train, of) = digits(True), digits(False)
    image, mask = images[labels == digit], torch.ones(8, 8, dtype=torch.bool)
    mask[2:6, 2:6] = False

    def decibels(filled):
        return float(10 * torch.log10(4 / (filled - image)[..., ~mask].square().mean()))

    model, plain = gan_of((digit,), 800), {"num_starts": 1, "window": 7, "blend": False}
    start, found = (
        decibels(torch.stack([inpaint(model, image, mask, num_steps=steps, seed=s, **plain).images for s in range(4)]))
        for steps in (0, 300)
    )
    blended = decibels(inpaint(model, image, mask, num_steps=300).images)
    mean = decibels(train[of == digit].mean(0).expand_as(image))
    checks = [Check(f"dB in the hole over the starts, digit {digit}", found - start, 2, 30, last[0])]
    if over_mean is not None:
        checks.append(Check("dB of the whole in-painting over the mean's", blended - mean, over_mean, 30, last[1]))
    print(f"blended, 16 starts: {blended:.4g} dB; starts {start:.4g} dB, search {found:.4g} dB, mean {mean:.4g} dB")
    assert_learns([lambda: checks])


FILLING = {
    "prior_weight": 0.02,
    "window": 15,
    "num_starts": 4,
    "num_steps": 120,
    "learning_rate": 0.2,
    "labels": range(10),
}
HALF = (0.9167, 0.0177, 0.0513)  # measured last, in the order of the checks


@cache
def cvae():
    """What knows how probable its latents are; broad noise of pixels keeps it from learning single digits by heart."""
    seed_everything(0, verbose=False)
    networks = {
        "encoder": partial(MLPEncoder, hidden_dim=512, num_layers=2),
        "decoder": partial(MLPDecoder, hidden_dim=512, num_layers=2),
    }
    model = CVAE((1, 8, 8), latent_dim=16, **networks, likelihood=Gaussian(0.4), optimizer=OnePassAdam)
    return fit(model, Digits(8, batch_size=128, seed=0), updates=3600).eval()


def agreement(fill):
    """Share of held-out digits that are read as what they are, of which one half is filled; each of four halves."""
    images, labels = digits(True)
    reader, shares = DigitClassifier(), {}
    for half in HALVES:
        mask = known_half(half, 8, 8)
        filled = torch.where(mask, images, fill(images, mask))
        read = reader(filled.add(1).mul(127.5).round().clamp(0, 255).byte())[1].argmax(1)
        shares[half] = float((read == labels).float().mean())
    print({half: round(share, 3) for half, share in shares.items()})
    return sum(shares.values()) / len(shares)


def neighbours_fill(images, mask):
    train = digits(False)[0]
    nearest = nearest_neighbours(images, [train], 1, features=lambda pictures: pictures[:, :, mask].flatten(1))
    return nearest.images[:, 0]


def test_halves_of_digits_are_filled_better_than_by_neighbours():
    """Measured beside the row: 0.921 with a second seed of the model.

    Each fifth of the 1,500 training digits, held out in turn: 0.932, 0.917, 0.918, 0.917, 0.919, where neighbours reach
    0.905, 0.902, 0.905, 0.907, 0.907. Noise of 0.2 in the model, half of its training or 60 steps from two starts each
    come out lower: together 0.909 here, and level with neighbours on the fifths.
    """
    ours = agreement(lambda images, mask: inpaint(cvae(), images, mask, **FILLING).images)
    blind = {**FILLING, "prior_weight": 0.0, "window": 7}
    twin = agreement(lambda images, mask: inpaint(cvae(), images, mask, **blind).images)
    neighbour = agreement(neighbours_fill)
    assert_learns(
        [
            lambda: [
                Check("digit as it was", ours, 0.88, 1, HALF[0]),
                Check("above nearest neighbours", ours - neighbour, 1e-6, 1, HALF[1]),
                Check("above a search that sees three rows and no prior", ours - twin, 0.03, 1, HALF[2]),
            ]
        ]
    )


# ---- hybrid projection


def test_a_search_that_a_network_starts_finds_more_than_either():
    (images, labels), (train, of) = digits(True), digits(False)
    image, learnt_from = images[labels == 7], train[of == 7]
    model = gan_of((7,), 800)
    network = fit_projector(model, learnt_from, MLPEncoder, num_steps=600, learning_rate=1e-3)
    random = project(model, image, num_starts=1, num_steps=50).losses.mean().item()
    alone = project(model, image, start=network, num_steps=0).losses.mean().item()
    hybrid = project(model, image, start=network, num_steps=50).losses.mean().item()
    print(f"mean squared error: random start {random:.4g}, network {alone:.4g}, hybrid {hybrid:.4g}")
    checks = [Check("hybrid over the better of the two", hybrid / min(random, alone), 0, 1, 0.643)]
    assert_learns([lambda: checks])
