"""b-GAN: density ratios fitted under Bregman divergences (Uehara et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.losses import BregmanRatio
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Paper


class BGAN(LatentGAN):
    r"""D fits $r = e^D$ to the ratio p/q under a Bregman divergence, G minimises an f-divergence written in r.

    D minimises $E[f'(r(y)) r(y) - f(r(y))] - E[f'(r(x))]$, G minimises $E[f(r(y)) - f'(r(y)) r(y)]$, y = G(z), which is
    the gradient of $D_f(p\|q)$; see `BregmanRatio`.

    Departs from the paper: it lets G minimise $E f(r(y))$, as if r did not change with G; `exact: false` does so too.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape; its output is the logarithm of the ratio.
        f: `pearson`, `kl`, `reverse_kl` or `logistic`, see `BregmanRatio`.
        exact: G follows the gradient of the divergence.
        mixture: Share of real samples in the ratio's denominator, in [0, 1).
        limit: Largest logarithm of a ratio, see `BregmanRatio`.
    """

    paper = Paper(
        "Generative Adversarial Nets from a Density Ratio Estimation Perspective",
        "Uehara et al.",
        2016,
        "https://arxiv.org/abs/1610.02920",
        "the discriminator is a density ratio, fitted under a Bregman divergence",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        f: str = "kl",
        exact: bool = True,
        mixture: float = 0.0,
        limit: float = 10.0,
        **kwargs: Any,
    ) -> None:
        loss = BregmanRatio(f, exact, mixture, limit)
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=loss, **kwargs)
