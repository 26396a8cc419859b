"""Autoencoders whose codes a discriminator compares with draws from a prior: the base of every AAE."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.losses import AdversarialLoss, NonSaturating, per_sample, squared_error
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating, stored_for
from pl_genmodels.models.latent_generator import LatentGenerator
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import (
    Discriminator,
    Encoder,
    Generator,
    MLPDiscriminator,
    MLPEncoder,
    MLPGenerator,
    NormalPrior,
    Prior,
)
from pl_genmodels.types import Batch, ImageShape, Terms


class AdversarialAutoencoder(LatentGenerator):
    r"""Three phases a batch, each with an optimiser of its own (Makhzani et al. 2016, section 2).

    Encoder and generator minimise the error of the reconstruction; D tells draws from the prior, which it calls real,
    from codes; the encoder wants its codes taken for draws.

    Args:
        image_shape: See `GenerativeModule`.
        generator: The decoder, called with the image shape; it says how long a code is.
        encoder: Called with the image shape and the length of a code; `NormalEncoder` draws.
        discriminator: Called with the shape of a code, (n,).
        loss: What D and the encoder minimise.
        prior: What codes are to be like.
        reconstruction_weight: Of the squared error, a mean over values.
        optimizer_autoencoder: Called with the parameters of encoder and generator.
        optimizer_discriminator: Called with the discriminator's.
        optimizer_encoder: Called with the encoder's.
        scheduler_autoencoder: Called with the first optimiser.
        scheduler_discriminator: Called with the second one.
        scheduler_encoder: Called with the third one.
        scheduler_interval: Whether schedules advance by `step` (of the encoder) or `epoch`.
        compile: See `GenerativeModule`.

    Raises:
        ValueError: For a weight that is not positive.
    """

    players: ClassVar[tuple[str, ...]] = ("autoencoder", "discriminator", "encoder")
    encoder: Encoder

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        loss: AdversarialLoss = NonSaturating(),
        prior: Prior = NormalPrior(),
        reconstruction_weight: float = 1.0,
        optimizer_autoencoder: Callable[[Iterable], Optimizer] = GANAdam,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = GANAdam,
        optimizer_encoder: Callable[[Iterable], Optimizer] = GANAdam,
        scheduler_autoencoder: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_discriminator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_encoder: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_interval: str = "step",
        compile: bool = False,
    ) -> None:
        if reconstruction_weight <= 0:
            raise ValueError(f"reconstruction_weight: got {reconstruction_weight}, allowed is more than 0")
        super().__init__(
            image_shape,
            {
                "autoencoder": optimizer_autoencoder,
                "discriminator": optimizer_discriminator,
                "encoder": optimizer_encoder,
            },
            {
                "autoencoder": scheduler_autoencoder,
                "discriminator": scheduler_discriminator,
                "encoder": scheduler_encoder,
            },
            scheduler_interval,
            compile=compile,
        )
        self.loss, self.prior, self.reconstruction_weight = loss, prior, reconstruction_weight
        self._parts = (generator, encoder, discriminator)
        if self.image_shape is not None:
            self.configure_model()

    # ---- building

    @property
    def code_dim(self) -> int:
        """Length of what the encoder gives and of what is compared with it."""
        return self.generator.latent_dim

    def build(self, image_shape: ImageShape) -> None:
        """Create the three networks."""
        generator, encoder, discriminator = self._parts
        self.generator = self.create("generator", generator, image_shape)
        self.encoder = encoder(image_shape, self.code_dim)
        for network in (self.generator, self.encoder):
            stored_for(image_shape, network)
        self.discriminator: nn.Module = self.judges(discriminator)

    def judges(self, discriminator: Callable[[tuple[int, ...]], Discriminator]) -> nn.Module:
        """Make the discriminator of codes."""
        return discriminator((self.code_dim,))

    def player_networks(self, player: str) -> list[nn.Module]:
        """The encoder is in the hands of all but the discriminator."""
        if player == "discriminator":
            return [self.discriminator]
        return [self.generator, self.encoder] if player == "autoencoder" else [self.encoder]

    def networks_to_shard(self) -> list[nn.Module]:
        """Each network once."""
        return list(dict.fromkeys(super().networks_to_shard()))

    # ---- the players

    def generate(self, batch: Batch) -> Batch:
        """Nothing: every player's turn begins with another encoder."""
        return {}

    def codes_of(self, image: Tensor) -> Tensor:
        """Codes with gradient, (B, *image_shape) to (B, latent_dim)."""
        return self.encoder(image)

    def decoded(self, codes: Tensor, batch: Batch) -> Tensor:
        """Samples for the codes of a batch with gradient, (B, latent_dim) to (B, *image_shape)."""
        return self.generator(codes)

    def autoencoder_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The error of the way there and back."""
        image = batch["image"]
        again = at_least_single(self.decoded(self.codes_of(image), batch))
        error = per_sample(squared_error(again, at_least_single(image)))
        return {"reconstruction": self.reconstruction_weight * error}

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Draws from the prior are real, codes are not."""
        with torch.no_grad():
            codes = self.codes_of(batch["image"])
        real, fake = self.judge_codes(batch["latent"], batch), self.judge_codes(codes, batch)
        return {name: self.loss.discriminator(real[name], fake[name]) for name in real}

    def encoder_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Codes that are taken for draws."""
        real: dict[str, Tensor] = {}
        if self.loss.generator_needs_real:
            with torch.no_grad():
                real = self.judge_codes(batch["latent"], batch)
        fake = self.judge_codes(self.codes_of(batch["image"]), batch)
        return {name: self.loss.generator(fake[name], real.get(name)) for name in fake}

    def judge_codes(self, codes: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Logits by the name of their term, in at least single precision, (B, latent_dim) to (B,) each."""
        return {"adversarial": at_least_single(self.discriminator(codes))}

    # ---- what one does with it

    def encode(self, image: Tensor) -> Tensor:
        """Codes, of an encoder that draws their centre, (B, *image_shape) to (B, latent_dim)."""
        with evaluating(self.encoder):
            return at_least_single(self.centre_of(image.to(next(self.encoder.parameters()).dtype)))

    def centre_of(self, image: Tensor) -> Tensor:
        """Codes without what is drawn, in the current mode, (B, *image_shape) to (B, latent_dim)."""
        return self.encoder.centre(image)

    def reconstruct(self, image: Tensor) -> Tensor:
        """Samples through their codes and back, (B, *image_shape)."""
        return self.decode(self.encode(image))
