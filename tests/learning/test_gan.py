"""The GANs learn what their papers say.

One row a system: the experiments of its acceptance. Each check holds its bounds and what was measured last; run with
`-m learning -rP` to see the new figures. `test_gan_breakages.py` shows what the rows can see.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.losses import SpectralNorm, Wasserstein
from pl_genmodels.models.gan.dcgan import DCGAN
from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.models.gan.gan_minimax import GANMinimax
from pl_genmodels.models.gan.geometric_gan import GeometricGAN
from pl_genmodels.models.gan.lsgan import LSGAN
from pl_genmodels.models.gan.r3gan import R3GAN
from pl_genmodels.models.gan.wgan import WGAN
from pl_genmodels.models.gan.wgan_gp import WGANGP
from pl_genmodels.models.optimizers import CriticAdam, GANAdam, WGANRMSprop
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator
from tests.learning.bench import (
    Check,
    CountSteps,
    EachBatch,
    Stream,
    assert_learns,
    best_of,
    digits,
    fit,
    near,
    ring8,
)
from tests.learning.solvable import (
    Normal,
    dirac_distances,
    expected_discriminator_loss,
    fit_against_normal,
    gap,
    quantiles,
)

pytestmark = pytest.mark.learning

LINEAR = partial(MLPDiscriminator, num_layers=0)
SMALL = partial(MLPDiscriminator, hidden_dim=64)


# ---- the optimal discriminator between N(0, 1) and N(1, 1.2^2)


def fit_logits(make, **arguments):
    return fit_against_normal(make, discriminator=SMALL, optimizer_discriminator=partial(GANAdam, lr=3e-3), **arguments)


def on_a_grid(model):
    """Logits on [-2, 3], and what p and q say there: log p/q, (N,) each."""
    points = torch.linspace(-2, 3, 501)
    p, q = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(1.0, 1.2)
    with torch.no_grad():
        return model.judge(points[:, None]), p.log_prob(points) - q.log_prob(points)


def equilibrium(make, value, last, **arguments):
    """Loss of a discriminator that has nothing to tell apart."""
    model = fit_logits(partial(make, **arguments), shift=0.0, scale=1.0, batches=300, epochs=10)
    points = quantiles()
    return near("D loss at P = Q", expected_discriminator_loss(model, points, points), value, 0.01, last)


def generator_gradient(make, logit):
    """Derivative of the generator's loss with respect to the logit of a generated sample."""
    model = make((1,), generator=Normal, discriminator=LINEAR)
    model.discriminator.requires_grad_(False).layers[0].weight.fill_(1.0)
    model.discriminator.layers[0].bias.zero_()
    image = torch.full((1, 1), float(logit), requires_grad=True)
    terms = model.generator_terms({"image": torch.zeros(1, 1)}, {"image": image})
    terms["adversarial"].sum().backward()
    return image.grad.item()


# ---- the ring and the digits

ADAM = partial(GANAdam, lr=1e-3)
POINTS = {
    "image_shape": (2,),
    "generator": partial(MLPGenerator, latent_dim=2, hidden_dim=128),
    "discriminator": partial(MLPDiscriminator, hidden_dim=128),
    "optimizer_generator": ADAM,
    "optimizer_discriminator": ADAM,
}
RMSPROP = partial(WGANRMSprop, lr=5e-4)
CLIPPED = {"optimizer_generator": RMSPROP, "optimizer_discriminator": RMSPROP, "clip": 0.1, "warmup_updates": 0}
WITH_GAIN = {"discriminator": partial(MLPDiscriminator, hidden_dim=128, gain=10.0), "constraints": [SpectralNorm()]}

RINGS = {
    "gan": {"make": partial(GAN, **POINTS), "last": (0.829, 0.0099, 1000)},
    "gan_minimax": {"make": partial(GANMinimax, **POINTS), "last": (0.766, 0.0027, 1000)},
    "lsgan": {"make": partial(LSGAN, **POINTS), "last": (0.768, 0.0132, 1000)},
    "wgan": {"make": partial(WGAN, **{**POINTS, **CLIPPED}), "high_quality": 0.4, "last": (0.624, 0.0912, 2500)},
    "wgan_gp": {"make": partial(WGANGP, **POINTS, gradient_penalty_weight=0.1), "last": (0.688, 0.0037, 1000)},
    "geometric_gan": {"make": partial(GeometricGAN, **{**POINTS, **WITH_GAIN}), "last": (0.610, 0.0059, 1000)},
    "r3gan": {"make": partial(R3GAN, **POINTS, gamma=1.0), "last": (0.732, 0.0046, 1500)},
}

FLAT = {
    "image_shape": (1, 8, 8),
    "generator": partial(MLPGenerator, latent_dim=32, batch_norm=True),
    "discriminator": MLPDiscriminator,
}
# At 2e-4 for both, the paper's rate, recall is 0.01 to 0.05 after 1,500 updates, and so it is in a plain loop without
# this package's modules: the setting fails there, not the code.
TWO_SPEEDS = {
    "optimizer_generator": partial(GANAdam, lr=4e-4),
    "optimizer_discriminator": partial(GANAdam, lr=5e-5),
}
CONVOLUTIONS = {
    "image_shape": (1, 16, 16),
    "generator": partial(DCGANGenerator, channels=32),
    "discriminator": partial(DCGANDiscriminator, channels=32),
}

DIGITS = {
    "dcgan": {
        "make": partial(DCGAN, **CONVOLUTIONS, **TWO_SPEEDS),
        "side": 16,
        "batch_size": 64,
        "updates": 1500,
        "last": (0.838, 0.306, 0.517, 0.015),
    },
    "lsgan": {"make": partial(LSGAN, **FLAT), "updates": 2000, "last": (0.859, 0.456, 0.604, 0.046)},
    "r3gan": {
        "make": partial(R3GAN, **{**FLAT, "generator": partial(MLPGenerator, latent_dim=32)}),
        "updates": 2500,
        "last": (0.653, 0.343, 0.598, 0.012),
    },
}


def ring(stem, seeds=(0, 1), **options):
    return best_of(seeds, lambda seed: ring8(**{**RINGS[stem], **options}, seed=seed))


def handwriting(stem, **options):
    return digits(**{**DIGITS[stem], **options})


# ---- gan, gan_minimax


def gan_optimum():
    model = fit_logits(GAN)
    points = quantiles()
    value = -expected_discriminator_loss(model, points, 1 + 1.2 * points)
    logits, log_ratio = on_a_grid(model)
    return [
        near("V", value, -1.18956, 0.01, -1.18960),
        Check("largest |logit - log p/q|", (logits - log_ratio).abs().max().item(), 0, 0.1, 0.0225),
        equilibrium(GAN, 1.38629, 1.38633),
        near("dL/db of G at b = -5", generator_gradient(GAN, -5), -0.9933, 1e-4, -0.99331),
    ]


def minimax_orbit():
    """The discriminator plays first; a plain game that converged would hide a penalty."""
    distances = dirac_distances(GANMinimax, 1000)
    expected = {1: (1.413, 1.41292), 100: (1.378, 1.37747), 500: (1.399, 1.39894), 1000: (1.382, 1.38206)}
    return [
        Check("least distance", min(distances), 1.2, 1.7, 1.3757),
        Check("largest distance", max(distances), 1.2, 1.7, 1.4150),
        *(
            near(f"distance after {step}", distances[step], value, 1e-3, last)
            for step, (value, last) in expected.items()
        ),
        near("dL/db of G at b = -5", generator_gradient(GANMinimax, -5), -0.0067, 1e-4, -0.00669),
    ]


# ---- dcgan


def dcgan_networks():
    torch.manual_seed(0)
    model = DCGAN((3, 64, 64))
    count = lambda network: sum(parameter.numel() for parameter in network.parameters())
    stds = [m.weight.std().item() for m in model.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    with torch.no_grad():
        images = model(model.draw_latents(16))
    return [
        near("parameters of G", count(model.generator), 3_576_704, 0, 3_576_704),
        near("parameters of D", count(model.discriminator), 2_765_568, 0, 2_765_568),
        near("least std of a convolution", min(stds), 0.02, 1e-3, 0.01976),
        near("largest std of a convolution", max(stds), 0.02, 1e-3, 0.02016),
        Check("largest |pixel|", images.abs().max().item(), 0, 1, 0.883),
        Check("share of saturated pixels", (images.abs() > 0.99).float().mean().item(), 0, 0.01, 0),
    ]


# ---- lsgan


def lsgan_optimum():
    model = fit_logits(LSGAN)
    logits, log_ratio = on_a_grid(model)
    pearson = {"fake_target": -1.0, "generator_target": 0.0}
    return [
        Check("largest |D - p/(p+q)|", (logits - log_ratio.sigmoid()).abs().max().item(), 0, 0.03, 0.00365),
        equilibrium(LSGAN, 0.25, 0.25001),
        equilibrium(LSGAN, 1.0, 1.00003, **pearson),
    ]


# ---- wgan


def wgan_critic():
    """Between N(0, 1) and N(3, 1) the best linear critic has the slope -clip."""
    largest = EachBatch(lambda model: max(p.abs().max().item() for p in model.discriminator.parameters()))
    make = partial(WGAN, warmup_updates=0)
    points = quantiles()
    model = fit_against_normal(
        make, shift=3.0, scale=1.0, batch_size=256, batches=600, discriminator=LINEAR, callbacks=[largest]
    )
    return [
        near("gap", gap(model, points, 3 + points), 0.03, 0.003, 0.03000),
        Check("largest |parameter| after any step", max(largest.values), 0, 0.01 + 1e-9, 0.01),
    ]


def wgan_schedule():
    counter = CountSteps()
    model = WGAN((1,), generator=Normal, discriminator=LINEAR)
    fit(model, Stream(lambda: torch.zeros(1, 1), 10_000), updates=1000, callbacks=[counter])
    critic, generator = counter.steps
    return [
        near("critic steps", critic, 25 * 100 + 100 + 974 * 5, 0, 7470),
        near("generator steps", generator, 1000, 0, 1000),
    ]


# ---- wgan_gp


def wgan_gp_gap(critic, weight, tolerance, last):
    """The best critic between two clouds that lie 3 apart has the slope 1 + 3 / (2 lambda) all the way."""
    make = partial(WGANGP, gradient_penalty_weight=weight)
    learning_rate = 0.05 if critic is LINEAR else 2e-3
    model = fit_against_normal(
        make,
        shift=3.0,
        scale=0.5,
        width=0.5,
        dim=2,
        batch_size=256,
        batches=1000,
        discriminator=critic,
        optimizer_discriminator=partial(CriticAdam, lr=learning_rate, betas=(0.5, 0.9)),
    )
    real = 0.5 * torch.randn(100_000, 2)
    shift = torch.tensor([3.0, 0.0])
    return near(
        f"gap at lambda {weight:g}", gap(model, real, real + shift), 3 * (1 + 3 / (2 * weight)), tolerance, last
    )


def wgan_gp_linear():
    return [wgan_gp_gap(LINEAR, 10.0, 0.1, 3.4486), wgan_gp_gap(LINEAR, 0.1, 0.5, 48.014)]


def wgan_gp_critic():
    return [wgan_gp_gap(SMALL, 10.0, 0.1, 3.4542)]


# ---- geometric_gan


def hinge_optimum():
    model = fit_logits(GeometricGAN)
    points = quantiles()
    return [
        near("least D loss", expected_discriminator_loss(model, points, 1 + 1.2 * points), 1.28616, 0.03, 1.2926),
        near("dL/db of G at b = 2", generator_gradient(GeometricGAN, 2), -1, 1e-6, -1),
    ]


def spectral_norm_gap():
    """A critic of slope at most 1 between two clouds that lie 3 apart; without the constraint the gap explodes."""
    model = fit_against_normal(
        partial(GAN, loss=Wasserstein(), constraints=[SpectralNorm()]),
        shift=3.0,
        scale=0.5,
        width=0.5,
        dim=2,
        batch_size=256,
        discriminator=SMALL,
        optimizer_discriminator=ADAM,
    )
    real = 0.5 * torch.randn(100_000, 2)
    return [Check("gap", gap(model, real, real + torch.tensor([3.0, 0.0])), 2.7, 3.001, 2.9986)]


# ---- r3gan


def r3gan_dirac():
    """D plays first: psi -= 0.1 (sigma(psi theta) theta + 2 psi), then theta += 0.1 sigma(-psi theta) psi.

    The bounds are this recurrence's own values, iterated apart from the package.
    """
    distances = dirac_distances(R3GAN, 500, gamma=1.0)
    return [
        near("distance after 100", distances[100], 0.3417, 1e-3, 0.34174),
        near("distance after 500", distances[500], 0.0017, 1e-4, 0.00168),
        equilibrium(R3GAN, 0.69315, 0.69315),
    ]


ROWS = {
    "gan": [gan_optimum, partial(ring, "gan")],
    "gan_minimax": [minimax_orbit, partial(ring, "gan_minimax")],
    "dcgan": [dcgan_networks, partial(handwriting, "dcgan")],
    "lsgan": [lsgan_optimum, partial(ring, "lsgan"), partial(handwriting, "lsgan")],
    "wgan": [wgan_critic, wgan_schedule, partial(ring, "wgan")],
    "wgan_gp": [wgan_gp_linear, wgan_gp_critic, partial(ring, "wgan_gp")],
    "geometric_gan": [hinge_optimum, spectral_norm_gap, partial(ring, "geometric_gan")],
    "r3gan": [r3gan_dirac, partial(ring, "r3gan"), partial(handwriting, "r3gan")],
}


@pytest.mark.parametrize("stem", ROWS)
def test_system_learns(stem):
    assert_learns(ROWS[stem])
