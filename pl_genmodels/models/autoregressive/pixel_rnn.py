"""PixelRNN with Diagonal BiLSTM layers (van den Oord, Kalchbrenner, Kavukcuoglu 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.models.autoregression import AutoregressiveModule
from pl_genmodels.networks import DiagonalBiLSTMNetwork, PixelNetwork
from pl_genmodels.types import Paper


class PixelRNN(AutoregressiveModule):
    r"""Each value from LSTMs along the diagonals: $p(x) = \prod_i p(x_{i,R}|x_{<i}) p(x_{i,G}|x_{<i}, x_{i,R}) ...$.

    Black and white pictures take the default `Bernoulli`, grey and colour ones `Categorical`, a softmax for each
    channel of a pixel (section 3.1).

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
        "LSTM layers along the diagonals from both sides see nearly every earlier pixel",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        network: Callable[[tuple[int, ...], int, int], PixelNetwork] = DiagonalBiLSTMNetwork,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, network=network, **kwargs)
