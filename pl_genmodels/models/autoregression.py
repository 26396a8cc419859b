"""Models that predict each pixel from the pixels before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from pl_genmodels.losses import Bernoulli, PixelLikelihood
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.averaging import AveragedModule
from pl_genmodels.models.engine import evaluating, stored_for
from pl_genmodels.models.latents import draw_of_seed
from pl_genmodels.models.likelihood import LikelihoodModule
from pl_genmodels.networks import PixelNetwork
from pl_genmodels.types import Batch, ImageShape, Terms

SAMPLE_BATCH = 256  # pictures that are drawn at once when many are asked for
HALVES = ("top", "bottom", "left", "right")


class AutoregressiveModule(AveragedModule, LikelihoodModule):
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

    averaged = "network"
    network: PixelNetwork

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        network: Callable[[tuple[int, ...], int, int], PixelNetwork],
        likelihood: PixelLikelihood = Bernoulli(),
        num_classes: int = 0,
        optimizer: Callable[[Iterable], Optimizer] = torch.optim.Adam,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, optimizer, **kwargs)
        if num_classes < 0:
            raise ValueError(f"num_classes: got {num_classes}, allowed is 0 or more")
        self.likelihood, self.num_classes = likelihood, num_classes
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
            self._classes(self._label_of(batch), len(batch["image"]))
        super().count_images(batch)

    def _log_likelihood(self, image: Tensor, label: Tensor | None) -> Tensor:
        image = self.likelihood.quantize(image)
        network = self.network if self.training else self.sampler
        parameters = network(image.to(next(network.parameters()).dtype), label)
        return self.likelihood.log_prob(at_least_single(parameters), image)

    def _label_of(self, batch: Batch) -> Tensor | None:
        if not self.num_classes:
            return None
        if "label" not in batch:
            raise ValueError(
                f"batch: has keys {sorted(batch)}, but with num_classes {self.num_classes} 'label' is needed"
            )
        return batch["label"]

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
        label = self._classes(label, len(image))
        labels = [None] * len(image) if label is None else label.split(SAMPLE_BATCH)
        with evaluating(self):
            parts = zip(image.split(SAMPLE_BATCH), labels, strict=False)
            return torch.cat([self._log_likelihood(part, classes) for part, classes in parts])

    def summaries(self, loss: Tensor) -> Terms:
        """Nats an image in bits per dimension."""
        return {"bits_per_dim": loss / (math.prod(self.network.image_shape) * math.log(2))}

    # ---- samples

    def sample(
        self,
        num_samples: int,
        *,
        seed: int | None = None,
        first: int = 0,
        label: Tensor | None = None,
        known: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Draw samples, all or the unknown part of them, each value given the ones before it.

        Where pixels are known, the others are drawn in the same order as ever: each depends on the known pixels before
        it, and not on those behind. A sample is thus exact for a picture whose beginning is known, such as its top.

        Args:
            num_samples: How many.
            seed: With a seed, sample i of it always takes the same random numbers; without, torch's global state.
            first: Index of the first sample of the seed.
            label: Classes, (num_samples,), where the model has classes; by default sample i is of class i modulo
                `num_classes`.
            known: Pictures in [-1, 1], (num_samples, C, H, W) or one (C, H, W) for all.
            mask: Where they are known, booleans (num_samples, 1, H, W) or one (H, W) for all.

        Returns:
            (num_samples, C, H, W) in [-1, 1].

        Raises:
            ValueError: For arguments of a wrong shape or value.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        device = self.device
        uniforms = self.draw_uniforms(num_samples, seed=seed, first=first)
        if label is None and self.num_classes:
            label = torch.arange(first, first + num_samples, device=device) % self.num_classes
        label = self._classes(label, num_samples)
        image, fixed = self._start(num_samples, known, mask)
        starts = range(0, num_samples, SAMPLE_BATCH)
        with (
            evaluating(self),
            tqdm(total=len(starts) * image.shape[2], desc="rows drawn", delay=2, leave=False, disable=None) as bar,
        ):
            for start in starts:
                part = slice(start, start + SAMPLE_BATCH)
                classes = None if label is None else label[part]
                chosen = None if fixed is None else fixed[part]
                self._fill(image[part], uniforms[part], classes, chosen, bar)
        return image

    def complete(
        self,
        image: Tensor,
        mask: Tensor,
        num_completions: int = 1,
        *,
        seed: int | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        """Several samples for each picture of which a part is known; see `sample`.

        Args:
            image: In [-1, 1], (B, C, H, W); what is not known may hold anything in the range.
            mask: Where pixels are known, booleans (H, W).
            num_completions: Samples a picture.
            seed: Of the samples.
            label: Classes of the pictures, (B,), where the model has classes; by default samples cycle through them.

        Returns:
            (B, num_completions, C, H, W).

        Raises:
            ValueError: For no completions, or arguments of a wrong shape or value.
        """
        if num_completions < 1:
            raise ValueError(f"num_completions: got {num_completions}, allowed is 1 or more")
        if image.ndim != 4:
            raise ValueError(f"image: got shape {tuple(image.shape)}, allowed is {('B', *self.network.image_shape)}")
        repeated = image.repeat_interleave(num_completions, 0)
        label = None if label is None else label.repeat_interleave(num_completions)
        samples = self.sample(len(repeated), seed=seed, label=label, known=repeated, mask=mask)
        return samples.unflatten(0, (len(image), num_completions))

    def draw_uniforms(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:
        """The numbers that samples are made of, (num_samples, H, W, uniforms per pixel); see `sample`."""
        channels, height, width = self.network.image_shape
        each = (height, width, self.likelihood.uniforms_per_pixel(channels))

        def draw(count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
            return torch.rand(count, *each, generator=generator, device=device, dtype=torch.float32)

        return draw_of_seed(draw, num_samples, self.device, seed=seed, first=first)

    @torch.inference_mode()
    def _fill(self, image: Tensor, uniforms: Tensor, label: Tensor | None, fixed: Tensor | None, bar: tqdm) -> None:
        """Draw the values of pictures in place, but for those that are fixed."""
        channels, height, width = self.network.image_shape
        cache = self.sampler.cache(len(image), label)
        # values of a pixel that are drawn at a time
        steps = [slice(c, c + 1) for c in range(channels)] if self.network.orders_channels else [slice(None)]
        for row in range(height):
            for column in range(width):
                for step in steps:
                    parameters = at_least_single(cache.parameters(image, row, column, step.start or 0))
                    values = self.likelihood.draw(parameters, uniforms[:, row, column, step])
                    target = image[:, step, row, column]
                    target.copy_(values if fixed is None else values.where(~fixed[:, :, row, column], target))
            bar.update()

    def _start(self, num_samples: int, known: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Pictures before anything is drawn, and where they stay as they are."""
        channels, height, width = self.network.image_shape
        dtype = torch.promote_types(next(self.sampler.parameters()).dtype, torch.float32)
        image = torch.zeros(num_samples, channels, height, width, device=self.device, dtype=dtype)
        if (known is None) != (mask is None):
            raise ValueError("known: allowed is together with mask, which says where the pictures are known")
        if known is None or mask is None:
            return image, None
        shape = (num_samples, channels, height, width)
        if tuple(known.shape) not in (shape, shape[1:]):
            raise ValueError(f"known: got shape {tuple(known.shape)}, allowed are {shape} and {shape[1:]}")
        allowed = ((num_samples, 1, height, width), (height, width))
        if tuple(mask.shape) not in allowed:
            raise ValueError(f"mask: got shape {tuple(mask.shape)}, allowed are {allowed[0]} and {allowed[1]}")
        if mask.dtype != torch.bool:
            raise ValueError(f"mask: got {mask.dtype}, allowed are booleans, true where a pixel is known")
        require_range("known", known)
        fixed = mask.to(self.device).expand(num_samples, 1, height, width)
        known = self.likelihood.quantize(known.to(self.device, dtype)).expand(shape)
        return torch.where(fixed, known, image), fixed

    def _classes(self, label: Tensor | None, number: int) -> Tensor | None:
        """Classes as the network takes them."""
        if not self.num_classes:
            if label is not None:
                raise ValueError("label: given, but the model has no classes (num_classes is 0)")
            return None
        if label is None or tuple(label.shape) != (number,):
            raise ValueError(f"label: got {None if label is None else tuple(label.shape)}, allowed is ({number},)")
        low, high = (int(value) for value in label.aminmax())
        if low < 0 or high >= self.num_classes:
            raise ValueError(f"label: got values from {low} to {high}, allowed are 0 to {self.num_classes - 1}")
        return label.to(self.device)


def require_range(name: str, image: Tensor) -> None:
    """Refuse pictures that no likelihood of pixels takes.

    Raises:
        ValueError: For values outside [-1, 1], or none at all.
    """
    low, high = (float(value) for value in image.aminmax())
    if not (low >= -1 and high <= 1):
        raise ValueError(f"{name}: got values from {low:.3g} to {high:.3g}, allowed are values in [-1, 1]")


def known_half(side: str, height: int, width: int) -> Tensor:
    """A mask that is true in one half of a picture, booleans (H, W).

    Args:
        side: Which half is known: top, bottom, left or right.
        height: Of the picture.
        width: Of the picture.

    Raises:
        ValueError: For another side.
    """
    if side not in HALVES:
        raise ValueError(f"side: got {side!r}, allowed are {', '.join(HALVES)}")
    mask = torch.zeros(height, width, dtype=torch.bool)
    if side in ("top", "bottom"):
        mask[: height // 2] = True
        return mask if side == "top" else ~mask
    mask[:, : width // 2] = True
    return mask if side == "left" else ~mask
