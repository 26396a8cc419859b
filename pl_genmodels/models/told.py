"""Generators that are told what to make, whatever they learn from: how they read, draw and decode."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pl_genmodels.layers.conditioning import Condition
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.conditions import asked_of, check_first, required, values_for
from pl_genmodels.models.engine import data_of, evaluating
from pl_genmodels.models.latent_generator import DECODE_BATCH, LatentGenerator
from pl_genmodels.networks import ConditionalGenerator
from pl_genmodels.types import Batch


class ToldModule(LatentGenerator):
    """Players of which one owns `generator`, which makes samples out of latents and conditions."""

    condition: Condition
    generator: ConditionalGenerator  # type: ignore[assignment]

    # ---- training

    def read_batch(self, batch: Any) -> Batch:
        """A batch by name.

        Raises:
            ValueError: If the condition is missing, or the run's first batch has values that there are not.
        """
        named = self.plain_batch(batch)
        required(self.condition, named, type(self).__name__)
        if self.images_seen == 0:
            check_first(self.condition, named, len(named["image"]), data_of(self))
        return named

    def plain_batch(self, batch: Any) -> Batch:
        """A batch by name, with a condition or without."""
        return super().read_batch(batch)

    def draw(self, batch: Batch) -> Batch:
        """Add latents, and the vectors of the conditions."""
        return {**super().draw(batch), "condition": self.condition_of(batch)}

    def condition_of(self, batch: Batch) -> Tensor:
        """What the generator is told, (B, K)."""
        return self.condition.vectors(batch[self.condition.entry])

    def forward(self, latents: Tensor, condition: Tensor) -> Tensor:  # type: ignore[override]
        """Samples with gradient, in the current mode, from the trained (not averaged) generator."""
        return self.generator(latents, condition)

    # ---- what one does with it

    def decode(
        self,
        latents: Tensor,
        label: Tensor | int | None = None,
        *,
        attributes: Tensor | None = None,
        code: Tensor | None = None,
    ) -> Tensor:
        """Samples for latents, in evaluation mode, from averaged weights if there are any.

        Args:
            latents: (B, latent_dim).
            label: (B,), or one for all, for a model of labels. Of what is not given all samples get the same one.
            attributes: (B, n), or (n,) for all, for a model of properties.
            code: (B, L), or (L,) for all, for a model of codes.

        Returns:
            (B, *image_shape), in at least single precision.
        """
        asked = asked_of(self, label=label, attributes=attributes, code=code)
        wanted = values_for(self.condition, None, 1, self.device, seed=0)[0] if asked is None else asked
        return self._decode(latents, values_for(self.condition, wanted, len(latents), self.device))

    def _decode(self, latents: Tensor, values: Tensor) -> Tensor:
        condition = self.condition.vectors(values)
        with evaluating(self.sampler):
            dtype = next(self.sampler.parameters()).dtype
            parts = zip(latents.to(dtype).split(DECODE_BATCH), condition.to(dtype).split(DECODE_BATCH), strict=True)
            samples = torch.cat([self.sampler(*part) for part in parts])
        return at_least_single(samples if samples.ndim == 2 else samples.clamp(-1, 1))

    def sample(
        self,
        num_samples: int,
        *,
        label: Tensor | int | None = None,
        attributes: Tensor | None = None,
        code: Tensor | None = None,
        seed: int | None = None,
        first: int = 0,
    ) -> Tensor:
        """Draw samples; see `SamplingModule`.

        Args:
            num_samples: How many.
            label: One for all, or (num_samples,), for a model of labels; by default sample i of a seed has label i
                modulo their number.
            attributes: (n,) or (num_samples, n), for a model of properties; by default they are drawn.
            code: (L,) or (num_samples, L), for a model of codes; what is not a number is drawn.
            seed: See `SamplingModule`.
            first: See `SamplingModule`.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        asked = asked_of(self, label=label, attributes=attributes, code=code)
        values = values_for(self.condition, asked, num_samples, self.device, seed=seed, first=first)
        return self._decode(self.draw_latents(num_samples, seed=seed, first=first), values)
