"""Conditional GAN (Mirza, Osindero 2014)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.models.conditional import ConditionalGAN
from pl_genmodels.networks import ConcatDiscriminator, ConditionalDiscriminator
from pl_genmodels.types import Paper


class CGAN(ConditionalGAN):
    r"""$\min_G \max_D E \log D(x|y) + E \log(1 - D(G(z|y)|y))$ (equation 2): both players are told y.

    y is whatever the data say: a label, properties, or the features of a picture to which G finds words.

    Departs from the paper: G maximises log D, Adam takes the place of SGD with momentum, and the networks are those
    that the config names.

    Args:
        image_shape: See `GenerativeModule`.
        discriminator: Called with the image shape and the length of a condition.
        **kwargs: See `ConditionalGAN`.
    """

    paper = Paper(
        "Conditional Generative Adversarial Nets",
        "Mirza, Osindero",
        2014,
        "https://arxiv.org/abs/1411.1784",
        "both players are told what the sample is to be",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        discriminator: Callable[[tuple[int, ...], int], ConditionalDiscriminator] = ConcatDiscriminator,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, discriminator=discriminator, **kwargs)
