"""Bayesian GAN: samples of the posterior over both networks' weights (Saatchi and Wilson 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pl_genmodels.losses import NonSaturating
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.latent_mixture import LatentMixture
from pl_genmodels.models.sghmc import SGHMC
from pl_genmodels.networks import (
    Discriminator,
    DiscriminatorEnsemble,
    Generator,
    GeneratorEnsemble,
    MLPDiscriminator,
    MLPGenerator,
)
from pl_genmodels.types import Batch, Paper, Terms


class BayesianGAN(LatentMixture):
    r"""Several generators and discriminators, each a sample of its weights' posterior given all of the others.

    With $p(\theta_g | \theta_d) \propto \prod D(G(z))\, p(\theta_g)$ and $p(\theta_d | z, X, \theta_g) \propto
    \prod D(x) \prod (1 - D(G(z)))\, p(\theta_d)$ (equations 1 and 2), marginalised over the others' samples: every
    generator minimises $\sum_d -\log D_d(G(z))$, every discriminator $\sum_g [-\log D(x) - \log(1 - D(G_g(z)))]$.
    Prior, noise and the size of the data are the optimiser's, see `SGHMC`. Samples are drawn from all generators alike;
    the logit of an image is the mean over discriminators. All members are evaluated as one network.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape, once for each sample of its weights.
        discriminator: Likewise.
        num_generators: Samples of the generator's weights, the paper's number of networks times chains.
        num_discriminators: Samples of the discriminator's weights.
        optimizer_generator: Called with the generators' parameters.
        optimizer_discriminator: Called with the discriminators' parameters.
        **kwargs: See `LatentGAN`; without memories, constraints and penalties, which look at one network.

    Raises:
        ValueError: For counts below 1, or what does not go with several networks.
    """

    paper = Paper(
        "Bayesian GAN",
        "Saatchi, Wilson",
        2017,
        "https://arxiv.org/abs/1705.09558",
        "samples of the posterior over the weights of both networks, by stochastic gradient Hamiltonian Monte Carlo",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        num_generators: int = 10,
        num_discriminators: int = 2,
        optimizer_generator: Callable[[Iterable], Optimizer] = SGHMC,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = SGHMC,
        **kwargs: Any,
    ) -> None:
        for name, count in (("num_generators", num_generators), ("num_discriminators", num_discriminators)):
            if count < 1:
                raise ValueError(f"{name}: got {count}, allowed is 1 or more")
        for name in ("penalties", "constraints", "replay_size"):
            if kwargs.get(name):
                raise ValueError(f"{name}: got some, allowed are none with several discriminators")
        self.num_generators = num_generators
        super().__init__(
            image_shape,
            generator=partial(GeneratorEnsemble, generator=generator, num_members=num_generators),
            discriminator=partial(DiscriminatorEnsemble, discriminator=discriminator, num_members=num_discriminators),
            loss=NonSaturating(),
            optimizer_generator=optimizer_generator,
            optimizer_discriminator=optimizer_discriminator,
            **kwargs,
        )

    # ---- the mixture

    @property
    def shares(self) -> Tensor:
        """Equal ones."""
        return torch.full((self.num_generators,), 1 / self.num_generators, dtype=torch.double)

    def make(self, latents: Tensor, members: Tensor) -> Tensor:
        """Each sample by its generator."""
        return self.sampler(latents, members)

    def forward(self, latents: Tensor) -> Tensor:
        """Samples for latents with gradient, in the current mode, from the trained (not averaged) generators."""
        return self.generator(*self.chosen(latents))

    # ---- training

    def _training_latents(self, num_samples: int) -> Tensor:
        """Of each generator its own, (B, generators, latent_dim)."""
        latents = self.draw_latents(num_samples * self.num_generators)[:, :-1]
        return latents.to(next(self.generator.parameters()).dtype).unflatten(0, (num_samples, -1))

    def generate(self, batch: Batch) -> Batch:
        """Samples of all generators, (B, generators, *image_shape)."""
        return {"image": self.generator(batch["latent"])}

    def judge(self, images: Tensor) -> Tensor:
        """Mean logits of the discriminators in at least single precision, (B,)."""
        return at_least_single(self.discriminator(images)).mean(1)

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Of every discriminator, for every generator."""
        real = at_least_single(self.discriminator(self.augment(batch["image"])))  # (B, discriminators)
        fake = self._judged(generated)
        return {"adversarial": self.loss.discriminator(real.unsqueeze(1), fake).sum((1, 2))}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Of every generator, for every discriminator."""
        return {"adversarial": self.loss.generator(self._judged(generated)).sum((1, 2))}

    def _judged(self, generated: Batch) -> Tensor:
        images = self.augment(generated["image"].flatten(0, 1))
        logits = at_least_single(self.discriminator(images))
        return logits.unflatten(0, (-1, self.num_generators))  # (B, generators, discriminators)
