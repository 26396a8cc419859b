"""GAN with the non-saturating generator loss (Goodfellow et al. 2014)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.losses import AdversarialLoss, NonSaturating
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Paper


class GAN(LatentGAN):
    r"""Generative adversarial network, open to every loss, penalty, constraint and network.

    D minimises $-E \log D(x) - E \log(1 - D(G(z)))$, G minimises $-E \log D(G(z))$ (section 3).

    Departs from the paper: Adam instead of SGD with momentum, ReLU networks instead of maxout.
    """

    paper = Paper(
        "Generative Adversarial Nets",
        "Goodfellow et al.",
        2014,
        "https://arxiv.org/abs/1406.2661",
        "two networks in a game; the generator maximises log D(G(z))",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        loss: AdversarialLoss = NonSaturating(),
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=loss, **kwargs)
