"""AM-GAN whose generator is told the class of each sample (Zhou et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.layers.conditioning import Labels
from pl_genmodels.models.classifying_gan import ClassifyingGAN
from pl_genmodels.models.conditional import ToldGenerator
from pl_genmodels.networks import ClassDiscriminator, Classifier
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class AMGANPredefined(ToldGenerator, ClassifyingGAN):
    r"""`AMGAN` with predefined labelling: G minimises $CE(l(G(z, y)), y)$ over K + 1 classes for the y that it is told.

    Args:
        image_shape: See `GenerativeModule`.
        condition: The labels.
        discriminator: Called with the image shape; it has the same number of classes.
        **kwargs: See `ToldGenerator`.

    Raises:
        ValueError: For other conditions than labels, or another number of classes.
    """

    paper = Paper(
        "Activation Maximization Generative Adversarial Nets",
        "Zhou et al.",
        2018,
        "https://arxiv.org/abs/1703.02000",
        "the discriminator's K + 1 classes replace the auxiliary classifier of a conditional GAN",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        condition: Labels = Labels(),
        discriminator: Callable[[tuple[int, ...]], Classifier] = ClassDiscriminator,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, condition=condition, discriminator=discriminator, **kwargs)

    def build(self, image_shape: ImageShape) -> None:
        """Create both networks."""
        super().build(image_shape)
        if self.condition.dim != self.num_classes:
            raise ValueError(
                f"discriminator: got one of {self.num_classes} classes, allowed with these labels is one of "
                f"{self.condition.dim}"
            )

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Look real, and like the class that was asked for."""
        return self.terms_towards(generated["image"], generated["condition"].argmax(1))
