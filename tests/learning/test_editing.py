"""What searching the latents of a trained generator finds."""

from __future__ import annotations

from functools import partial

import pytest
from lightning.pytorch import seed_everything

from pl_genmodels.data import Digits
from pl_genmodels.editing import project
from pl_genmodels.models.gan.dcgan import DCGAN
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator
from tests.learning.bench import Check, assert_learns, fit


def dcgan(channels, latent_dim):
    return DCGAN(
        generator=partial(DCGANGenerator, latent_dim=latent_dim, channels=channels),
        discriminator=partial(DCGANDiscriminator, channels=channels),
        optimizer_generator=partial(GANAdam, lr=1e-3),
        optimizer_discriminator=partial(GANAdam, lr=2e-4),
    )


def projection():
    """A generated image comes back: the networks of configs/dcgan.yaml, an eighth of its training."""
    seed_everything(0, verbose=False)
    model = fit(dcgan(16, 64), Digits(32, batch_size=64, seed=0), updates=160).eval()
    image = model.sample(8, seed=123)
    real = Digits(32).load("train").tensors["image"] / 127.5 - 1
    error = project(model, image).losses / real.var()
    name = "largest squared error of 8 projections, in variances of the data"
    return [Check(name, error.max().item(), 0, 1e-2, 0.00157)]


@pytest.mark.learning
def test_projection():
    assert_learns([projection])
