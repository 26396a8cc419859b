"""Games that can be solved by hand: a discriminator between two normal distributions, and two points on a line."""

from __future__ import annotations

import math
from functools import partial

import torch
from lightning.pytorch import seed_everything
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from pl_genmodels.networks import Discriminator, Generator
from tests.learning.bench import EachBatch, Stream, fit

NEVER = 10**9  # critic steps: the generator stays as it is


# ---- two normal distributions, between which a discriminator or critic is fitted


class Normal(Generator):
    """Exactly N(shift, scale^2): only the shift can be trained."""

    def __init__(self, image_shape, shift=0.0, scale=1.0):
        super().__init__(image_shape, latent_dim=math.prod(image_shape))
        start = torch.zeros(image_shape)
        start[0] = shift
        self.shift, self.scale = nn.Parameter(start), scale

    def forward(self, latent):
        return self.shift + self.scale * latent.unflatten(1, self.image_shape)


def quantiles(num_points=100_000):
    """Equally probable points of N(0, 1), (N, 1): their mean of a function is its expectation."""
    return torch.special.ndtri((torch.arange(num_points, dtype=torch.float64) + 0.5) / num_points).float()[:, None]


def fit_against_normal(
    make,
    *,
    shift=1.0,
    scale=1.2,
    width=1.0,
    dim=1,
    batch_size=1024,
    batches=1500,
    epochs=30,
    seed=0,
    callbacks=(),
    **arguments,
):
    """Fit only the discriminator of a model between N(0, width^2) and a generator that is N(shift, scale^2).

    Its learning rate, that of its own `optimizer_discriminator`, falls to zero along a cosine.
    """
    seed_everything(seed, verbose=False)
    model = make(
        (dim,),
        generator=partial(Normal, shift=shift, scale=scale),
        critic_steps=NEVER,
        scheduler_discriminator=partial(CosineAnnealingLR, T_max=epochs),
        scheduler_interval="epoch",
        **arguments,
    )
    return fit(
        model,
        Stream(lambda: width * torch.randn(batch_size, dim), batches // epochs),
        epochs=epochs,
        callbacks=callbacks,
    )


@torch.no_grad()
def expected_discriminator_loss(model, real, fake):
    """Mean of the discriminator's adversarial term over independent pairs, as the model itself computes it."""
    fake = fake[torch.randperm(len(fake), generator=torch.Generator().manual_seed(0))]
    return model.discriminator_terms({"image": real}, {"image": fake})["adversarial"].mean().item()


@torch.no_grad()
def gap(model, real, fake):
    """E f(x) - E f(y)."""
    return (model.judge(real).mean() - model.judge(fake).mean()).item()


# ---- two points on a line


class Slope(Discriminator):
    """psi x."""

    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.psi = nn.Parameter(torch.ones(()))

    def forward(self, image):
        return self.psi * image.squeeze(1)


def dirac_distances(make, updates, **arguments):
    """Play the game of one real point at 0 against one generated point theta, D(x) = psi x, from (1, 1).

    Returns:
        |(theta, psi)| after each update, the first at index 1.
    """
    sgd = partial(torch.optim.SGD, lr=0.1)
    model = make(
        (1,),
        generator=partial(Normal, shift=1.0, scale=0.0),
        discriminator=Slope,
        optimizer_generator=sgd,
        optimizer_discriminator=sgd,
        **arguments,
    )
    trace = EachBatch(lambda module: math.hypot(module.generator.shift.item(), module.discriminator.psi.item()))
    fit(model, Stream(lambda: torch.zeros(1, 1), updates), epochs=1, callbacks=[trace])
    return [math.sqrt(2), *trace.values]
