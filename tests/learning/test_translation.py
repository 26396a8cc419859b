"""Image translation learns what the papers say: what is kept on the way, and how near it comes where pairs exist.

Each check holds its bounds and what was measured last; run with `-m learning -rP` to see the new figures.
"""

from __future__ import annotations

import warnings
from functools import cache, partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import seed_everything
from torch import nn

from pl_genmodels.callbacks import GeneratorEMA
from pl_genmodels.cli import GenerativeCLI
from pl_genmodels.data import Digits, DigitsToColour, RingToRing
from pl_genmodels.metrics import mode_coverage
from pl_genmodels.models.optimizers import DualGANRMSprop, GANAdam
from pl_genmodels.models.schedules import ConstantThenLinear
from pl_genmodels.models.translation.cyclegan import CycleGAN
from pl_genmodels.models.translation.discogan import DiscoGAN
from pl_genmodels.models.translation.dualgan import DualGAN
from pl_genmodels.networks import DCGANDiscriminator, EncoderDecoderTranslator, MLPDiscriminator, MLPTranslator
from tests.conftest import ROOT
from tests.learning.bench import Check, fit, passed

pytestmark = pytest.mark.learning


def from_config(stem, *options):
    """Model and data of a config, trained as its file says but for the options, and averaged if it says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = ROOT / "configs" / f"{stem}.yaml"
        cli = GenerativeCLI(["--config", str(path), "--trainer.logger", "false", *options], run=False)
    averaging = [callback for callback in cli.trainer.callbacks if isinstance(callback, GeneratorEMA)]
    return fit(cli.model, cli.datamodule, epochs=cli.trainer.max_epochs, callbacks=averaging), cli.datamodule


def held_out(data):
    """Pairs that no training batch held, in [-1, 1]."""
    parts = [data.load(split).tensors for split in ("val", "test")]
    joined = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    return {key: value if key == "label" else value / 127.5 - 1 for key, value in joined.items()}


# ---- CycleGAN: the digit is kept


def digit_reader(images, labels, steps):
    """A classifier of the digits of one domain."""
    size = images.shape[-1]
    torch.manual_seed(0)
    halvings = [nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.ReLU()) for a, b in ((3, 32), (32, 64), (64, 64))]
    network = nn.Sequential(*halvings, nn.Flatten(), nn.Linear(64 * (size // 8) ** 2, 10))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(steps):
        rows = torch.randint(len(images), (64,))
        batch = images[rows] / 127.5 - 1 + 0.05 * torch.randn(64, *images.shape[1:])
        loss = F.cross_entropy(network(batch.roll(torch.randint(-1, 2, (2,)).tolist(), (2, 3))), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.requires_grad_(False).eval()


@cache
def digit_readers(size, brightness, patches_per_digit=4):
    """Of plain and of coloured digits; the order of the classes is what training does not see."""
    images = DigitsToColour(size, brightness=brightness).load("train").tensors
    labels = Digits(size).load("train").tensors["label"]
    of_source = digit_reader(images["source"], labels[::2], 600)
    return of_source, digit_reader(images["target"], labels[1::2].repeat(patches_per_digit), 1000)


def digits_kept(model, data):
    """Share of held-out digits that are read as what they were, to colour and back to black."""
    pairs = held_out(data)
    readers = digit_readers(data.source_shape[-1], data.brightness)

    def share(reader, images):
        return float((reader(images).argmax(1) == pairs["label"]).float().mean())

    for reader, domain in zip(readers, ("source", "target"), strict=True):
        assert share(reader, pairs[domain]) >= 0.93, "the reader cannot read true digits"
    there = share(readers[1], model.translate(pairs["source"]))
    return there, share(readers[0], model.translate(pairs["target"], "BtoA"))


def test_cyclegan_keeps_the_digit():
    there, back = digits_kept(*from_config("cyclegan"))
    alone = digits_kept(*from_config("cyclegan", "--model.init_args.cycle_weight", "0"))
    checks = [
        Check("digit kept in colour", there, 0.85, 1, LAST["cyclegan"][0]),
        Check("digit kept in black", back, 0.85, 1, LAST["cyclegan"][1]),
        Check("fall in colour without cycles", there - alone[0], 0.2, 1, LAST["cyclegan"][2]),
        Check("fall in black without cycles", back - alone[1], 0.2, 1, LAST["cyclegan"][3]),
    ]
    print(*checks, sep="\n")
    assert passed(checks)


# ---- pix2pix: near the true target


def psnr(images, others):
    """Mean over pictures, in dB; the range is 2."""
    return float((10 * torch.log10(4 / (images - others).square().flatten(1).mean(1))).mean())


def test_pix2pix_comes_nearer_than_its_twin_without_l1_and_than_copying():
    model, data = from_config("pix2pix")
    pairs = held_out(data)
    twin, _ = from_config("pix2pix", "--model.init_args.l1_weight", "0")
    source, target = pairs["source"], pairs["target"]
    ours, theirs = (torch.cat([each.translate(part, seed=0) for part in source.split(64)]) for each in (model, twin))
    mean = data.load("train").tensors["target"].float().mean(0) / 127.5 - 1
    checks = [
        Check("dB over the twin without L1", psnr(ours, target) - psnr(theirs, target), 1, 20, LAST["pix2pix"][0]),
        Check("dB over copying", psnr(ours, target) - psnr(source, target), 1, 20, LAST["pix2pix"][1]),
        Check("L1 over that of the mean", float((ours - target).abs().mean() / (mean - target).abs().mean()), 0, 0.7,
              LAST["pix2pix"][2]),
    ]  # fmt: skip
    print(*checks, sep="\n")
    assert passed(checks)


# ---- points: a ring and the ring turned

SIGMA = 0.1
POINTS = {
    "generator": partial(MLPTranslator, hidden_dim=128),
    "discriminator": partial(MLPDiscriminator, hidden_dim=128),
    "optimizer_generator": partial(GANAdam, lr=1e-3),
    "optimizer_discriminator": partial(GANAdam, lr=1e-3),
    "scheduler_generator": None,
    "scheduler_discriminator": None,
}


def rings(make, updates=1500):
    """Modes that are covered, images of the modes that are distinct, and the cycle's error."""
    seed_everything(0, verbose=False)
    data = RingToRing(num_samples=100_000, sigma=SIGMA, batch_size=256)
    model = fit(make(), data, updates=updates)
    points = data.load("val").tensors["source"][:2500]
    there = model.translate(points)
    covered = mode_coverage(there, data.centers, SIGMA)["modes"]
    images = torch.cdist(model.translate(data.source_centers), data.centers).argmin(1)
    cycle = float((model.reconstruct(points) - points).abs().mean())
    return covered, len(images.unique()), cycle


def test_cyclegan_turns_a_ring_one_to_one():
    covered, distinct, cycle = rings(partial(CycleGAN, **POINTS, identity_weight=0.0, pool_size=0))
    *_, without = rings(partial(CycleGAN, **POINTS, identity_weight=0.0, pool_size=0, cycle_weight=0.0))
    checks = [
        Check("modes covered", covered, 8, 8, LAST["ring"][0]),
        Check("distinct images of the modes", distinct, 8, 8, LAST["ring"][1]),
        Check("cycle L1", cycle, 0, 0.15, LAST["ring"][2]),
        Check("cycle L1 of plain GANs", without, 0.5, 10, LAST["ring"][3]),
    ]
    print(*checks, sep="\n")
    assert passed(checks)


# ---- DiscoGAN and DualGAN on the rings

FALLING = partial(ConstantThenLinear, constant_epochs=1500, decay_epochs=1500)
RECONSTRUCTED = {
    **POINTS,
    "scheduler_generator": FALLING,
    "scheduler_discriminator": FALLING,
    "scheduler_interval": "step",
    "adversarial_weight": 1.0,
    "feature_weight": 0.0,
    "reconstruction_weight": 1.0,
    "curriculum_updates": 0,
}


def test_discogan_turns_a_ring_one_to_one():
    covered, distinct, cycle = rings(partial(DiscoGAN, **RECONSTRUCTED), updates=3000)
    *_, without = rings(partial(DiscoGAN, **{**RECONSTRUCTED, "reconstruction_weight": 0.0}), updates=1000)
    checks = [
        Check("modes covered", covered, 8, 8, LAST["discogan ring"][0]),
        Check("distinct images of the modes", distinct, 8, 8, LAST["discogan ring"][1]),
        Check("cycle L1", cycle, 0, 0.05, LAST["discogan ring"][2]),
        Check("cycle L1 of plain GANs", without, 0.5, 10, LAST["discogan ring"][3]),
    ]
    print(*checks, sep="\n")
    assert passed(checks)


def test_dualgan_turns_a_ring_and_back():
    rmsprop = partial(DualGANRMSprop, lr=5e-4)
    options = {"optimizer_generator": rmsprop, "optimizer_discriminator": rmsprop, "clip": 0.1, "critic_steps": 3}
    networks = {name: POINTS[name] for name in ("generator", "discriminator")}
    make = partial(DualGAN, **networks, **options)
    covered, _, cycle = rings(partial(make, source_weight=20.0, target_weight=20.0))
    *_, without = rings(partial(make, source_weight=0.0, target_weight=0.0), updates=500)
    checks = [
        Check("modes covered", covered, 6, 8, LAST["dualgan ring"][0]),
        Check("cycle L1", cycle, 0, 0.15, LAST["dualgan ring"][1]),
        Check("cycle L1 without recovery", without, 0.5, 10, LAST["dualgan ring"][2]),
    ]
    print(*checks, sep="\n")
    assert passed(checks)


# ---- DiscoGAN: the angle is kept


def grid(size):
    side = torch.arange(size) - size / 2 + 0.5
    return torch.meshgrid(side, side, indexing="ij")


def ellipses(number, channel, size=16):
    """Ellipses of one colour on black at random angles, (B, 3, H, W), and the angles in radians."""
    angles = torch.rand(number) * torch.pi
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
    rows, columns = grid(size)
    along, across = columns * cos + rows * sin, rows * cos - columns * sin
    distance = ((along / 6.5) ** 2 + (across / 2.5) ** 2).sqrt()
    images = torch.full((number, 3, size, size), -1.0)
    images[:, channel] = 2 * (3.5 - 3 * distance).clamp(0, 1) - 1
    return images, angles


def angle_of(images):
    """Direction of the longer axis, by the moments of what is not black."""
    mass, (rows, columns) = (images + 1).sum(1), grid(images.shape[-1])
    return 0.5 * torch.atan2(2 * (mass * rows * columns).sum((1, 2)), (mass * (columns**2 - rows**2)).sum((1, 2)))


def angle_error(found, true):
    """Median in degrees, but for an offset that all share; angles repeat after 180."""
    doubled = 2 * (found - true)
    shared = torch.atan2(doubled.sin().mean(), doubled.cos().mean())
    left = (doubled - shared + torch.pi).remainder(2 * torch.pi) - torch.pi
    return float(torch.rad2deg(left.abs() / 2).median())


class TwoColours:
    """Unpaired batches of red and of blue ellipses."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return self.batches

    def __iter__(self):
        return ({"source": ellipses(64, 0)[0], "target": ellipses(64, 2)[0]} for _ in range(self.batches))


def test_discogan_keeps_the_angle():
    seed_everything(0, verbose=False)
    networks = {
        "generator": partial(EncoderDecoderTranslator, channels=16, num_halvings=2),
        "discriminator": partial(DCGANDiscriminator, channels=16),
    }
    model = DiscoGAN((3, 16, 16), (3, 16, 16), **networks, curriculum_updates=60)
    fit(model, TwoColours(600), epochs=1)
    checks = []
    for direction, channel, last in (("AtoB", 0, LAST["angle"][0]), ("BtoA", 2, LAST["angle"][1])):
        images, angles = ellipses(500, channel)
        assert angle_error(angle_of(images), angles) < 1
        translated = model.translate(images, direction)
        checks.append(Check(f"angle {direction}", angle_error(angle_of(translated), angles), 0, 15, last))
        means = translated.mean((0, 2, 3))
        other = Check(f"colour {direction}", float(means[2 - channel] - means[channel]), 0.2, 2, LAST["angle"][2])
        checks.append(other)
    print(*checks, sep="\n")
    assert passed(checks)


LAST = {
    "cyclegan": (0.993, 0.929, 0.902, 0.828),
    "pix2pix": (8.45, 11.4, 0.410),
    "ring": (8, 8, 0.046, 1.95),
    "discogan ring": (8, 8, 0.003, 2.49),
    "dualgan ring": (8, 0.056, 1.68),
    "angle": (2.79, 2.53, 0.29),
}
