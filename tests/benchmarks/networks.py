"""The DCGAN that the figures are told for."""

from __future__ import annotations

from functools import partial

import torch

from pl_genmodels.models.gan.dcgan import DCGAN
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator

BATCH = 64
CHANNELS = {32: 32, 64: 64}  # by image size; 64 at 64x64 is the widespread width, of 3,576,704 generator parameters


def dcgan(size, device, **options):
    networks = {
        "generator": partial(DCGANGenerator, channels=CHANNELS[size]),
        "discriminator": partial(DCGANDiscriminator, channels=CHANNELS[size]),
    }
    return DCGAN((3, size, size), **networks, **options).to(device)


def images(size):
    return torch.rand(BATCH, 3, size, size) * 2 - 1


def setting(size):
    return f"DCGAN {size}x{size}, {CHANNELS[size]} channels, batch {BATCH}"
