"""MADE (Germain, Gregor, Murray, Larochelle 2015)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from pl_genmodels.models.autoregression import AutoregressiveModule
from pl_genmodels.networks import MADENetwork, VectorNetwork
from pl_genmodels.types import Paper


class MADE(AutoregressiveModule):
    r"""$p(x) = \prod_i p(x_i | x_{<i})$ by one pass of an autoencoder with masks (equations 5 and 6).

    A network with several masks (sections 4.1 and 4.2) takes the next one at each step of training. The model is then
    the average of theirs, $p(x) = \frac1M\sum_m p_m(x)$: this is what `log_likelihood` and validation say, and sample i
    of a seed is drawn from that of mask i modulo M, in its order.

    Other networks for vectors: `NADENetwork`, and `MADENetwork` without hidden layers, the fully visible belief net.
    Departs from the paper: values come in the order of the pixels, unless several masks have `any_order`.

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

    network: VectorNetwork

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        network: Callable[[tuple[int, ...], int, int], VectorNetwork] = MADENetwork,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, network=network, **kwargs)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Take the next mask; batches whose gradients are accumulated share theirs."""
        self.network.use_mask(self.trainer.global_step % self.network.num_masks)

    def _log_likelihood(self, image: Tensor, label: Tensor | None) -> Tensor:
        if self.training:
            return super()._log_likelihood(image, label)
        masks = self.sampler.each_mask()
        each = torch.stack([super(MADE, self)._log_likelihood(image, label) for _ in masks])
        return each.logsumexp(0) - math.log(len(each))

    @torch.inference_mode()
    def fill(  # noqa: D102
        self, image: Tensor, uniforms: Tensor, label: Tensor | None, fixed: Tensor | None, first: int, bar: tqdm
    ) -> None:
        for mask in self.sampler.each_mask():
            rows = slice((mask - first) % self.network.num_masks, None, self.network.num_masks)
            if len(image[rows]):
                super().fill(image[rows], uniforms[rows], label, None if fixed is None else fixed[rows], mask, bar)
