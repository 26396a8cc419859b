"""BiGAN: adversarial feature learning (Donahue et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.models.inferring import InferringGAN
from pl_genmodels.networks import Encoder, MLPEncoder
from pl_genmodels.types import Paper


class BiGAN(InferringGAN):
    r"""$\min_{G,E} \max_D E \log D(x, E(x)) + E \log(1 - D(G(z), z))$ with an encoder that draws nothing (equation 3).

    At the optimum E is the inverse of G (theorem 2).

    Departs from the authors' code: D steps first and G and E see the new one, where there all three step at once.

    Args:
        image_shape: See `GenerativeModule`.
        encoder: Called with the image shape and the length of a latent.
        **kwargs: See `InferringGAN`.
    """

    paper = Paper(
        "Adversarial Feature Learning",
        "Donahue, Krähenbühl, Darrell",
        2017,
        "https://arxiv.org/abs/1605.09782",
        "an encoder joins the game: D judges samples with latents, and E comes to invert G",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, encoder=encoder, **kwargs)
