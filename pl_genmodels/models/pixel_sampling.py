"""How models of pixels draw: each value given the ones before it, all or only the unknown ones."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from pl_genmodels.layers import Labels
from pl_genmodels.losses import PixelLikelihood
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.averaging import AveragedModule
from pl_genmodels.models.conditions import values_for
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.known_pixels import start_pictures
from pl_genmodels.models.latents import draw_of_seed
from pl_genmodels.models.likelihood import LikelihoodModule
from pl_genmodels.networks import PixelNetwork

SAMPLE_BATCH = 256  # pictures that are drawn at once when many are asked for


class PixelSamplingModule(AveragedModule, LikelihoodModule):
    """Draws pictures value by value through the network's cache, which computes nothing twice.

    Attributes:
        network: Predicts the parameters of each value from the values before it; its averaged weights draw, where
            there are any.
        likelihood: Of a value, or of a pixel's values.
        condition: The labels that the network depends on; None for none.
    """

    averaged = "network"
    network: PixelNetwork
    likelihood: PixelLikelihood
    condition: Labels | None

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
        if self.condition is not None:
            label = values_for(self.condition, label, num_samples, device, first=first)
        label = self.classes_of(label, num_samples)
        dtype = torch.promote_types(next(self.sampler.parameters()).dtype, torch.float32)
        empty = torch.zeros(num_samples, *self.network.image_shape, device=device, dtype=dtype)
        image, fixed = start_pictures(known, mask, empty, self.likelihood)
        starts = range(0, num_samples, SAMPLE_BATCH)
        with (
            evaluating(self),
            tqdm(total=num_samples * image.shape[2], desc="rows drawn", delay=2, leave=False, disable=None) as bar,
        ):
            for start in starts:
                part = slice(start, start + SAMPLE_BATCH)
                classes = None if label is None else label[part]
                chosen = None if fixed is None else fixed[part]
                self.fill(image[part], uniforms[part], classes, chosen, first + start, bar)
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
    def fill(
        self, image: Tensor, uniforms: Tensor, label: Tensor | None, fixed: Tensor | None, first: int, bar: tqdm
    ) -> None:
        """Draw the values of pictures in place, but for those that are fixed.

        Args:
            image: (B, C, H, W), of which only what is fixed is looked at.
            uniforms: (B, H, W, uniforms per pixel).
            label: Classes, (B,), where the model has classes.
            fixed: Pixels that stay, booleans (B, 1, H, W).
            first: Index of the first picture among the samples of its seed.
            bar: Counts rows of pictures.
        """
        network = self.sampler
        cache, places = network.cache(len(image), label), network.places()
        per_row = len(places) // image.shape[2]
        for index, (row, column, channel) in enumerate(places):
            step = slice(channel, channel + 1) if network.orders_channels else slice(None)
            parameters = at_least_single(cache.parameters(image, row, column, channel))
            values = self.likelihood.draw(parameters, uniforms[:, row, column, step])
            target = image[:, step, row, column]
            target.copy_(values if fixed is None else values.where(~fixed[:, :, row, column], target))
            if index % per_row == per_row - 1:
                bar.update(len(image))

    def classes_of(self, label: Tensor | None, number: int) -> Tensor | None:
        """Classes as the network takes them, None where it takes none.

        Raises:
            ValueError: For classes that are missing, do not exist, or are given to a model without.
        """
        if self.condition is None:
            if label is not None:
                raise ValueError("label: given, but the model has no classes (num_classes is 0)")
            return None
        if label is None:
            raise ValueError(f"label: not given, but what a {type(self).__name__} of classes says depends on it")
        return self.condition.checked(label, number).to(self.device)
