"""What a blending network learns of the light around a pasted part, and what large gradients add to its colours."""

from __future__ import annotations

import math

import pytest
import torch

from pl_genmodels.data.composites import relit
from pl_genmodels.editing import blend, composite
from tests.learning.bench import Check, passed
from tests.learning.test_translation import from_config, held_out

pytestmark = pytest.mark.learning

LAST = (6.31, 8.14, 1.83, 17.2)  # measured last, in the order of the checks
SHORT = ("--trainer.max_epochs", "6")


def square(images):
    first = images.shape[-1] // 4
    return images[..., first : 3 * first, first : 3 * first]


def decibels(model, pairs):
    """PSNR in the square of copy and paste, Poisson blending, the network alone and the whole blending."""
    target = pairs["target"]
    light = relit((target + 1).mul(127.5).round().byte(), 0.5, torch.Generator().manual_seed(0)) / 127.5 - 1
    mask = torch.zeros(1, *target.shape[2:])
    square(mask)[:] = 1
    pasted = composite(light, target, mask)
    made = [pasted, blend(light, target, mask), model.translate(pasted), blend(light, target, mask, model)]
    return [10 * math.log10(4 / float(square(images - target).square().mean())) for images in made]


def test_gpgan_takes_the_light_from_the_background():
    model, data = from_config("gpgan", *SHORT)
    pairs = held_out(data)
    pasted, poisson, network, blended = decibels(model, pairs)
    twin, _ = from_config("gpgan", *SHORT, "--model.init_args.l2_weight", "0")
    without = decibels(twin, pairs)
    # not a gate: smooth changes of light are what Poisson blending, which knows the border, undoes without a network
    print(f"Poisson blending without a network: {poisson:.4g} dB")
    print(f"twin without L2: network {without[2]:.4g} dB, blending {without[3]:.4g} dB")
    checks = [
        Check("dB of the network over copy and paste", network - pasted, 3, 30, LAST[0]),
        Check("dB of the blending over copy and paste", blended - pasted, 6, 30, LAST[1]),
        Check("dB of the blending over the network", blended - network, 1, 30, LAST[2]),
        Check("dB of the blending over the twin without L2", blended - without[3], 3, 30, LAST[3]),
    ]
    print(*checks, sep="\n")
    assert passed(checks)
