"""Encoders that learn in a game come to invert the generator: rows as in `test_gan.py`."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import seed_everything

from pl_genmodels.data import Digits
from pl_genmodels.metrics import DigitClassifier
from pl_genmodels.models.inference_gan.ali import ALI
from pl_genmodels.models.inference_gan.bigan import BiGAN
from pl_genmodels.networks import (
    MLPEncoder,
    MLPGenerator,
    NormalEncoder,
    UniformPrior,
)
from tests.learning.bench import Check, assert_learns, fit, passed, real_digits

pytestmark = pytest.mark.learning

LAST = {
    "ali": (0.570, 0.481, 0.783, 0.965, 0.209),
    "bigan": (0.655, 0.440, 0.599, 0.959),
}  # measured last, in the order of the checks
ENCODER = partial(MLPEncoder, hidden_dim=256, num_layers=2, activation="leaky_relu", batch_norm=True)
GENERATOR = partial(MLPGenerator, latent_dim=16, batch_norm=True)
BIGAN = {"generator": GENERATOR, "encoder": ENCODER, "prior": UniformPrior(1.0)}
DRAWING = {"generator": GENERATOR, "encoder": partial(NormalEncoder, encoder=ENCODER)}


def trained(make, updates, size=16, seed=0):
    """On digits."""
    seed_everything(seed, verbose=False)
    return fit(make((1, size, size)), Digits(size, seed=seed), updates=updates).eval()


def digits():
    images, labels = real_digits(16)
    return images / 127.5 - 1, labels


def read(images):
    return DigitClassifier()(images.add(1).mul(127.5).round().byte())[1].argmax(1)


def distance_ratio(model, images):
    """How far reconstructions are from their image, against how far from another one: 1 for what knows nothing."""
    again = model.reconstruct(images)
    other = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    own, theirs = ((each - again).flatten(1).norm(dim=1).mean() for each in (images, other))
    return (own / theirs).item()


def codes_kept(model):
    """Mean correlation of latents with the codes of their samples."""
    latent = model.draw_latents(2000, seed=1)
    found = model.encode(model.decode(latent))
    pairs = torch.stack([latent, found], 1).unbind(2)
    return sum(torch.corrcoef(pair.T)[0, 1].item() for pair in pairs) / len(pairs)


def neighbours_agree(model, images, labels):
    """Share of images whose nearest other one in the codes is of the same class."""
    codes = model.encode(images)
    apart = torch.cdist(codes, codes)
    apart.fill_diagonal_(float("inf"))
    return (labels[apart.argmin(1)] == labels).float().mean().item()


def inverts(model, last):
    images, labels = digits()
    agree = (read(model.reconstruct(images)) == labels).float().mean().item()
    return [
        Check("distance of reconstructions", distance_ratio(model, images), 0, 0.85, last[0]),
        Check("correlation of latents and codes", codes_kept(model), 0.3, 1, last[1]),
        Check("reconstructions of the same class", agree, 0.4, 1, last[2]),
        Check("nearest codes of the same class", neighbours_agree(model, images, labels), 0.74, 1, last[3]),
    ]


def bigan():
    return inverts(trained(partial(BiGAN, **BIGAN), 1500), LAST["bigan"])


def ali():
    model = trained(partial(ALI, **DRAWING), 1500)
    with torch.no_grad():
        deviation = model.encoder.law(digits()[0])[1].exp().mean().item()
    return [*inverts(model, LAST["ali"]), Check("deviation of codes", deviation, 0.01, 1, LAST["ali"][4])]


ROWS = {"ali": [ali], "bigan": [bigan]}


@pytest.mark.parametrize("stem", ROWS)
def test_system_learns(stem):
    assert_learns(ROWS[stem])


class Unpaired(BiGAN):
    """The discriminator sees no latents."""

    def judge_pairs(self, images, latents):
        return super().judge_pairs(images, 0 * latents)


def test_without_pairs_nothing_is_inverted():
    model = trained(partial(Unpaired, **BIGAN), 600)
    ratio, kept = distance_ratio(model, digits()[0]), codes_kept(model)
    print(f"ratio {ratio:.3f}, correlation {kept:.3f}")
    assert ratio > 0.9
    assert abs(kept) < 0.2
    assert not passed(inverts(model, LAST["bigan"]))
