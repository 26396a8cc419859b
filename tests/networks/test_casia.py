"""CASIA-Net and its mirror image: the paper's layers, and any smaller ones."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from pl_genmodels.networks import CASIAEncoder, CASIAGenerator
from pl_genmodels.specs import to_spec

SMALL = [[4], [6, 5]]


def shapes_after_convolutions(network, given, kind):
    """Channels and side after each convolution and the crop behind it."""
    found = []
    layers = list(network.layers)
    for place, layer in enumerate(layers):
        if isinstance(layer, kind):
            behind = layers[place + 1] if type(layers[min(place + 1, len(layers) - 1)]).__name__ == "_Crop" else layer
            behind.register_forward_hook(lambda module, args, out: found.append((out.shape[1], out.shape[2])))
    network(given)
    return found


PAPER = [(96, (32, 64)), (48, (64, 64, 128)), (24, (128, 96, 192)), (12, (192, 128, 256)), (6, (256, 160, 320))]


def test_the_papers_layers():
    encoder = CASIAEncoder((3, 96, 96), 320).eval()
    wanted = [(width, side) for side, widths in PAPER for width in widths]
    assert shapes_after_convolutions(encoder, torch.zeros(1, 3, 96, 96), nn.Conv2d) == wanted
    generator = CASIAGenerator((3, 96, 96), 320 + 9 + 50).eval()
    wanted = [*((width, side) for side, widths in reversed(PAPER) for width in reversed(widths)), (3, 96)][1:]
    assert shapes_after_convolutions(generator, torch.zeros(1, 379), nn.ConvTranspose2d) == wanted
    widths = [3, *(width for _, several in PAPER for width in several)]
    convolutions = sum(9 * before * after for before, after in pairwise(widths))
    assert sum(p.numel() for p in encoder.parameters()) == convolutions + 2 * sum(widths[1:]) == 2_861_984
    judge = CASIAEncoder((3, 96, 96), 201 + 9, linear=320)
    assert sum(p.numel() for p in judge.parameters()) == 2_861_984 + 321 * 210
    assert encoder.layers[0].weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_small_ones_reach_every_pixel():
    encoder, generator = CASIAEncoder((3, 10, 10), 7, SMALL), CASIAGenerator((3, 10, 10), 7, SMALL, top=8)
    image = torch.randn(2, 3, 10, 10, requires_grad=True)
    code = encoder.eval()(image)
    assert code.shape == (2, 7)
    (gradient,) = torch.autograd.grad(code[0].sum(), image)
    assert gradient[0].any(0).all(), "every pixel counts"
    assert not gradient[1].any()
    made = generator.eval()(code)
    assert made.shape == (2, 3, 10, 10)
    assert made.abs().max() <= 1
    assert made.flatten(2).std(2).min() > 0


def test_specs_leave_out_what_a_model_supplies():
    spec = to_spec(CASIAEncoder((3, 10, 10), 7, SMALL, linear=4))["init_args"]
    assert spec == {"stages": SMALL, "linear": 4}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: CASIAEncoder((3, 8, 8), 7), "got images of 8x8 and linear=0, allowed are sides of 16 or more"),
        (lambda: CASIAEncoder((3, 8, 8), 7, [[4], []]), r"got stages \[\[4\], \[\]\]"),
        (lambda: CASIAGenerator((3, 24, 24)), "got images of 24x24, allowed are multiples of 16"),
        (lambda: CASIAEncoder((4,), 7), "allowed are pictures"),
    ],
)
def test_what_does_not_fit_is_told(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
