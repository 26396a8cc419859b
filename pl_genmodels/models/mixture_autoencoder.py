"""Adversarial autoencoders whose prior has modes that mean something: labels, or clusters."""

from __future__ import annotations

import torch
from torch import Tensor

from pl_genmodels.layers.conditioning import Labels
from pl_genmodels.models.adversarial_autoencoder import AdversarialAutoencoder
from pl_genmodels.models.latents import draw_of_seed
from pl_genmodels.networks import MixturePrior


class MixtureAutoencoder(AdversarialAutoencoder):
    """An adversarial autoencoder that makes samples of the mode that one asks for."""

    prior: MixturePrior

    @property
    def condition(self) -> Labels:
        """What one may ask for: the numbers of the modes."""
        return Labels(self.prior.num_modes)

    def draw_latents_of(
        self, label: Tensor | int, num_samples: int, *, seed: int | None = None, first: int = 0
    ) -> Tensor:
        """Latents of modes; those of one seed share what is random in them.

        Args:
            label: One for all, or (num_samples,).
            num_samples: How many.
            seed: See `SamplingModule.sample`.
            first: See `SamplingModule.sample`.

        Returns:
            (num_samples, latent_dim).

        Raises:
            ValueError: For modes that there are not.
        """

        def noise(count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
            return self.prior.noise(count, self.code_dim, generator, device)

        mode = self.condition.checked(label, num_samples).to(self.device)
        return self.prior.of_modes(draw_of_seed(noise, num_samples, self.device, seed=seed, first=first), mode)

    def sample(
        self, num_samples: int, *, label: Tensor | int | None = None, seed: int | None = None, first: int = 0
    ) -> Tensor:
        """Draw samples; see `SamplingModule`.

        Args:
            num_samples: How many.
            label: Number of a mode, for all or for each, (num_samples,); without, they are drawn.
            seed: See `SamplingModule`.
            first: See `SamplingModule`.
        """
        if label is None:
            return super().sample(num_samples, seed=seed, first=first)
        return self.decode(self.draw_latents_of(label, num_samples, seed=seed, first=first))
