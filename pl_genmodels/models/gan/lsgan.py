"""Least-squares GAN (Mao et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.losses import LeastSquares
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator, Discriminator, Generator
from pl_genmodels.types import Paper


class LSGAN(LatentGAN):
    r"""D minimises $\frac12 E(D(x)-b)^2 + \frac12 E(D(G(z))-a)^2$, G minimises $\frac12 E(D(G(z))-c)^2$ (equation 2).

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape; its output is linear.
        fake_target: The paper's a.
        real_target: The paper's b.
        generator_target: The paper's c.
    """

    paper = Paper(
        "Least Squares Generative Adversarial Networks",
        "Mao et al.",
        2017,
        "https://arxiv.org/abs/1611.04076",
        "least-squares loss; a Pearson chi-square divergence",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = DCGANGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = DCGANDiscriminator,
        fake_target: float = 0.0,
        real_target: float = 1.0,
        generator_target: float = 1.0,
        **kwargs: Any,
    ) -> None:
        loss = LeastSquares(fake_target, real_target, generator_target)
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=loss, **kwargs)
