"""Geometric GAN: the hinge loss (Lim and Ye 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.losses import Constraint, Hinge
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator, Discriminator, Generator
from pl_genmodels.types import Paper


class GeometricGAN(LatentGAN):
    r"""D minimises $E(1 - D(x))_+ + E(1 + D(G(z)))_+$, G minimises $-E D(G(z))$ (equations 15-16).

    With `constraints: [SpectralNorm]` it is SNGAN (Miyato et al. 2018). Departs from the paper: one generator step a
    discriminator step where the authors' code makes ten, and no weight decay on the last layer.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape.
        constraints: What keeps the discriminator's weights in a set; without any, the hinge collapses on small data.
    """

    paper = Paper(
        "Geometric GAN",
        "Lim, Ye",
        2017,
        "https://arxiv.org/abs/1705.02894",
        "the hinge loss: a maximum-margin hyperplane between real and generated features",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = DCGANGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = DCGANDiscriminator,
        constraints: list[Constraint] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_shape,
            generator=generator,
            discriminator=discriminator,
            loss=Hinge(),
            constraints=constraints,
            **kwargs,
        )
