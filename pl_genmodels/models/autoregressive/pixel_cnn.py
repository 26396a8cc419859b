"""PixelCNN (van den Oord, Kalchbrenner, Kavukcuoglu 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.models.autoregression import AutoregressiveModule
from pl_genmodels.networks import PixelCNNNetwork, PixelNetwork
from pl_genmodels.types import Paper


class PixelCNN(AutoregressiveModule):
    r"""Each value from a masked convolutional network (equation 2).

    $p(x_i|x_{<i}) = p(x_{i,R}|x_{<i})\, p(x_{i,G}|x_{<i}, x_{i,R})\, p(x_{i,B}|x_{<i}, x_{i,R}, x_{i,G})$. Pictures in
    black and white take the default `Bernoulli`, grey and colour ones `Categorical`, a softmax for each channel
    (section 3.1).

    Args:
        image_shape: See `GenerativeModule`.
        network: See `AutoregressiveModule`.
        **kwargs: See `AutoregressiveModule`.
    """

    paper = Paper(
        "Pixel Recurrent Neural Networks",
        "van den Oord, Kalchbrenner, Kavukcuoglu",
        2016,
        "https://arxiv.org/abs/1601.06759",
        "masked convolutions predict all pixels from the earlier ones at once, an exact likelihood",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        network: Callable[[tuple[int, ...], int, int], PixelNetwork] = PixelCNNNetwork,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, network=network, **kwargs)
