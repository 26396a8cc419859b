"""GANs whose discriminator names classes learn what their papers say: rows as in `test_gan.py`."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import seed_everything

from pl_genmodels.data import Digits
from pl_genmodels.layers import InstanceNoise
from pl_genmodels.losses import LabelledLoss
from pl_genmodels.metrics import DigitClassifier, to_uint8
from pl_genmodels.models.classifying_gan import ClassifyingGAN
from pl_genmodels.models.gan import improved_gan
from pl_genmodels.models.gan.am_gan import AMGAN
from pl_genmodels.models.gan.am_gan_predefined import AMGANPredefined
from pl_genmodels.models.gan.improved_gan import ImprovedGAN
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import MLPClassifier, MLPDiscriminator, MLPGenerator
from tests.learning.bench import (
    Check,
    assert_learns,
    digit_pixels,
    digits,
    fidelity,
    fit,
    passed,
    real_digits,
)
from tests.learning.test_conditional import NETWORKS, agreement, trained

pytestmark = pytest.mark.learning

ADAM = partial(GANAdam, lr=1e-3)
SOFTPLUS = partial(MLPGenerator, latent_dim=50, hidden_dim=128, batch_norm=True, activation="softplus")


def held_out():
    """297 digits that no training sees, as models see them, and their classes."""
    parts = [Digits(size=8).load(split).tensors for split in ("val", "test")]
    images = torch.cat([part["image"] for part in parts]).float() / 127.5 - 1
    return images, torch.cat([part["label"] for part in parts])


# ---- improved_gan: one label a class

UPDATES = 2500


def semi_supervised_accuracy(data, seed):
    seed_everything(seed, verbose=False)
    model = ImprovedGAN((1, 8, 8), SOFTPLUS, MLPClassifier, optimizer_generator=ADAM, optimizer_discriminator=ADAM)
    fit(model, data, updates=UPDATES)
    images, labels = held_out()
    return (model.classify(images) == labels).float().mean().item()


def supervised_accuracy(data, seed):
    """The same network, noise and optimiser on as many batches of the same labelled digits, without a game."""
    seed_everything(seed, verbose=False)
    train = data.load("train")
    known = (train.tensors["label"] >= 0).nonzero().flatten()
    inputs, labels = train.tensors["image"][known].float() / 127.5 - 1, train.tensors["label"][known]
    network = MLPClassifier((1, 8, 8))
    optimizer = ADAM(network.parameters())
    for _ in range(UPDATES):
        chosen = torch.randint(len(known), (64,))
        optimizer.zero_grad()
        F.cross_entropy(network(inputs[chosen], with_classes=True), labels[chosen]).backward()
        optimizer.step()
    images, labels = held_out()
    with torch.no_grad():
        return (network.eval()(images, with_classes=True).argmax(1) == labels).float().mean().item()


def few_labels(seeds=(0, 1, 2), last=(0.680, 0.0494)):
    """Mean over seeds, each of which tells other labels, of the accuracy on held-out digits."""
    accuracies = {"K + 1": [], "labels alone": []}
    for seed in seeds:
        data = Digits(size=8, batch_size=64, labels_per_class=1, seed=seed)
        accuracies["K + 1"].append(semi_supervised_accuracy(data, seed))
        accuracies["labels alone"].append(supervised_accuracy(data, seed))
    both, alone = (sum(each) / len(each) for each in accuracies.values())
    print({name: [round(value, 3) for value in values] for name, values in accuracies.items()})
    return [
        Check("accuracy", both, 0.6, 1, last[0]),
        Check("accuracy above the labels' alone", both - alone, 0.02, 1, last[1]),
    ]


GENERATOR = partial(MLPGenerator, latent_dim=32, batch_norm=True)


def matched_features():
    """No labels, no classes."""
    make = partial(ImprovedGAN, (1, 8, 8), GENERATOR, MLPDiscriminator)
    return digits(make, updates=2000, last=(0.846, 0.272, 0.643, 0.016))


# ---- am_gan


def activated_classes():
    """Digits of all classes, although none is asked for. The discriminator's input is noisy, as the authors' is."""
    seed_everything(0, verbose=False)
    noise = InstanceNoise(0.3, decay_images=10**9)
    model = fit(AMGAN((1, 8, 8), GENERATOR, augmentations=[noise]), Digits(size=8, batch_size=128), updates=1500)
    extractor, (images, _) = digit_pixels(8), real_digits(8)
    shares = extractor(to_uint8(model.sample(2000, seed=1)))[1].argmax(1).bincount(minlength=10) / 2000
    held, labels = held_out()
    return [
        Check("share of the rarest class", shares.min().item(), 0.01, 0.1, 0.0575),
        Check("AM score", fidelity(model, extractor, images, ("ams",))["ams"], 0, 0.52, 0.350),
        Check("accuracy", (model.classify(held) == labels).float().mean().item(), 0.9, 1, 0.966),
    ]


def told_classes(updates=2000):
    model = trained(partial(AMGANPredefined, **NETWORKS), updates)
    right, spread = agreement(model)
    images = Digits(size=16).load("train").tensors["image"]
    return [
        Check("class as asked", right, 0.95, 1, 1.0),
        Check("deviation within a class", spread, 0.06, 1, 0.108),
        Check("AM score", fidelity(model, DigitClassifier(), images, ("ams",))["ams"], 0, 0.15, 0.0080),
    ]


ROWS = {
    "improved_gan": [few_labels, matched_features],
    "am_gan": [activated_classes],
    "am_gan_predefined": [told_classes],
}


@pytest.mark.parametrize("stem", ROWS)
def test_system_learns(stem):
    assert_learns(ROWS[stem])


# ---- what the rows see


def exchanged(self, real, fake):
    return self.as_real(fake) + self.as_fake(real)


def of_each_sample(real, fake, distance="squared"):
    return (fake - real.mean(0)).square().mean(1)


def towards_none(self, images, labels=None):
    return {"adversarial": self.loss.generator(self.judge(self.augment(images)))}


def towards_the_least_likely(self, images, labels=None):
    if labels is None:
        with torch.no_grad():
            labels = self.class_logits(self.augment(images)).argmin(1)
    return towards(self, images, labels)


towards = ClassifyingGAN.terms_towards
BREAKAGES = {
    "am_gan-towards-the-least-likely": (activated_classes, ClassifyingGAN, "terms_towards", towards_the_least_likely),
    "am_gan_predefined-towards-no-class": (partial(told_classes, 800), ClassifyingGAN, "terms_towards", towards_none),
    "improved_gan-exchanged": (partial(few_labels, (0,)), LabelledLoss, "discriminator", exchanged),
    "improved_gan-of-each-sample": (matched_features, improved_gan, "feature_matching", of_each_sample),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_breakage_is_caught(name, monkeypatch):
    experiment, *patch = BREAKAGES[name]
    monkeypatch.setattr(*patch)
    checks = experiment()
    print(*checks, sep="\n")
    assert not passed(checks)
