"""MADE (Germain, Gregor, Murray, Larochelle 2015)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.models.autoregression import AutoregressiveModule
from pl_genmodels.networks import MADENetwork, PixelNetwork
from pl_genmodels.types import Paper


class MADE(AutoregressiveModule):
    r"""$p(x) = \prod_i p(x_i | x_{<i})$ by one pass of an autoencoder with masks (equations 5 and 6).

    Other networks for vectors: `NADENetwork`, and `MADENetwork` without hidden layers, the fully visible belief net.
    Departs from the paper: one mask and one order, that of the pixels; no average over orders.

    Args:
        image_shape: See `GenerativeModule`.
        network: See `AutoregressiveModule`.
        **kwargs: See `AutoregressiveModule`.
    """

    paper = Paper(
        "MADE: Masked Autoencoder for Distribution Estimation",
        "Germain et al.",
        2015,
        "https://arxiv.org/abs/1502.03509",
        "masks make an autoencoder predict each value from the earlier ones, all in one pass",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        network: Callable[[tuple[int, ...], int, int], PixelNetwork] = MADENetwork,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, network=network, **kwargs)
