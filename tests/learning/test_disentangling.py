"""Classes without labels, and codes that are led back and exchanged: rows as in `test_gan.py`."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import seed_everything

from pl_genmodels.data import Digits
from pl_genmodels.metrics import DigitClassifier
from pl_genmodels.metrics.clustering import confusion, matched_accuracy
from pl_genmodels.models.conditional_gan.catgan import CatGAN
from pl_genmodels.models.conditional_gan.icgan import IcGAN
from pl_genmodels.models.conditional_gan.mathieu_disentangling import MathieuDisentangling
from pl_genmodels.models.optimizers import GANAdam, IcGANAdam
from pl_genmodels.networks import ConcatGenerator, MLPClassifier, MLPEncoder, MLPGenerator
from tests.learning.bench import Check, assert_learns, fit

pytestmark = pytest.mark.learning

LAST = {  # measured last, in the order of the checks
    "catgan": (0.677, 10),
    "icgan": (0.991, 0.997, 0.543, 0.990, 0.997),
    "mathieu_disentangling": (0.980, 0.222, 0.963),
}
SHAPE = (1, 8, 8)
FAST = partial(GANAdam, lr=1e-3)


def trained(make, *, seed=0, epochs, **data):
    seed_everything(seed, verbose=False)
    return fit(make(SHAPE), Digits(8, seed=seed, **data), epochs=epochs).eval()


def held_out():
    """Images in [-1, 1] and labels, 297 of them."""
    parts = [Digits(8).load(split).tensors for split in ("val", "test")]
    images, labels = (torch.cat([part[key] for part in parts]) for key in ("image", "label"))
    return images / 127.5 - 1, labels


def read(samples):
    return DigitClassifier()(samples.add(1).mul(127.5).round().byte())[1].argmax(1)


def share(found, wanted):
    return (found == wanted).float().mean().item()


# ---- catgan


def clusters(model=CatGAN, epochs=100):
    networks = {
        "generator": partial(MLPGenerator, batch_norm=True),
        "discriminator": partial(MLPClassifier, hidden_dims=[256, 128], input_noise=0.3, hidden_noise=0.3),
    }
    rates = {"optimizer_generator": FAST, "optimizer_discriminator": FAST}
    found = trained(partial(model, **networks, **rates), epochs=epochs, batch_size=125)
    images, labels = held_out()
    counts = confusion(found.cluster(images), labels, 10, 10)
    return matched_accuracy(counts), int((counts.sum(1) > 0).sum())


def catgan():
    accuracy, used = clusters()
    return [
        Check("clusters in their classes", accuracy, 0.3, 1, LAST["catgan"][0]),
        Check("clusters used", used, 10, 10, LAST["catgan"][1]),
    ]


class Unequal(CatGAN):
    """Nothing asks for equal use of the classes."""

    def discriminator_terms(self, batch, generated):
        terms = super().discriminator_terms(batch, generated)
        return {**terms, "unequal": 0 * terms["unequal"]}


# ---- icgan


def icgan():
    networks = {
        "generator": partial(ConcatGenerator, generator=partial(MLPGenerator, batch_norm=True)),
        "encoder_latent": partial(MLPEncoder, hidden_dim=256, num_layers=2),
        "encoder_condition": partial(MLPEncoder, hidden_dim=128),
    }
    rates = {"optimizer_encoder": partial(IcGANAdam, lr=1e-3)}
    model = trained(partial(IcGAN, **networks, **rates, gan_updates=1800), epochs=130)
    images, labels = held_out()
    asked = torch.arange(1000) % 10
    latents = model.draw_latents(1000, seed=1)
    back = model.encode(model.decode(latents, asked))
    correlations = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(latents.T, back.T, strict=True)]
    others = (labels + 3) % 10
    last = LAST["icgan"]
    return [
        Check("label as asked", share(read(model.sample(1000, seed=1)), asked), 0.85, 1, last[0]),
        Check("label read off", share(model.read(images), labels), 0.93, 1, last[1]),
        Check("correlation of latents", torch.stack(correlations).mean().item(), 0.5, 1, last[2]),
        Check("edits to another label", share(read(model.edit(images, others)), others), 0.85, 1, last[3]),
        Check("label kept", share(read(model.reconstruct(images)), labels), 0.85, 1, last[4]),
    ]


# ---- mathieu_disentangling


def probed(codes, labels, others, known):
    """Share that a logistic regression of the first codes' labels says rightly of the others."""
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(max_iter=1000).fit(codes.numpy(), labels.numpy())
    return float(regression.score(others.numpy(), known.numpy()))


def exchanged(epochs=100, model=MathieuDisentangling, **weights):
    """How well labels are read off s and off z, and how often a swap has the label of the other sample."""
    coder = {"encoder": partial(MLPEncoder, hidden_dim=256, num_layers=2), "optimizer_generator": FAST}
    networks = {**coder, "generator": partial(ConcatGenerator, latent_dim=16, generator=MLPGenerator)}
    found = trained(partial(model, **networks, **weights), epochs=epochs, partners=True)
    train = Digits(8).load("train").tensors
    seen, known = train["image"] / 127.5 - 1, train["label"]
    images, labels = held_out()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    swaps = share(read(found.swap(images, images[order])), labels[order])
    by_s, by_z = (probed(code(seen), known, code(images), labels) for code in (found.specify, found.encode))
    return by_s, by_z, swaps


def mathieu_disentangling():
    by_s, by_z, swaps = exchanged()
    last = LAST["mathieu_disentangling"]
    return [
        Check("labels read off s", by_s, 0.9, 1, last[0]),
        Check("labels read off z", by_z, 0, 0.45, last[1]),
        Check("swaps of the other's label", swaps, 0.85, 1, last[2]),
    ]


ROWS = {"catgan": [catgan], "icgan": [icgan], "mathieu_disentangling": [mathieu_disentangling]}


@pytest.mark.parametrize("stem", ROWS)
def test_system_learns(stem):
    assert_learns(ROWS[stem])


def test_without_equal_use_one_class_is_enough():
    accuracy, used = clusters(Unequal, epochs=25)
    print(f"accuracy {accuracy:.3f}, {used} clusters used")
    assert accuracy < 0.3


def test_without_the_pull_to_the_prior_z_holds_the_label():
    by_s, by_z, swaps = exchanged(epochs=25, kl_weight=0.0, adversarial_weight=0.0)
    print(f"labels read off s {by_s:.3f}, off z {by_z:.3f}, swaps {swaps:.3f}")
    assert by_z > 0.45
