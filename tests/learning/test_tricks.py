"""What the cures for an unstable game do, against their own gates: rows as in `test_gan.py`."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.layers import BatchSimilarity, InstanceNoise
from pl_genmodels.models.gan.ganhacks import GANHacks
from pl_genmodels.models.gan.minibatch_discrimination import MinibatchDiscrimination
from pl_genmodels.models.gan.noisy_labels import NoisyLabels
from pl_genmodels.models.gan.unrolled_gan import UnrolledGAN
from pl_genmodels.networks import MLPGenerator, NoisyGenerator
from tests.learning.bench import Check, assert_learns, every, near, ring8
from tests.learning.solvable import dirac_distances
from tests.learning.test_gan import POINTS, fit_logits, on_a_grid
from tests.learning.test_objectives import ring

pytestmark = pytest.mark.learning


# ---- noisy_labels


def noisy_optimum(flip, last):
    """D* = (r_r p + r_f q) / (p + q) with the mean labels after flips."""
    model = fit_logits(partial(NoisyLabels, flip_probability=flip))
    logits, log_ratio = on_a_grid(model)
    of_real, of_fake = 0.95 + flip * (0.15 - 0.95), 0.15 + flip * (0.95 - 0.15)
    share = log_ratio.sigmoid()
    wanted = of_real * share + of_fake * (1 - share)
    return Check(f"largest |D - D*| at rho {flip}", (logits.sigmoid() - wanted).abs().max().item(), 0, 0.03, last)


def noisy_optima():
    return [noisy_optimum(0.0, 0.0063), noisy_optimum(0.1, 0.0074)]


def smoothed_optimum():
    """One-sided smoothing of 0.9: D* = 0.9 p / (p + q)."""
    smoothing = {"real": (0.9, 0.9), "fake": (0.0, 0.0), "flip_probability": 0.0}
    logits, log_ratio = on_a_grid(fit_logits(partial(NoisyLabels, **smoothing)))
    return [
        Check("largest |D - .9 p/(p+q)|", (logits.sigmoid() - 0.9 * log_ratio.sigmoid()).abs().max(), 0, 0.03, 0.0047)
    ]


# ---- unrolled_gan


def unrolled_dirac():
    """K steps ahead contract the game that goes round in circles; the discriminator plays first."""
    still = dirac_distances(partial(UnrolledGAN, unrolled_steps=0), 100)
    five = dirac_distances(partial(UnrolledGAN, unrolled_steps=5), 100)
    return [
        Check("distance after 100, K = 5", five[100], 0.25, 0.40, 0.3003),
        near("distance after 100, K = 0", still[100], 1.3775, 1e-3, 1.37747),
    ]


# ---- minibatch_discrimination


@torch.no_grad()
def similarity_counts():
    """Eight identical rows are alike seven times each, rows far apart not at all."""
    torch.manual_seed(0)
    layer = BatchSimilarity(6, num_kernels=4, kernel_dim=3)
    nn.init.normal_(layer.project.weight)
    same, far = (layer(rows) - layer.bias for rows in (torch.randn(1, 6).expand(8, 6), 1e3 * torch.randn(8, 6)))
    return [
        near("largest sum over identical rows", same.max().item(), 7, 0, 7),
        near("least sum over identical rows", same.min().item(), 7, 0, 7),
        near("largest sum over rows far apart", far.max().item(), 0, 1e-6, 0),
    ]


COMPARING = {"num_kernels": 4, "kernel_dim": 3}

# ---- ganhacks: items 2, 3, 5, 6, 8 and 13 at once

LEAKY = {**POINTS, "generator": partial(MLPGenerator, latent_dim=2, hidden_dim=128, activation="leaky_relu")}
HACKED = {
    **LEAKY,
    "generator": partial(NoisyGenerator, generator=LEAKY["generator"], dropout=0.0, std=0.05),
    "augmentations": [InstanceNoise(0.1, decay_images=128_000)],
}


def hacked_ring(last=((0.694, 0.0075, 1500), (0.626, 0.0489, 1500)), seeds=(0, 1), **options):
    return every(seeds, lambda seed: ring8(partial(GANHacks, **HACKED), last=last[seed], seed=seed, **options))


ROWS = {
    "ganhacks": [hacked_ring],
    "minibatch_discrimination": [
        similarity_counts,
        partial(ring, partial(MinibatchDiscrimination, **COMPARING), [(0.623, 0.0470, 500), (0.621, 0.0270, 1000)]),
    ],
    "noisy_labels": [
        noisy_optima,
        smoothed_optimum,
        partial(ring, NoisyLabels, [(0.766, 0.0028, 1000), (0.776, 0.0055, 1000)]),
    ],
    "unrolled_gan": [unrolled_dirac],
}


@pytest.mark.parametrize("stem", ROWS)
def test_trick_helps(stem):
    assert_learns(ROWS[stem])
