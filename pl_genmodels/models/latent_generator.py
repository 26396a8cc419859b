"""A generator of latents, whatever it learns from: how it draws, decodes and generates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.averaging import AveragedGeneratorModule
from pl_genmodels.models.base import SamplingModule
from pl_genmodels.models.engine import evaluating, stored_for
from pl_genmodels.models.latents import draw_latents
from pl_genmodels.networks import Generator, Prior
from pl_genmodels.types import Batch, ImageShape

DECODE_BATCH = 256  # samples that pass a generator at once when many are asked for


class LatentGenerator(AveragedGeneratorModule, SamplingModule):
    """Players of which one owns `generator`, which makes samples out of latents from `prior`."""

    generator: Generator
    generator_ema: Generator
    prior: Prior
    _factories: dict[str, Callable[[ImageShape], Any]]  # by the name of the network

    @property
    def is_built(self) -> bool:
        """Whether the networks exist."""
        return hasattr(self, "generator")

    def build(self, image_shape: ImageShape) -> None:
        """Create every network, and store those of pictures channels-last (faster on CPU too)."""
        for player, factory in self._factories.items():
            network: Any = factory if isinstance(factory, nn.Module) else self.create(player, factory, image_shape)
            if tuple(network.image_shape) != image_shape:
                raise ValueError(f"{player}: built for image_shape {network.image_shape}, the data have {image_shape}")
            setattr(self, player, stored_for(image_shape, network))

    def create(self, player: str, factory: Any, image_shape: ImageShape) -> Any:
        """Make a player's network."""
        return factory(image_shape)

    # ---- sampling

    def draw_latents(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:
        """Latents from the prior, (num_samples, latent_dim); see `sample` for the arguments."""
        dim = self.generator.latent_dim
        return draw_latents(self.prior, num_samples, dim, self.device, seed=seed, first=first)

    def decode(self, latents: Tensor) -> Tensor:
        """Samples for latents, in evaluation mode and without gradient, from averaged weights if there are any.

        Args:
            latents: (B, latent_dim).

        Returns:
            In at least single precision, (B, *image_shape); pictures in [-1, 1] also if the generator's last layer is
            linear.
        """
        with evaluating(self.sampler):
            dtype = next(self.sampler.parameters()).dtype
            samples = torch.cat([self.sampler(part) for part in latents.to(dtype).split(DECODE_BATCH)])
        return at_least_single(samples if samples.ndim == 2 else samples.clamp(-1, 1))

    def sample(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:  # noqa: D102
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        return self.decode(self.draw_latents(num_samples, seed=seed, first=first))

    def forward(self, latents: Tensor) -> Tensor:
        """Samples for latents with gradient, in the current mode, from the trained (not averaged) generator."""
        return self.generator(latents)

    # ---- training

    def draw(self, batch: Batch) -> Batch:
        """Add latents, unless the batch brings its own."""
        if "latent" in batch:
            return batch
        return {**batch, "latent": self._training_latents(len(batch["image"]))}

    def _training_latents(self, num_samples: int) -> Tensor:
        return self.draw_latents(num_samples).to(next(self.generator.parameters()).dtype)

    def generate(self, batch: Batch) -> Batch:
        """Samples from the trained generator."""
        return {"image": self.generator(batch["latent"])}
