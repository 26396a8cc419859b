"""VAE with inverse autoregressive flow (Kingma et al. 2016)."""

from __future__ import annotations

import functools
from typing import Any

from pl_genmodels.losses import FreeBits, VariationalObjective
from pl_genmodels.models.posteriors import InverseAutoregressive
from pl_genmodels.models.variational import VariationalModule
from pl_genmodels.types import Paper


class IAFVAE(VariationalModule):
    r"""A VAE whose posterior is a normal moved by steps that see the dimensions before (algorithm 1).

    $\log q(z_T|x) = \log N(z_0; \mu, \sigma^2) - \sum_t\sum_i\log\sigma_{t,i}$; the KL is estimated from the drawn
    latents. Trained with free bits (equation 15).

    Args:
        image_shape: See `GenerativeModule`.
        num_steps: Steps of the flow, T; each reverses the order of the one before.
        flow_dim: Units of each of a step's two hidden layers.
        context_dim: Features of the image that every step sees.
        objective: What is minimised.
        **kwargs: See `VariationalModule`.

    Raises:
        ValueError: For counts below 1.
    """

    paper = Paper(
        "Improved Variational Inference with Inverse Autoregressive Flow",
        "Kingma et al.",
        2016,
        "https://arxiv.org/abs/1606.04934",
        "a posterior made flexible by masked autoregressive steps, all dimensions at once; free bits",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        num_steps: int = 2,
        flow_dim: int = 320,
        context_dim: int = 64,
        objective: VariationalObjective = FreeBits(),
        **kwargs: Any,
    ) -> None:
        posterior = functools.partial(
            InverseAutoregressive, num_steps=num_steps, hidden_dim=flow_dim, context_dim=context_dim
        )
        super().__init__(image_shape, posterior=posterior, objective=objective, **kwargs)
