"""What the tricks that any GAN may take add to a step."""

from __future__ import annotations

from functools import partial
from statistics import median

import pytest

from pl_genmodels.layers import DiffAugment, InstanceNoise
from pl_genmodels.losses import LabelNoise, LeCam, NonSaturating
from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.models.gan.unrolled_gan import UnrolledGAN
from pl_genmodels.models.optimizers import HistoricalAdam
from pl_genmodels.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    MinibatchDiscriminator,
    PackedDiscriminator,
    VirtualBatchNormGenerator,
)
from tests.benchmarks.networks import CHANNELS, images, setting
from tests.benchmarks.timing import seconds_a_step

SIZE = 32
G, D = partial(DCGANGenerator, channels=CHANNELS[SIZE]), partial(DCGANDiscriminator, channels=CHANNELS[SIZE])
TRICKS = {  # options of the model, and the bound
    "label noise": ({"loss": LabelNoise(NonSaturating())}, "<= 1.05"),
    "instance noise": ({"augmentations": [InstanceNoise(0.1, 1000)]}, "<= 1.05"),
    "replay": ({"replay_size": 512}, "<= 1.05"),
    "historical averaging": (
        {"optimizer_generator": HistoricalAdam, "optimizer_discriminator": HistoricalAdam},
        "<= 1.05",
    ),
    "LeCam": ({"loss": LeCam(NonSaturating())}, ""),
    "DiffAugment": ({"augmentations": [DiffAugment()]}, ""),
    "packing": ({"discriminator": partial(PackedDiscriminator, discriminator=D)}, ""),
    "minibatch discrimination": ({"discriminator": partial(MinibatchDiscriminator, discriminator=D)}, ""),
    "virtual batch norm": ({"generator": partial(VirtualBatchNormGenerator, generator=G)}, ""),
    "unrolled, five steps": ({"model": partial(UnrolledGAN, unrolled_steps=5)}, ""),
}


@pytest.mark.benchmark
@pytest.mark.parametrize("what", TRICKS)
def test_what_a_trick_costs(what, tmp_path, device, measured):
    options, bound = TRICKS[what]
    kinds = {"model": GAN, "generator": G, "discriminator": D}
    chosen = {**kinds, **options}
    plain, with_trick = (each.pop("model")((3, SIZE, SIZE), **each).to(device) for each in (kinds, chosen))
    ratios = []
    for _ in range(7):
        batches = [{"image": images(SIZE).to(device)} for _ in range(4)]
        time = seconds_a_step(with_trick, batches, tmp_path, device)
        ratios.append(time / seconds_a_step(plain, batches, tmp_path, device))
    row = measured(f"trick/{what}", what, "plain GAN", median(ratios), bound, unit="time", setting=setting(SIZE))
    assert row.holds
