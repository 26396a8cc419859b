"""Boundary-seeking GAN for continuous data (Hjelm et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.losses import BoundarySeeking
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Paper


class BSGAN(LatentGAN):
    r"""D as in `GAN`; G minimises $\frac12 E(\log D(G(z)) - \log(1 - D(G(z))))^2$, the distance to D's boundary.

    Where D is at its best the boundary is p = q. Section 3; `BSGANDiscrete` is the form for discrete data.
    """

    paper = Paper(
        "Boundary-Seeking Generative Adversarial Networks",
        "Hjelm et al.",
        2018,
        "https://arxiv.org/abs/1702.08431",
        "the generator seeks the discriminator's decision boundary",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        **kwargs: Any,
    ) -> None:
        loss = BoundarySeeking()
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=loss, **kwargs)
