"""Translation models small enough that a whole run is a unit test."""

from __future__ import annotations

from functools import partial

import torch

from pl_genmodels.models.translation.cyclegan import CycleGAN
from pl_genmodels.models.translation.pix2pix import Pix2Pix
from pl_genmodels.networks import (
    MLPDiscriminator,
    MLPTranslator,
    PatchDiscriminator,
    ResNetTranslator,
    UNetTranslator,
)

SHAPE = (3, 16, 16)
CRITIC = partial(PatchDiscriminator, channels=4, num_layers=1)


def cyclegan(source_shape=SHAPE, target_shape=SHAPE, **arguments):
    """Two residual networks of a few channels; the same weights every time."""
    torch.manual_seed(0)
    networks = {"generator": partial(ResNetTranslator, channels=4, num_blocks=1), "discriminator": CRITIC}
    return CycleGAN(source_shape, target_shape, **{**networks, **arguments})


def pix2pix(source_shape=SHAPE, target_shape=SHAPE, **arguments):
    """A U-Net of a few channels; the same weights every time."""
    torch.manual_seed(0)
    networks = {"generator": partial(UNetTranslator, channels=4, num_halvings=3), "discriminator": CRITIC}
    return Pix2Pix(source_shape, target_shape, **{**networks, **arguments})


def rings(**arguments):
    """CycleGAN of points."""
    torch.manual_seed(0)
    networks = {
        "generator": partial(MLPTranslator, hidden_dim=8, num_layers=1),
        "discriminator": partial(MLPDiscriminator, hidden_dim=8, num_layers=1),
    }
    return CycleGAN((2,), (2,), **networks, **arguments)
