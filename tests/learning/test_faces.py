"""Faces apart from their pose, and turned to the front, of drawn people whom training never showed."""

from __future__ import annotations

from functools import cache, partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import seed_everything

from pl_genmodels.callbacks import GeneratorEMA
from pl_genmodels.data import People, TurnedPeople
from pl_genmodels.models.conditional_gan.drgan import DRGAN
from pl_genmodels.models.conditional_gan.ffgan import FFGAN
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.models.schedules import ConstantThenLinear
from pl_genmodels.networks import (
    CodedTranslator,
    ConvDiscriminator,
    ConvEncoder,
    DCGANGenerator,
    EncoderClassifier,
    RotatingGenerator,
)
from tests.learning.bench import Check, assert_learns, fit

pytestmark = pytest.mark.learning

LAST = {  # measured last, in the order of the checks
    "drgan": (0.878, 0.969, 0.660, 1.0, 0.975),
    "ffgan": (0.991, 0.460, 1.67, 1.92),
    "drgan_multi": (0.810, 0.969, 0.665, 1.0, 0.940),
}
CONVOLUTIONS = partial(ConvEncoder, channels=16, hidden_dim=128, activation="leaky_relu")
SHAPE, PEOPLE, HELD_OUT, POSES = (3, 32, 32), 200, 20, 5


def drawn(split, images_per_person=1):
    """All pictures of the people of a split, as a batch."""
    data = People(32, PEOPLE, HELD_OUT, POSES, num_ages=2, images_per_person=images_per_person)
    items = data.load(split)
    return data.on_after_batch_transfer(items.gather(torch.arange(len(items))), 0)


@cache
def held_out(images_per_person=1):
    parts = [drawn(split, images_per_person) for split in ("val", "test")]
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


# ---- judges, who learn from true pictures only


@cache
@torch.enable_grad()
def judge(name, classes):
    """Reads who it is or how turned from true pictures, blurred or not, with 99% right."""
    torch.manual_seed(7)
    batch = drawn("train")
    network = ConvEncoder(SHAPE, classes, channels=16, hidden_dim=128)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(500):
        rows = torch.randint(len(batch["image"]), (100,))
        images = batch["image"][rows]
        images = images + 0.1 * torch.rand(100, 1, 1, 1) * torch.randn_like(images)
        loss = F.cross_entropy(network(images), batch[name][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def read(name, classes, images):
    return judge(name, classes)(images).argmax(1)


def nearest(made, pose, true):
    """Whose true picture in that pose is the nearest, among all people of a batch of true pictures."""
    distances = torch.cdist(made.flatten(1), true["image"].flatten(1))
    distances[pose[:, None] != true["pose"]] = torch.inf
    return true["label"][distances.argmin(1)]


def share(found, wanted):
    return (found == wanted).float().mean().item()


# ---- drgan


class PosesUnheard(DRGAN):
    """Nothing asks the generator for the pose."""

    def generator_terms(self, batch, generated):
        terms = super().generator_terms(batch, generated)
        return {**terms, "pose": 0 * terms["pose"]}


def rotator(model=DRGAN, several=1, updates=2000):
    seed_everything(0, verbose=False)
    networks = {
        "generator": partial(
            RotatingGenerator,
            num_features=64,
            latent_dim=8,
            encoder=CONVOLUTIONS,
            decoder=partial(DCGANGenerator, channels=16),
            weighted=several > 1,
        ),
        "discriminator": CONVOLUTIONS,
    }
    rates = dict.fromkeys(("optimizer_generator", "optimizer_discriminator"), partial(GANAdam, lr=5e-4))
    found = model(SHAPE, num_identities=PEOPLE, num_poses=POSES, **networks, **rates)
    each = {"images_per_person": several, "batch_size": 64 if several == 1 else 32}
    data = People(32, PEOPLE, HELD_OUT, POSES, num_ages=2, **each)
    return fit(found, data, updates=updates, callbacks=[GeneratorEMA(half_life=2000)]).eval()


def turned(model, several=1):
    """Shares of identities and poses that are read off turned pictures, and how far features tell people apart.

    Judges read people who trained. People who did not are named by the nearest of their true pictures in the pose that
    was asked for, of either age; features are judged on them too.
    """
    generator = torch.Generator().manual_seed(1)
    seen, new = drawn("train", several), held_out(several)
    rows = torch.randperm(len(seen["image"]), generator=generator)[:1000]
    wanted = torch.randint(POSES, (1000,), generator=generator)
    made = model.rotate(model.pictures(seen)[rows], wanted, seed=1)
    poses = torch.randint(POSES, (len(new["image"]),), generator=generator)
    again = model.rotate(model.pictures(new), poses, seed=1)
    features = F.normalize(model.encode(model.pictures(new)), dim=1)
    cosines, same = features @ features.T, new["label"][:, None] == new["label"]
    other = same & ~torch.eye(len(same), dtype=torch.bool)
    return {
        "people": share(read("label", PEOPLE, made), seen["label"][rows]),
        "poses": share(read("pose", POSES, made), wanted),
        "cosines": (cosines[other].mean() - cosines[~same].mean()).item(),
        "held-out people": share(nearest(again, poses, new), new["label"]),
        "held-out poses": share(read("pose", POSES, again), poses),
    }


GATES = {"people": 0.7, "poses": 0.65, "cosines": 0.15, "held-out people": 0.8, "held-out poses": 0.65}


def rotates(stem, several=1, updates=2000):
    found = turned(rotator(several=several, updates=updates), several)
    return [
        Check(name, found[name], gate, 1, last) for (name, gate), last in zip(GATES.items(), LAST[stem], strict=True)
    ]


def drgan():
    return rotates("drgan")


def drgan_multi():
    return rotates("drgan_multi", several=3, updates=1200)


# ---- ffgan

COEFFICIENTS = ("yaw", "width", "height", "eyes", "eye_size")
TURNED = {"num_identities": 400, "num_held_out": HELD_OUT, "num_poses": 9, "coefficients": COEFFICIENTS}


class Untold(FFGAN):
    """The generator is told nothing of the head."""

    def regress(self, images):
        return torch.zeros_like(super().regress(images))


def frontaliser(model=FFGAN, updates=2600, falling=600, **arguments):
    """Rates that fall in the end bring the front from 0.496 to 0.460 of the source's distance."""
    seed_everything(0, verbose=False)
    networks = {
        "generator": partial(CodedTranslator, channels=16, num_halvings=1, norm="none", residual=True),
        "regressor": partial(ConvEncoder, channels=16, hidden_dim=128),
        "recogniser": partial(
            EncoderClassifier,
            num_classes=400,
            num_features=64,
            encoder=partial(ConvEncoder, channels=8, hidden_dim=64),
        ),
        "discriminator": partial(ConvDiscriminator, widths=[16, 32, 32]),
    }
    rates = {"optimizer_generator": partial(GANAdam, lr=2e-3), "optimizer_discriminator": partial(GANAdam, lr=1e-3)}
    falls = partial(ConstantThenLinear, constant_epochs=updates, decay_epochs=falling)
    rates |= {"scheduler_generator": falls, "scheduler_discriminator": falls, "scheduler_interval": "step"}
    steps = {"regressor_steps": 1500, "recogniser_steps": 200}
    weights = {"l1_weight": 30.0, "symmetry_weight": 1.0, "adversarial_weight": 0.02}
    weights |= {"identity_weight": 0.01, "feature_weight": 0.01}
    settings = {**networks, **rates, **steps, **weights, **arguments}
    found = model(SHAPE, SHAPE, num_coefficients=len(COEFFICIENTS), **settings)
    data = TurnedPeople(**TURNED, batch_size=32)
    return fit(found, data, updates=updates + falling, callbacks=[GeneratorEMA(half_life=2000)]).eval()


def held_out_pairs():
    data = TurnedPeople(**TURNED)
    parts = [data.load(split) for split in ("val", "test")]
    return data.on_after_batch_transfer(data.read(torch.cat([part.indices for part in parts])), 0)


def frontal(model):
    """How well the regressor knows held-out heads, and distances of sources and of translations from the truth.

    Of translations as they are; and of those whose generator is told of the mean head, and of somebody else's.
    """
    pairs = held_out_pairs()
    told = model.regress(pairs["source"])
    both = zip(told.T, pairs["coefficients"].T, strict=True)
    correlations = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in both])
    order = torch.randperm(len(told), generator=torch.Generator().manual_seed(1))
    network, far = model.sampler["AtoB"], lambda images: (images - pairs["target"]).abs().mean().item()
    with torch.no_grad():
        nobody, another = (far(network(pairs["source"], other)) for other in (0 * told, told[order]))
    made = far(model.translate(pairs["source"]))
    return {"coefficients": correlations.min().item(), "source": far(pairs["source"]), "made": made} | {
        "nobody": nobody,
        "another": another,
    }


def ffgan():
    """Half of the source's distance, and what the generator does when it is told of another head."""
    found, last = frontal(frontaliser()), LAST["ffgan"]
    return [
        Check("least correlation of coefficients", found["coefficients"], 0.95, 1, last[0]),
        Check("distance over the source's", found["made"] / found["source"], 0, 0.5, last[1]),
        Check("distance told of nobody over distance", found["nobody"] / found["made"], 1.2, last=last[2]),
        Check("distance told of another over distance", found["another"] / found["made"], 1.2, last=last[3]),
    ]


ROWS = {"drgan": [drgan], "drgan_multi": [drgan_multi], "ffgan": [ffgan]}


@pytest.mark.parametrize("stem", ROWS)
def test_system_learns(stem):
    assert_learns(ROWS[stem])


def test_without_its_term_nobody_turns_as_asked():
    found = turned(rotator(PosesUnheard))
    print(found)
    assert found["poses"] <= 0.35
    assert found["held-out poses"] <= 0.35


def test_without_coefficients_the_front_is_farther():
    found = frontal(frontaliser(Untold))
    print(found)  # 0.704 of the source's distance after 2,600 updates, of which the right one leaves 0.496
    assert found["made"] / found["source"] >= 0.6
