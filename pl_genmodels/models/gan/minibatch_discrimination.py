"""GAN whose discriminator sees a whole batch (Salimans et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pl_genmodels.losses import AdversarialLoss, NonSaturating
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import Discriminator, Generator, MinibatchDiscriminator, MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Paper


class MinibatchDiscrimination(LatentGAN):
    """A generator that repeats itself gives itself away, because the discriminator compares the samples of a batch.

    See `MinibatchDiscriminator`. Real and generated samples are two batches.

    Args:
        image_shape: See `GenerativeModule`.
        generator: See `LatentGAN`.
        discriminator: What the comparison is built into; one that gives its features.
        num_kernels: Similarities a sample, the paper's B.
        kernel_dim: Length of what each compares, the paper's C.
        loss: See `LatentGAN`.
        **kwargs: See `LatentGAN`.
    """

    paper = Paper(
        "Improved Techniques for Training GANs",
        "Salimans et al.",
        2016,
        "https://arxiv.org/abs/1606.03498",
        "the discriminator compares the samples of a batch",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        num_kernels: int = 100,
        kernel_dim: int = 5,
        loss: AdversarialLoss = NonSaturating(),
        **kwargs: Any,
    ) -> None:
        comparing = partial(
            MinibatchDiscriminator, discriminator=discriminator, num_kernels=num_kernels, kernel_dim=kernel_dim
        )
        super().__init__(image_shape, generator=generator, discriminator=comparing, loss=loss, **kwargs)
