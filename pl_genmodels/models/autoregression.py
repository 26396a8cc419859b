"""Models that predict each pixel from the pixels before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pl_genmodels.layers import Labels
from pl_genmodels.losses import Bernoulli, PixelLikelihood
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.conditions import check_first, required
from pl_genmodels.models.engine import data_of, evaluating, stored_for
from pl_genmodels.models.known_pixels import require_range
from pl_genmodels.models.optimizers import OnePassAdam
from pl_genmodels.models.pixel_sampling import SAMPLE_BATCH, PixelSamplingModule
from pl_genmodels.networks import PixelNetwork
from pl_genmodels.types import Batch, ImageShape, Terms


class AutoregressiveModule(PixelSamplingModule):
    r"""Minimises $-\log p(x) = -\sum_i \log p(x_i | x_1, ..., x_{i-1})$, row by row from the top left.

    The one term is `nll`, in nats an image; validation also logs `bits_per_dim`, nats over the number of values and
    log 2, of the discrete values themselves, without dequantisation.

    Samples are exact and drawn through the network's cache, which computes nothing twice. With the callback
    `GeneratorEMA` averaged weights, `network_ema`, draw them and are what is validated and tested.

    Args:
        image_shape: See `GenerativeModule`.
        network: Called with the image shape, the number of parameters of a pixel and the number of classes.
        likelihood: Of a value, or of a pixel's values. Images are rounded to what it can draw.
        num_classes: Of the labels that the network depends on; 0 for none, labels are then left alone.
        optimizer: Called with all parameters.
        **kwargs: See `LikelihoodModule`.

    Raises:
        ValueError: For a negative number of classes.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        network: Callable[[tuple[int, ...], int, int], PixelNetwork],
        likelihood: PixelLikelihood = Bernoulli(),
        num_classes: int = 0,
        optimizer: Callable[[Iterable], Optimizer] = OnePassAdam,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, optimizer, **kwargs)
        if num_classes < 0:
            raise ValueError(f"num_classes: got {num_classes}, allowed is 0 or more")
        self.likelihood, self.num_classes = likelihood, num_classes
        self.condition = Labels(num_classes) if num_classes else None
        self._factory = network
        if self.image_shape is not None:
            self.configure_model()

    @property
    def is_built(self) -> bool:
        """Whether the network exists."""
        return hasattr(self, "network")

    def build(self, image_shape: ImageShape) -> None:
        """Create the network.

        Raises:
            ValueError: If it orders the channels that the likelihood couples.
        """
        network = self._factory(image_shape, self.likelihood.parameters_per_pixel(image_shape[0]), self.num_classes)
        if network.orders_channels and self.likelihood.couples_channels and image_shape[0] > 1:
            raise ValueError(
                f"likelihood: got {type(self.likelihood).__name__}, which couples channels, allowed with "
                f"{type(network).__name__}, which orders them, are likelihoods of one value such as Categorical"
            )
        self.network = network
        stored_for(image_shape, network)

    @property
    def averaged_updates(self) -> int:
        """Steps of the optimiser."""
        return self.trainer.global_step

    # ---- the likelihood

    def terms(self, batch: Batch) -> Terms:
        """Negative log-likelihood."""
        label = self._label_of(batch)
        return {"nll": -self._log_likelihood(batch["image"], label)}

    def count_images(self, batch: Batch) -> None:
        """Look at the classes of the run's first images too."""
        if self.images_seen == 0:
            self.classes_of(self._label_of(batch), len(batch["image"]))
            if self.condition is not None:
                check_first(self.condition, batch, len(batch["image"]), data_of(self))
        super().count_images(batch)

    def _log_likelihood(self, image: Tensor, label: Tensor | None) -> Tensor:
        image = self.likelihood.quantize(image)
        network = self.network if self.training else self.sampler
        parameters = network(image.to(next(network.parameters()).dtype), label)
        return self.likelihood.log_prob(at_least_single(parameters), image)

    def _label_of(self, batch: Batch) -> Tensor | None:
        return None if self.condition is None else required(self.condition, batch, type(self).__name__)

    def log_likelihood(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Exact log-likelihood of images, rounded to what can be drawn.

        Args:
            image: In [-1, 1], (B, *image_shape).
            label: Classes, (B,), where the model has classes.

        Returns:
            Nats, (B,).

        Raises:
            ValueError: For values outside [-1, 1], or classes that do not exist or are missing.
        """
        require_range("image", image)
        label = self.classes_of(label, len(image))
        labels = [None] * len(image) if label is None else label.split(SAMPLE_BATCH)
        with evaluating(self):
            parts = zip(image.split(SAMPLE_BATCH), labels, strict=False)
            return torch.cat([self._log_likelihood(part, classes) for part, classes in parts])

    def summaries(self, loss: Tensor) -> Terms:
        """Nats an image in bits per dimension."""
        return {"bits_per_dim": loss / (math.prod(self.network.image_shape) * math.log(2))}
