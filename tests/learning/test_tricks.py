"""What the cures for an unstable game do, against their own gates, and what those gates can see."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pl_genmodels.losses import LabelNoise
from pl_genmodels.models.gan import unrolled_gan
from pl_genmodels.models.gan.noisy_labels import NoisyLabels
from pl_genmodels.models.gan.unrolled_gan import UnrolledGAN
from pl_genmodels.models.lookahead import Lookahead
from tests.learning.bench import Check, near, passed, ring8
from tests.learning.solvable import dirac_distances
from tests.learning.test_gan import POINTS, fit_logits, on_a_grid

pytestmark = pytest.mark.learning


def both_rings(make, last, **options):
    """The ring is learnt from two seeds of two."""
    return [check for seed in (0, 1) for check in ring8(make, last=last[seed], seed=seed, **options)]


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


ROWS = {
    "noisy_labels": [
        noisy_optima,
        smoothed_optimum,
        partial(both_rings, partial(NoisyLabels, **POINTS), [(0.766, 0.0028, 1000), (0.776, 0.0055, 1000)]),
    ],
    "unrolled_gan": [unrolled_dirac],
}


@pytest.mark.parametrize("stem", ROWS)
def test_trick_helps(stem):
    checks = [check for experiment in ROWS[stem] for check in experiment()]
    print(*checks, sep="\n")
    assert passed(checks), "; ".join(str(check) for check in checks if not check.passed)


# ---- broken


def flipped_images(self, logits, usual, other):
    """No flips at all."""
    return usual[0] + (usual[1] - usual[0]) * torch.rand_like(logits)


class Detached(Lookahead):
    """First order only."""

    def step(self, gradients):
        super().step({name: gradient.detach() for name, gradient in gradients.items()})


BREAKAGES = {
    "noisy_labels-without-flips": (noisy_optima, LabelNoise, "_draw", flipped_images),
    "unrolled_gan-detached": (unrolled_dirac, unrolled_gan, "Lookahead", Detached),
    "unrolled_gan-not-ahead": (unrolled_dirac, unrolled_gan.UnrolledGAN, "_gradients", lambda self, values, *_: {}),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_breakage_is_caught(name, monkeypatch):
    experiment, *patch = BREAKAGES[name]
    monkeypatch.setattr(*patch)
    checks = experiment()
    print(*checks, sep="\n")
    assert not passed(checks)
