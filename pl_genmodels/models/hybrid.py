"""A variational autoencoder whose decoder is also a GAN's generator: the base of VAE-GAN and IAN."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.layers.noise import normal_like
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.latent_generator import LatentGenerator
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import NormalPrior
from pl_genmodels.types import Batch, Terms


class HybridGAN(LatentGenerator):
    r"""Three players: a discriminator, a generator that decodes, and an encoder with $q(z|x) = N(\mu, \sigma^2)$.

    Each has terms and an optimiser of its own, so that a term reaches whom the paper says and nobody else. All of them
    see the same latents $z_p \sim N(0, I)$ and codes $z = \mu + \sigma\epsilon$ with the same $\epsilon$.

    Departs from the papers, where all players step at once: the generator sees D, and the encoder both, as they are
    after their step.

    Args:
        image_shape: See `GenerativeModule`.
        optimizer_generator: Called with the generator's parameters.
        optimizer_discriminator: Called with the discriminator's.
        optimizer_encoder: Called with the encoder's.
        scheduler_generator: Called with the generator's optimiser.
        scheduler_discriminator: Called with the discriminator's.
        scheduler_encoder: Called with the encoder's.
        scheduler_interval: Whether schedules advance by `step` (of the encoder) or `epoch`.
        compile: See `GenerativeModule`.
    """

    players = ("discriminator", "generator", "encoder")

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        optimizer_generator: Callable[[Iterable], Optimizer] = GANAdam,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = GANAdam,
        optimizer_encoder: Callable[[Iterable], Optimizer] = GANAdam,
        scheduler_generator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_discriminator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_encoder: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_interval: str = "step",
        compile: bool = False,
    ) -> None:
        super().__init__(
            image_shape,
            {
                "discriminator": optimizer_discriminator,
                "generator": optimizer_generator,
                "encoder": optimizer_encoder,
            },
            {
                "discriminator": scheduler_discriminator,
                "generator": scheduler_generator,
                "encoder": scheduler_encoder,
            },
            scheduler_interval,
            compile=compile,
        )
        self.prior = NormalPrior()
        if self.image_shape is not None:
            self.configure_model()

    # ---- codes

    @abstractmethod
    def law(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log deviations of codes, in at least single precision, (B, latent_dim) each."""

    @abstractmethod
    def encoding_networks(self) -> list[Any]:
        """Networks that `law` passes."""

    def draw(self, batch: Batch) -> Batch:
        """Add latents, and the noise of codes."""
        drawn = super().draw(batch)
        return drawn if "noise" in drawn else {**drawn, "noise": normal_like(drawn["latent"])}

    def codes(self, batch: Batch, law: tuple[Tensor, Tensor]) -> Tensor:
        """Codes drawn for a batch from what `law` says of it, (B, latent_dim)."""
        mean, log_deviation = law
        return (mean + log_deviation.exp() * batch["noise"]).to(batch["latent"].dtype)

    # ---- the players

    def generate(self, batch: Batch) -> Batch:
        """Nothing: every player's turn begins with other networks."""
        return {}

    @abstractmethod
    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """What the discriminator minimises."""

    @abstractmethod
    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """What the generator minimises."""

    @abstractmethod
    def encoder_terms(self, batch: Batch, generated: Batch) -> Terms:
        """What the encoder minimises."""

    # ---- what one does with it

    def encode(self, image: Tensor) -> Tensor:
        """Means of codes, (B, *image_shape) to (B, latent_dim)."""
        with evaluating(*self.encoding_networks()):
            return self.law(image.to(next(self.generator.parameters()).dtype))[0]

    def reconstruct(self, image: Tensor) -> Tensor:
        """Samples through their codes and back, (B, *image_shape)."""
        return self.decode(self.encode(image))
