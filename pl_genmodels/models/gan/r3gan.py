"""R3GAN, the modern GAN baseline (Huang et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Optimizer

from pl_genmodels.losses import R1, R2, Relativistic
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.optimizers import R3GANAdam
from pl_genmodels.networks import Discriminator, Generator, R3GANDiscriminator, R3GANGenerator
from pl_genmodels.types import Paper


class R3GAN(LatentGAN):
    r"""Paired relativistic loss with zero-centred penalties on real and on generated samples, at every step.

    D minimises $E\,sp(D(y) - D(x)) + \frac\gamma2 E\|\nabla D(x)\|^2 + \frac\gamma2 E\|\nabla D(y)\|^2$, G minimises
    $E\,sp(D(x) - D(y))$ (equations 2 and 4; sp is softplus, y = G(z)). Learning rate, gamma and Adam's beta2 may follow
    cosines over the first `anneal_images` images, as in the authors' recipes.

    Departs from the paper: latents and samples are shared between the two turns unless `fresh_latents`.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape; without batch normalisation.
        gamma: Strength of both penalties at the start.
        final_gamma: Strength in the end; None keeps it.
        final_lr_factor: Learning rates in the end, as a share of those at the start.
        final_beta2: Adam's beta2 in the end; None keeps it.
        anneal_images: Length of the cosines in images; 0 keeps everything constant.
        optimizer_generator: Called with the generator's parameters; Adam-like if `final_beta2` is given.
        optimizer_discriminator: Called with the discriminator's parameters; likewise.
    """

    paper = Paper(
        "The GAN is dead; long live the GAN! A Modern Baseline GAN",
        "Huang et al.",
        2024,
        "https://arxiv.org/abs/2501.05441",
        "a relativistic loss with R1 and R2 converges locally; no tricks, modern networks",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = R3GANGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = R3GANDiscriminator,
        gamma: float = 1.0,
        final_gamma: float | None = None,
        final_lr_factor: float = 1.0,
        final_beta2: float | None = None,
        anneal_images: int = 0,
        optimizer_generator: Callable[[Iterable], Optimizer] = R3GANAdam,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = R3GANAdam,
        **kwargs: Any,
    ) -> None:
        if anneal_images < 0:
            raise ValueError(f"anneal_images: got {anneal_images}, allowed is 0 or more")
        self.r1, self.r2 = R1(gamma), R2(gamma)
        super().__init__(
            image_shape,
            generator=generator,
            discriminator=discriminator,
            loss=Relativistic(),
            penalties=[self.r1, self.r2],
            optimizer_generator=optimizer_generator,
            optimizer_discriminator=optimizer_discriminator,
            **kwargs,
        )
        self.gamma, self.final_gamma = gamma, gamma if final_gamma is None else final_gamma
        self.final_lr_factor, self.final_beta2, self.anneal_images = final_lr_factor, final_beta2, anneal_images

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Follow the cosines, as a function of the images seen alone."""
        if not self.anneal_images:
            return
        left = 0.5 * (1 + math.cos(math.pi * min(1.0, self.images_seen / self.anneal_images)))  # 1 at first, then to 0
        self.r1.gamma = self.r2.gamma = self.final_gamma + left * (self.gamma - self.final_gamma)
        for optimizer in self.trainer.optimizers:
            start = optimizer.defaults
            for group in optimizer.param_groups:
                group["lr"] = start["lr"] * (self.final_lr_factor + left * (1 - self.final_lr_factor))
                if self.final_beta2 is not None:
                    beta1, beta2 = start["betas"]
                    group["betas"] = (beta1, self.final_beta2 + left * (beta2 - self.final_beta2))
