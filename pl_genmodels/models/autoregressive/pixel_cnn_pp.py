"""PixelCNN++ (Salimans, Karpathy, Chen, Kingma 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pl_genmodels.losses import DiscretizedLogisticMixture, PixelLikelihood
from pl_genmodels.models.autoregression import AutoregressiveModule
from pl_genmodels.models.optimizers import PixelCNNPPAdam
from pl_genmodels.models.starting import start_from_first_batch
from pl_genmodels.networks import PixelCNNPPNetwork, PixelNetwork
from pl_genmodels.types import Paper


class PixelCNNPP(AutoregressiveModule):
    r"""Each pixel's channels together, a discretised mixture of logistics with parameters from the pixels before it.

    $p(x) = \prod_i p(x_i | \theta_i)$, $\theta_i = f(x_1, \ldots, x_{i-1})$ with `DiscretizedLogisticMixture` for p
    (equations 1 to 3). Grey pictures take it too, with 2 levels black and white ones, or `Bernoulli`.

    The normalised layers of the network start from the first batch of training, so that each gives mean 0 and a known
    deviation for it; with several ranks for the first batches of all.

    Args:
        image_shape: See `GenerativeModule`.
        network: See `AutoregressiveModule`.
        likelihood: See `AutoregressiveModule`.
        optimizer: Called with all parameters.
        **kwargs: See `AutoregressiveModule`.
    """

    paper = Paper(
        "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other Modifications",
        "Salimans, Karpathy, Chen, Kingma",
        2017,
        "https://arxiv.org/abs/1701.05517",
        "few parameters for a whole pixel instead of 256-way softmaxes; short-cuts through coarser resolutions",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        network: Callable[[tuple[int, ...], int, int], PixelNetwork] = PixelCNNPPNetwork,
        likelihood: PixelLikelihood = DiscretizedLogisticMixture(),
        optimizer: Callable[[Iterable], Optimizer] = PixelCNNPPAdam,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, network=network, likelihood=likelihood, optimizer=optimizer, **kwargs)
        self.register_buffer("started", torch.zeros((), dtype=torch.long))  # 1 once it has
        self.started: Tensor

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Let the first batch of all set the gains and biases."""
        if self.images_seen or self.started:
            return
        batch = self.read_batch(batch)
        image = self.likelihood.quantize(batch["image"])
        start_from_first_batch(self, lambda: self.network(image, self._label_of(batch)))
        self.started.fill_(1)
