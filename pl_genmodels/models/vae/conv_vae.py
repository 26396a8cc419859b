"""Convolutional variational autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.models.variational import VariationalModule
from pl_genmodels.networks import ConvDecoder, ConvEncoder, Decoder, Encoder
from pl_genmodels.types import Paper


class ConvVAE(VariationalModule):
    """The variational autoencoder with convolutions: pictures of side 8, 16, 32, ... or 14, 28, 56, ...

    Differs from `VAE` in its networks: 4x4 convolutions of stride 2 down to 4x4 or 7x7, and back.

    Args:
        image_shape: See `GenerativeModule`.
        encoder: Called with the image shape and the number of features.
        decoder: Called with the shape of the likelihood's parameters and the length of a latent.
        **kwargs: See `VariationalModule`.
    """

    paper = Paper(
        "Markov Chain Monte Carlo and Variational Inference: Bridging the Gap",
        "Salimans, Kingma, Welling",
        2015,
        "https://arxiv.org/abs/1410.6460",
        "convolutional encoder and decoder of a VAE",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        encoder: Callable[[tuple[int, ...], int], Encoder] = ConvEncoder,
        decoder: Callable[[tuple[int, ...], int], Decoder] = ConvDecoder,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, encoder=encoder, decoder=decoder, **kwargs)
