"""Gated PixelCNN (van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.models.autoregression import AutoregressiveModule
from pl_genmodels.networks import GatedPixelCNNNetwork, PixelNetwork
from pl_genmodels.types import Paper


class GatedPixelCNN(AutoregressiveModule):
    r"""PixelCNN with gates, without a blind spot, and given a class.

    $p(x|h) = \prod_i p(x_i | x_{<i}, h)$ (equation 3). With `num_classes` samples cycle through the classes unless they
    are given.

    Args:
        image_shape: See `GenerativeModule`.
        network: See `AutoregressiveModule`.
        **kwargs: See `AutoregressiveModule`.
    """

    paper = Paper(
        "Conditional Image Generation with PixelCNN Decoders",
        "van den Oord et al.",
        2016,
        "https://arxiv.org/abs/1606.05328",
        "two stacks that see every earlier pixel, gated activations, samples of a wanted class",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        network: Callable[[tuple[int, ...], int, int], PixelNetwork] = GatedPixelCNNNetwork,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, network=network, **kwargs)
