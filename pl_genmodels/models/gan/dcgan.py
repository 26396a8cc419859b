"""DCGAN (Radford et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.losses import NonSaturating
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    Discriminator,
    Generator,
    Prior,
    UniformPrior,
)
from pl_genmodels.types import Paper


class DCGAN(LatentGAN):
    """The non-saturating GAN with all-convolutional, batch-normalised networks and latents from U(-1, 1).

    Departs from the paper: 4x4 kernels, as in the widespread PyTorch version, instead of 5x5.
    """

    paper = Paper(
        "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
        "Radford, Metz, Chintala",
        2016,
        "https://arxiv.org/abs/1511.06434",
        "an all-convolutional recipe that trains stably",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = DCGANGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = DCGANDiscriminator,
        prior: Prior = UniformPrior(),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_shape, generator=generator, discriminator=discriminator, loss=NonSaturating(), prior=prior, **kwargs
        )
