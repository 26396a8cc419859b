"""A generator told the label and an encoder told it too: the base of conditional autoencoders in a GAN's game."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pl_genmodels.layers import EmbeddingMaps, Labels
from pl_genmodels.layers.noise import normal_like
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.conditional import ToldGenerator
from pl_genmodels.models.conditions import values_for
from pl_genmodels.models.engine import evaluating, stored_for
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import Encoder, MLPEncoder
from pl_genmodels.types import Batch, ImageShape, Terms


class ToldAutoencoder(ToldGenerator):
    r"""A generator that decodes, and an encoder with $q(z|x, c) = N(\mu, \sigma^2)$ that is a player of its own.

    The encoder sees the label as a learnt plane beside the picture (beside points as 0 and 1).

    Args:
        image_shape: See `GenerativeModule`.
        condition: The labels.
        encoder: Called with the shape of a sample with its label, and twice the length of a code: for means and log
            deviations.
        optimizer_encoder: Called with the encoder's parameters.
        **kwargs: See `ToldGenerator`.
    """

    encoder: Encoder

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        condition: Labels = Labels(),
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        optimizer_encoder: Callable[[Iterable], Optimizer] = GANAdam,
        **kwargs: Any,
    ) -> None:
        self._make_encoder = encoder
        super().__init__(image_shape, condition=condition, replay_size=0, generator_batch_factor=1, **kwargs)
        self.optimizer_factories["encoder"] = optimizer_encoder

    # ---- networks

    def build(self, image_shape: ImageShape) -> None:
        """Create the networks, and the planes of the labels."""
        super().build(image_shape)
        channels, *size = image_shape
        added = 1 if size else self.condition.dim
        self.encoder = self._make_encoder((channels + added, *size), 2 * self.generator.latent_dim)
        # behind the encoder, as in its player: files of sharded optimisers number parameters in the module's order
        self.plane = EmbeddingMaps(self.condition.dim, (added, *size))
        stored_for(image_shape, self.encoder)

    def player_networks(self, player: str) -> list[nn.Module]:
        """The planes of the labels are the encoder's."""
        return [*super().player_networks(player), *([self.plane] if player == "encoder" else [])]

    # ---- codes

    def law(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log deviations of codes, in at least single precision, (B, latent_dim) each."""
        told = self.plane(condition)
        mean, log_deviation = at_least_single(self.encoder(torch.cat([image, told.to(image.dtype)], 1))).chunk(2, 1)
        return mean, log_deviation

    def draw(self, batch: Batch) -> Batch:
        """Add latents, vectors of the labels, and the noise of codes."""
        drawn = super().draw(batch)
        return drawn if "noise" in drawn else {**drawn, "noise": normal_like(drawn["latent"])}

    def reconstructions(self, batch: Batch, law: tuple[Tensor, Tensor]) -> Tensor:
        """Samples of codes drawn from what `law` says, (B, *image_shape)."""
        mean, log_deviation = law
        code = mean + log_deviation.exp() * batch["noise"]
        return self.generator(code.to(batch["latent"].dtype), batch["condition"])

    def generate(self, batch: Batch) -> Batch:
        """Samples and reconstructions, with gradient to the generator alone."""
        with torch.no_grad():
            law = self.law(batch["image"], batch["condition"])
        return {**super().generate(batch), "reconstruction": self.reconstructions(batch, law)}

    @abstractmethod
    def encoder_terms(self, batch: Batch, generated: Batch) -> Terms:
        """What the encoder minimises."""

    # ---- what one does with it

    @abstractmethod
    def likely_labels(self, image: Tensor) -> Tensor:
        """Labels of samples whose label nobody tells, (B, *image_shape) to (B,)."""

    def encode(self, image: Tensor, label: Tensor | int | None = None) -> Tensor:
        """Means of codes, (B, *image_shape) to (B, latent_dim).

        Args:
            image: (B, *image_shape).
            label: (B,), or one for all; by default the likely ones.
        """
        asked = self.likely_labels(image) if label is None else label
        condition = self.condition.vectors(values_for(self.condition, asked, len(image), self.device))
        with evaluating(self.encoder, self.plane):
            return self.law(image.to(self.dtype), condition)[0]

    def reconstruct(self, image: Tensor, label: Tensor | int | None = None) -> Tensor:
        """Samples through their codes and back, (B, *image_shape); see `encode`."""
        asked = self.likely_labels(image) if label is None else label
        return self.decode(self.encode(image, asked), asked)
