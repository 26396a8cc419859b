"""A GAN whose samples come from several generators."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.latent_generator import DECODE_BATCH
from pl_genmodels.models.latents import draw_of_seed


class LatentMixture(LatentGAN):
    """Latents have one coordinate more than a generator takes, uniform on [0, 1): it says which generator decodes."""

    @property
    @abstractmethod
    def shares(self) -> Tensor:
        """Probability of each generator, double precision on the CPU, (K,)."""

    @abstractmethod
    def make(self, latents: Tensor, members: Tensor) -> Tensor:
        """Samples by the generators of these numbers, from averaged weights if there are any.

        Args:
            latents: (N, latent_dim).
            members: Integers from 0 to K - 1, (N,).
        """

    def draw_latents(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:
        """Latents from the prior, and which generator is to decode each, (num_samples, latent_dim + 1)."""
        dim = self.generator.latent_dim

        def draw(count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
            which = torch.rand(count, 1, generator=generator, device=device)
            return torch.cat([self.prior.sample(count, dim, generator, device), which], 1)

        return draw_of_seed(draw, num_samples, self.device, seed=seed, first=first)

    def chosen(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents for a generator, (N, latent_dim), and numbers of generators, (N,)."""
        bounds = self.shares.cumsum(0)[:-1].to(latents.device, non_blocking=True)
        which = latents[:, -1].double().contiguous()
        return latents[:, :-1], torch.searchsorted(bounds, which, right=True)

    def decode(self, latents: Tensor) -> Tensor:
        """Samples for latents, each by its generator, in evaluation mode and without gradient.

        Args:
            latents: (B, latent_dim + 1).

        Returns:
            As `LatentGenerator.decode`.
        """
        with evaluating(self):
            dtype = next(self.sampler.parameters()).dtype
            parts = (self.chosen(part) for part in latents.split(DECODE_BATCH))
            samples = torch.cat([self.make(part.to(dtype), members) for part, members in parts])
        return at_least_single(samples if samples.ndim == 2 else samples.clamp(-1, 1))
