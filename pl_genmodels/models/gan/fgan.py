"""f-GAN: any f-divergence as a game (Nowozin et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.losses import FDivergence
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Paper


class FGAN(LatentGAN):
    r"""The game $\min_G \max_T E[T(x)] - E[f^*(T(G(z)))]$, whose value is $D_f(p\|q)$ where D is at its best.

    $T = g_f(D)$, see `FDivergence` for the eight divergences. Departs from the paper: the players take turns, where its
    algorithm 1 steps both at once.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape; its output is linear.
        divergence: See `FDivergence`.
        non_saturating: G maximises T(G(z)) in place of f*(T(G(z))), section 3.2.
        limit: Largest logit of divergences with exponentials, see `FDivergence`.
    """

    paper = Paper(
        "f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization",
        "Nowozin, Cseke, Tomioka",
        2016,
        "https://arxiv.org/abs/1606.00709",
        "every f-divergence is a game: an activation and a conjugate for each",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        divergence: str = "jensen_shannon",
        non_saturating: bool = False,
        limit: float = 10.0,
        **kwargs: Any,
    ) -> None:
        loss = FDivergence(divergence, non_saturating, limit)
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=loss, **kwargs)
