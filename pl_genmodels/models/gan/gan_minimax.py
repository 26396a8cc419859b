"""GAN as the minimax game (Goodfellow et al. 2014, equation 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.losses import Minimax
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Paper


class GANMinimax(LatentGAN):
    r"""The game $\min_G \max_D E \log D(x) + E \log(1 - D(G(z)))$, whose generator gradient vanishes when D wins.

    Differs from `GAN` in the generator's loss only.
    """

    paper = Paper(
        "Generative Adversarial Nets",
        "Goodfellow et al.",
        2014,
        "https://arxiv.org/abs/1406.2661",
        "the saturating game of equation 1, to see why nobody trains it",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=Minimax(), **kwargs)
