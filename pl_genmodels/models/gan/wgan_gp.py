"""Wasserstein GAN with gradient penalty (Gulrajani et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Optimizer

from pl_genmodels.losses import GradientPenalty, Wasserstein
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.optimizers import CriticAdam
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator, Discriminator, Generator
from pl_genmodels.types import Paper


def plain_critic(image_shape: tuple[int, ...]) -> Discriminator:
    """The DCGAN discriminator without batch normalisation, which would mix the samples that a penalty keeps apart."""
    return DCGANDiscriminator(image_shape, batch_norm=False)


class WGANGP(LatentGAN):
    r"""The critic minimises $E f(G(z)) - E f(x) + \lambda E(\|\nabla f(\hat x)\| - 1)^2$ (equation 3).

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape; the critic f, without batch normalisation.
        gradient_penalty_weight: The paper's lambda: 10 for images, 0.1 for toy data.
        critic_steps: Critic steps for one generator step.
        optimizer_generator: Called with the generator's parameters.
        optimizer_discriminator: Called with the critic's parameters.
    """

    paper = Paper(
        "Improved Training of Wasserstein GANs",
        "Gulrajani et al.",
        2017,
        "https://arxiv.org/abs/1704.00028",
        "a gradient penalty in place of weight clipping",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = DCGANGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = plain_critic,
        gradient_penalty_weight: float = 10.0,
        critic_steps: int = 5,
        optimizer_generator: Callable[[Iterable], Optimizer] = CriticAdam,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = CriticAdam,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_shape,
            generator=generator,
            discriminator=discriminator,
            loss=Wasserstein(),
            penalties=[GradientPenalty(gradient_penalty_weight)],
            critic_steps=critic_steps,
            optimizer_generator=optimizer_generator,
            optimizer_discriminator=optimizer_discriminator,
            **kwargs,
        )
