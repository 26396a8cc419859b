"""beta-VAE (Higgins et al. 2017)."""

from __future__ import annotations

from typing import Any

from pl_genmodels.losses import EvidenceLowerBound
from pl_genmodels.models.variational import VariationalModule
from pl_genmodels.types import Paper


class BetaVAE(VariationalModule):
    r"""Maximises $E_{q(z|x)}[\log p(x|z)] - \beta\,KL(q(z|x) \| N(0, I))$ (equation 4).

    A $\beta$ above 1 narrows what a latent may carry, so that each dimension comes to stand for one cause of the
    images; 1 is the VAE. The paper compares $\beta n / D$ between data sets, n the length of a latent and D the
    number of an image's values.

    Args:
        image_shape: See `GenerativeModule`.
        beta: Weight of the KL.
        warm_up_images: Images during which the weight grows linearly from 0; 0 for none.
        **kwargs: See `VariationalModule`.

    Raises:
        ValueError: For a beta that is not positive, or a negative number of images.
    """

    paper = Paper(
        "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework",
        "Higgins et al.",
        2017,
        "https://openreview.net/forum?id=Sy2fzU9gl",
        "a weight above 1 on the KL disentangles the latent's dimensions",
    )

    def __init__(
        self, image_shape: tuple[int, ...] | None = None, beta: float = 4.0, warm_up_images: int = 0, **kwargs: Any
    ) -> None:
        if beta <= 0:
            raise ValueError(f"beta: got {beta}, allowed is more than 0")
        objective = EvidenceLowerBound(kl_weight=beta, warm_up_images=warm_up_images)
        super().__init__(image_shape, objective=objective, **kwargs)
