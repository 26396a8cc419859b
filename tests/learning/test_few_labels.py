"""What few labels are worth beside many samples without: rows as in `test_gan.py`."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import seed_everything

from pl_genmodels.data import Digits
from pl_genmodels.losses import LabelledLoss
from pl_genmodels.losses.entropies import entropy
from pl_genmodels.metrics import DigitClassifier, to_uint8
from pl_genmodels.metrics.frechet import frechet_distance
from pl_genmodels.models.conditional_gan import catgan as catgan_file
from pl_genmodels.models.conditional_gan.catgan import CatGAN
from pl_genmodels.models.conditional_gan.ccgan import CCGAN
from pl_genmodels.models.known_pixels import square_holes
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import (
    AuxiliaryDiscriminator,
    EncoderDecoderTranslator,
    MLPClassifier,
    MLPDiscriminator,
    MLPGenerator,
)
from tests.learning.bench import Check, assert_learns, fit, passed

pytestmark = pytest.mark.learning

LAST = {  # measured last, in the order of the checks
    "catgan": (0.982, 0.0707),
    "ccgan": (0.708, 0.0741, 5.15),
    "ccgan_squared": (0.703, 0.0685, 5.10, 14.0, 0.0369),
}
SEEDS = (0, 1, 2)
FAST = partial(GANAdam, lr=1e-3)
RATES = {"optimizer_generator": FAST, "optimizer_discriminator": FAST}


def held_out(size):
    """Images in [-1, 1] and labels, 297 of them."""
    parts = [Digits(size).load(split).tensors for split in ("val", "test")]
    images, labels = (torch.cat([part[key] for part in parts]) for key in ("image", "label"))
    return images / 127.5 - 1, labels


def accuracy(model, size):
    images, labels = held_out(size)
    return (model.classify(images) == labels).float().mean().item()


def alone(network, logits_of, data, updates, batch, lr):
    """The same network and optimiser on as many batches of the same labelled digits, without a game."""
    train = data.load("train").tensors
    known = (train["label"] >= 0).nonzero().flatten()
    inputs, labels = train["image"][known] / 127.5 - 1, train["label"][known]
    optimizer = GANAdam(network.parameters(), lr=lr)
    for _ in range(updates):
        chosen = torch.randint(len(known), (batch,))
        optimizer.zero_grad()
        F.cross_entropy(logits_of(network, inputs[chosen]), labels[chosen]).backward()
        optimizer.step()
    images, labels = held_out(data.image_shape[-1])
    with torch.no_grad():
        return (logits_of(network.eval(), images).argmax(1) == labels).float().mean().item()


def compared(both, by_themselves, low, above, last):
    """Checks of the mean over seeds of the accuracy on held-out digits, each seed with other labels."""
    print("both", [round(each, 3) for each in both], "labels alone", [round(each, 3) for each in by_themselves])
    mean, baseline = sum(both) / len(both), sum(by_themselves) / len(by_themselves)
    return [
        Check("accuracy", mean, low, 1, last[0]),
        Check("accuracy above the labels' alone", mean - baseline, above, 1, last[1]),
    ]


# ---- catgan

UPDATES = 3000
CLASSIFIER = partial(MLPClassifier, hidden_dims=[256, 128], input_noise=0.3, hidden_noise=0.3)


def catgan(seeds=SEEDS, model=CatGAN, per_class=10):
    both, by_themselves = [], []
    for seed in seeds:
        data = Digits(8, batch_size=125, labels_per_class=per_class, seed=seed)
        seed_everything(seed, verbose=False)
        networks = {"generator": partial(MLPGenerator, batch_norm=True), "discriminator": CLASSIFIER}
        made = fit(model((1, 8, 8), supervised_weight=1.0, **networks, **RATES), data, updates=UPDATES)
        both.append(accuracy(made, 8))
        seed_everything(seed, verbose=False)
        logits_of = lambda network, images: network(images, with_classes=True)
        by_themselves.append(alone(CLASSIFIER((1, 8, 8)), logits_of, data, UPDATES, 125, 1e-3))
    return compared(both, by_themselves, 0.79, 0.03, LAST["catgan"])


# ---- ccgan: one label a class

# With ten a class a classifier alone is right too often for three points more: 0.916 against 0.909, networks without
# convolutions on pictures of 8x8, and 0.933 against 0.946 with three convolutions on 16x16.

TWO_HEADS = partial(AuxiliaryDiscriminator, discriminator=MLPDiscriminator, dropout=0.5)
GENERATOR = partial(EncoderDecoderTranslator, channels=16, num_halvings=2, negative_slope=0.0)


def ccgan(seeds=SEEDS, updates=1500, last=LAST["ccgan"], **arguments):
    checks, _ = filled(seeds, updates, last, **arguments)
    return checks


def filled(seeds, updates, last, **arguments):
    """Checks of CC-GAN, and the models of the seeds."""
    both, by_themselves, gains, models = [], [], [], []
    for seed in seeds:
        data = Digits(16, batch_size=64, labels_per_class=1, seed=seed)
        networks = {"generator": GENERATOR, "discriminator": TWO_HEADS}
        seed_everything(seed, verbose=False)
        made = fit(CCGAN((1, 16, 16), hole=(7, 9), **networks, **RATES, **arguments), data, updates=updates)
        models.append(made.eval())
        both.append(accuracy(made, 16))
        gains.append(filling_gain(made))
        seed_everything(seed, verbose=False)
        logits_of = lambda network, images: network(images)[1]
        by_themselves.append(alone(TWO_HEADS((1, 16, 16), 10), logits_of, data, updates, 64, 1e-3))
    checks = [
        *compared(both, by_themselves, 0.6, 0.03, last),
        Check("decibels above the mean of what is known", sum(gains) / len(gains), 1.5, 100, last[2]),
    ]
    return checks, models


def holed():
    """Held-out pictures, and where they are known."""
    images, _ = held_out(16)
    return images, square_holes(torch.rand(len(images), 3, generator=torch.Generator().manual_seed(0)), 7, 9, 16, 16)


def ccgan_squared(seeds=SEEDS, updates=1500, last=LAST["ccgan_squared"], weight=1.0):
    """As CC-GAN; and all of what is made is a picture, which without the second branch it is in the hole alone."""
    checks, models = filled(seeds, updates, last, unconditional_weight=weight)
    far, outside = (sum(values) / len(models) for values in zip(*map(whole, models), strict=True))
    return [
        *checks,
        Check("Frechet distance of whole made pictures", far, 0, 25, last[3]),
        Check("squared error of what is made of known pixels", outside, 0, 0.07, last[4]),
    ]


def whole(model):
    """How far what is made of holed pictures is from whole ones, in a classifier's features, and where it was known."""
    images, mask = holed()
    made = model.make(images, mask)
    moments = [
        (features.mean(0), features.T.cov())
        for features in (DigitClassifier()(to_uint8(each))[0].double() for each in (made, images))
    ]
    error = (made - images).square().masked_select(mask).mean()
    return frechet_distance(*moments[0], *moments[1]).item(), error.item()


def filling_gain(model):
    """PSNR in the holes of held-out pictures, less that of the mean of each picture's known pixels."""
    images, mask = holed()
    error = lambda other: (other - images).square().masked_select(~mask).mean()
    mean = (images * mask).sum((1, 2, 3), keepdim=True) / mask.sum((1, 2, 3), keepdim=True)
    return 10 * (error(mean) / error(model.fill(images, mask))).log10().item()


ROWS = {"catgan": [catgan], "ccgan": [ccgan], "ccgan_squared": [ccgan_squared]}


@pytest.mark.parametrize("stem", ROWS)
def test_system_learns(stem):
    assert_learns(ROWS[stem])


def test_without_the_second_branch_only_the_hole_is_a_picture():
    """What is made of known pixels reaches nobody in CC-GAN; its classifier is as good."""
    checks = ccgan_squared((0,), weight=0.0)
    print(*checks, sep="\n")
    assert not any(check.passed for check in checks[3:])


# ---- what the rows see


def exchanged(self, real, fake):
    return self.as_real(fake) + self.as_fake(real)


def certain_of_all_but_data(logits):
    return -entropy(logits)


BREAKAGES = {
    "catgan-signs": (partial(catgan, (0,)), catgan_file, "entropy", certain_of_all_but_data),
    "ccgan-exchanged": (partial(ccgan, (0,)), LabelledLoss, "discriminator", exchanged),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_breakage_is_caught(name, monkeypatch):
    experiment, *patch = BREAKAGES[name]
    monkeypatch.setattr(*patch)
    checks = experiment()
    print(*checks, sep="\n")
    assert not passed(checks)
