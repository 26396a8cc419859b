"""The encoder of a finished generator comes to invert it: rows as in `test_gan.py`."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import seed_everything

from pl_genmodels.data import Digits
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.inference_gan.aegan import AEGAN
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import Generator, MLPDiscriminator, MLPEncoder, MLPGenerator
from tests.learning.bench import Check, Stream, assert_learns, fit

pytestmark = pytest.mark.learning

LAST = {"aegan": (0.00126, 2300.0, 0.811, 0.681)}  # measured last, in the order of the checks


class LatentRegression(AEGAN):
    """The error is between latents, not between images."""

    def encoder_terms(self, batch, generated):
        with evaluating(self.sampler):
            image = self.sampler(batch["latent"])
        return {"latent": (self.encoder(image) - batch["latent"]).square().mean(1)}


def image_error(model, number=2000):
    """Mean over samples of the squared distance from what their codes make, and the mean first coordinate's size."""
    latent = model.draw_latents(number, seed=7)
    image = model.decode(latent)
    codes = model.encode(image)
    error = (image - model.decode(codes)).square().flatten(1).sum(1).mean()
    return error.item(), codes[:, 0].abs().mean().item()


# ---- a generator that makes the same of z and of its mirror image


class Folded(Generator):
    """(z1^2, tanh z2), with a parameter that changes nothing, because an optimiser wants one."""

    def __init__(self, image_shape):
        super().__init__(image_shape, 2)
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def forward(self, latent):
        return torch.stack([latent[:, 0].square(), latent[:, 1].tanh()], 1) + 0 * self.nothing


def folded(model):
    seed_everything(0, verbose=False)
    made = model(
        (2,),
        generator=Folded,
        discriminator=partial(MLPDiscriminator, hidden_dim=8),
        encoder=partial(MLPEncoder, hidden_dim=64, num_layers=2),
        gan_updates=0,
        optimizer_encoder=partial(GANAdam, lr=1e-3),
    )
    stream = Stream(lambda: torch.zeros(256, 2), 3000)
    return image_error(fit(made, stream, epochs=1).eval())


# ---- digits

GAN = {
    "generator": partial(MLPGenerator, latent_dim=16, batch_norm=True),
    "encoder": partial(MLPEncoder, hidden_dim=256, num_layers=2, batch_norm=True),
    "optimizer_encoder": partial(GANAdam, lr=1e-3),
    "gan_updates": 2000,
}


def of_digits(model):
    seed_everything(0, verbose=False)
    made = fit(model((1, 8, 8), **GAN), Digits(8, seed=0), epochs=170).eval()
    return image_error(made)[0], made.generator.state_dict()


def aegan():
    last = LAST["aegan"]
    error, size = folded(AEGAN)
    regression, _ = folded(LatentRegression)
    of_images, weights = of_digits(AEGAN)
    of_latents, others = of_digits(LatentRegression)
    assert all(torch.equal(weights[name], others[name]) for name in weights), "an encoder changed the generator"
    return [
        Check("folded: error between images", error, 0, 0.02, last[0]),
        Check("folded: error of latent regression over it", regression / error, 10, last=last[1]),
        Check("folded: size of the coordinate that has two answers", size, 0.7, 0.9, last[2]),
        Check("digits: error over that of latent regression", of_images / of_latents, 0, 1, last[3]),
    ]


def test_latent_regression_gives_the_mean_of_two_answers():
    error, size = folded(LatentRegression)
    print(f"error {error:.3f}, size {size:.3f}")
    assert error > 0.2
    assert size < 0.1


ROWS = {"aegan": [aegan]}


@pytest.mark.parametrize("stem", ROWS)
def test_system_learns(stem):
    assert_learns(ROWS[stem])
