"""GAN with the tricks of "How to Train a GAN?" (Chintala et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.layers import Augmentation, InstanceNoise
from pl_genmodels.losses import AdversarialLoss, LabelNoise
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, NoisyGenerator
from pl_genmodels.types import Paper


class GANHacks(LatentGAN):
    """Every trick of the list is a part that any GAN takes; this class has those on that go together.

    Labels are noisy (item 6), earlier samples are replayed (8), inputs are noisy at first (13), the generator's layers
    always (13, 17), its loss does not saturate (2), its latents are normal (3), nothing is a plain ReLU (5). README
    tells which option or part turns on which item, and the config shows more of them.

    Args:
        image_shape: See `GenerativeModule`.
        generator: See `LatentGAN`.
        discriminator: See `LatentGAN`.
        loss: See `LatentGAN`.
        augmentations: See `LatentGAN`; by default `InstanceNoise`.
        replay_size: See `LatentGAN`.
        **kwargs: See `LatentGAN`.
    """

    paper = Paper(
        "How to Train a GAN? Tips and tricks to make GANs work",
        "Chintala et al.",
        2016,
        "https://github.com/soumith/ganhacks",
        "a list of seventeen tricks, each an option of its own",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = NoisyGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        loss: AdversarialLoss = LabelNoise(),
        augmentations: list[Augmentation] | None = None,
        replay_size: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_shape,
            generator=generator,
            discriminator=discriminator,
            loss=loss,
            augmentations=[InstanceNoise()] if augmentations is None else augmentations,
            replay_size=replay_size,
            **kwargs,
        )
