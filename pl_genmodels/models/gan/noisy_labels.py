"""GAN whose discriminator learns from noisy labels (Chintala et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.losses import LabelledLoss, LabelNoise, NonSaturating
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Paper


class NoisyLabels(LatentGAN):
    r"""Real samples get labels from U(0.7, 1.2), generated ones from U(0, 0.3), and now and then each other's.

    D minimises $E\,t\,l_{real} + (1 - t)\,l_{fake}$ over samples with their labels t; G's loss knows none. See
    `LabelNoise`; one-sided smoothing is `real: [0.9, 0.9]`, `fake: [0, 0]` and `flip_probability: 0`.

    Args:
        image_shape: See `GenerativeModule`.
        generator: See `LatentGAN`.
        discriminator: See `LatentGAN`.
        objective: Whose labels are noisy.
        real: Least and largest label of real samples.
        fake: Least and largest label of generated samples.
        flip_probability: Share of samples whose label comes from the other side.
        **kwargs: See `LatentGAN`.
    """

    paper = Paper(
        "How to Train a GAN? Tips and tricks to make GANs work",
        "Chintala et al.",
        2016,
        "https://github.com/soumith/ganhacks",
        "soft, noisy and sometimes wrong labels for the discriminator",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        objective: LabelledLoss = NonSaturating(),
        real: tuple[float, float] = (0.7, 1.2),
        fake: tuple[float, float] = (0.0, 0.3),
        flip_probability: float = 0.05,
        **kwargs: Any,
    ) -> None:
        loss = LabelNoise(objective, real, fake, flip_probability)
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=loss, **kwargs)
