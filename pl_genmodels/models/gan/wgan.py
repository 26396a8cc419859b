"""Wasserstein GAN with weight clipping (Arjovsky et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Optimizer

from pl_genmodels.losses import Wasserstein, WeightClipping
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.optimizers import WGANRMSprop
from pl_genmodels.models.schedules import steps_with_warmup
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator, Discriminator, Generator
from pl_genmodels.types import Paper


class WGAN(LatentGAN):
    r"""The critic maximises $E f(x) - E f(G(z))$ over clipped weights, G maximises $E f(G(z))$ (algorithm 1).

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape; the critic f.
        clip: Every critic parameter stays in [-clip, clip].
        critic_steps: Critic steps for one generator step.
        warmup_updates: The first so many generator updates, and every 500th, get `warmup_steps` critic steps (the
            authors' code); 0 turns the schedule off.
        warmup_steps: Critic steps of those updates.
        optimizer_generator: Called with the generator's parameters.
        optimizer_discriminator: Called with the critic's parameters.
    """

    paper = Paper(
        "Wasserstein GAN",
        "Arjovsky, Chintala, Bottou",
        2017,
        "https://arxiv.org/abs/1701.07875",
        "earth mover's distance through a weight-clipped critic",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = DCGANGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = DCGANDiscriminator,
        clip: float = 0.01,
        critic_steps: int = 5,
        warmup_updates: int = 25,
        warmup_steps: int = 100,
        optimizer_generator: Callable[[Iterable], Optimizer] = WGANRMSprop,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = WGANRMSprop,
        **kwargs: Any,
    ) -> None:
        steps_with_warmup(0, critic_steps, warmup_updates, warmup_steps)  # refuses wrong counts
        super().__init__(
            image_shape,
            generator=generator,
            discriminator=discriminator,
            loss=Wasserstein(),
            constraints=[WeightClipping(clip)],
            critic_steps=critic_steps,
            optimizer_generator=optimizer_generator,
            optimizer_discriminator=optimizer_discriminator,
            **kwargs,
        )
        self.warmup_updates, self.warmup_steps = warmup_updates, warmup_steps

    def critic_steps_at(self, update: int) -> int:
        """A critic close to optimal at the start, and again from time to time."""
        return steps_with_warmup(update, self.critic_steps, self.warmup_updates, self.warmup_steps)
