"""Conditional GANs with encoders that lead back from samples to latents and conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from pl_genmodels.layers import Labels
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.conditional import ConditionalGAN
from pl_genmodels.models.conditions import values_for
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.freezing import FreezingGAN
from pl_genmodels.models.optimizers import IcGANAdam
from pl_genmodels.networks import ConcatDiscriminator, ConditionalDiscriminator, Encoder, MLPEncoder
from pl_genmodels.types import Batch, ImageShape, Terms


class InvertibleGAN(FreezingGAN, ConditionalGAN):
    r"""A conditional GAN, and two encoders that lead back: $E_z$ to the latent and $E_y$ to the condition.

    The encoders minimise $\|z - E_z(G(z, y))\|^2$ on generated and $\|y - E_y(x)\|^2$ on real samples, means over
    their entries, each by itself. Their samples come from the generator as it samples: with running statistics and, if
    there are any, averaged weights, which also decode what the encoders find.

    Args:
        image_shape: See `GenerativeModule`.
        discriminator: Called with the image shape and the length of a condition.
        encoder_latent: E_z, called with the image shape and the length of a latent.
        encoder_condition: E_y, called with the image shape and the length of a condition.
        **kwargs: See `FreezingGAN`, and `ConditionalGAN`.
    """

    encoder_latent: Encoder
    encoder_condition: Encoder

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        discriminator: Callable[[tuple[int, ...], int], ConditionalDiscriminator] = ConcatDiscriminator,
        encoder_latent: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        encoder_condition: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        optimizer_encoder: Callable[[Iterable], Optimizer] = IcGANAdam,
        **kwargs: Any,
    ) -> None:
        self._encoders = {"encoder_latent": encoder_latent, "encoder_condition": encoder_condition}
        super().__init__(image_shape, discriminator=discriminator, optimizer_encoder=optimizer_encoder, **kwargs)

    # ---- networks and turns

    def build(self, image_shape: ImageShape) -> None:
        """Create the players, then the encoders, which have to know how long latents are."""
        super().build(image_shape)
        lengths = {"encoder_latent": self.generator.latent_dim, "encoder_condition": self.condition.dim}
        for name, factory in self._encoders.items():
            setattr(self, name, factory(image_shape, lengths[name]))

    def player_networks(self, player: str) -> list[nn.Module]:
        """Both encoders are one player's."""
        if player == "encoder":
            return [self.encoder_latent, self.encoder_condition]
        return super().player_networks(player)

    # ---- what the encoders minimise

    def encoder_terms(self, batch: Batch, generated: Batch) -> Terms:
        """How far their answers are from latents and conditions."""
        with evaluating(self.sampler):
            kind = next(self.sampler.parameters()).dtype
            image = self.sampler(batch["latent"].to(kind), batch["condition"].to(kind)).to(batch["image"].dtype)
        latent, condition = self.encoder_latent(image), self.encoder_condition(batch["image"])
        return {
            "latent": (at_least_single(latent) - batch["latent"]).square().mean(1),
            "condition": (at_least_single(condition) - batch["condition"]).square().mean(1),
        }

    # ---- what one does with it

    def encode(self, image: Tensor) -> Tensor:
        """Latents, (B, *image_shape) to (B, latent_dim)."""
        with evaluating(self.encoder_latent):
            return at_least_single(self.encoder_latent(image.to(self.dtype)))

    def read(self, image: Tensor) -> Tensor:
        """Conditions of samples: most likely labels, or which properties there are, (B, *image_shape) to (B, ...)."""
        with evaluating(self.encoder_condition):
            said = self.encoder_condition(image.to(self.dtype))
        return said.argmax(1) if isinstance(self.condition, Labels) else (said > 0).long()

    def locate(self, image: Tensor) -> Tensor:
        """Latents that edits start from, (B, *image_shape) to (B, latent_dim)."""
        return self.encode(image)

    def edit(self, image: Tensor, values: Tensor | int | None = None) -> Tensor:
        """Samples as they would be under another condition, G(z, y) of the latents that `locate` finds.

        Args:
            image: (B, *image_shape).
            values: Of the condition, for each or for all; by default what is read off the samples.

        Returns:
            (B, *image_shape).

        Raises:
            ValueError: For values that there are not.
        """
        asked = self.read(image) if values is None else values
        checked = values_for(self.condition, asked, len(image), self.device)
        return self._decode(self.locate(image), checked)

    def edits(self, image: Tensor, values: Tensor) -> Tensor:
        """Samples as they would be under each of several conditions; they are located once.

        Args:
            image: (B, *image_shape).
            values: Of the condition, (R, ...).

        Returns:
            (B, R, *image_shape).

        Raises:
            ValueError: For values that there are not.
        """
        each, latents = len(values), self.locate(image)
        checked = values_for(self.condition, values, each, self.device)
        asked = checked.repeat(len(latents), *[1] * (checked.ndim - 1))
        return self._decode(latents.repeat_interleave(each, 0), asked).unflatten(0, (len(latents), each))

    def reconstruct(self, image: Tensor) -> Tensor:
        """Samples through latents and conditions and back, (B, *image_shape)."""
        return self.edit(image)
