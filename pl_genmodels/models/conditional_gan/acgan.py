"""Auxiliary classifier GAN (Odena, Olah, Shlens 2017)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.layers import Labels
from pl_genmodels.models.auxiliary import AuxiliaryGAN
from pl_genmodels.models.engine import evaluating
from pl_genmodels.types import Batch, Paper, Terms


class ACGAN(AuxiliaryGAN):
    r"""D maximises $L_S + L_C$, G maximises $L_C - L_S$ (section 3).

    $L_S = E \log P(real|x) + E \log P(fake|G(z, c))$ is of the source, $L_C = E \log P(c|x) + E \log P(c|G(z, c))$ of
    the class, of real and of generated samples.

    Args:
        image_shape: See `GenerativeModule`.
        condition: The labels.
        class_weight: Of $L_C$ in both players' losses, of real and generated samples each.
        **kwargs: See `AuxiliaryGAN`.

    Raises:
        ValueError: For a negative weight.
    """

    paper = Paper(
        "Conditional Image Synthesis With Auxiliary Classifier GANs",
        "Odena, Olah, Shlens",
        2017,
        "https://arxiv.org/abs/1610.09585",
        "the discriminator is not told the class but has to name it",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        condition: Labels = Labels(),
        class_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if class_weight < 0:
            raise ValueError(f"class_weight: got {class_weight}, allowed is 0 or more")
        self.class_weight = class_weight
        super().__init__(image_shape, condition=condition, **kwargs)

    def found_terms(self, said: Tensor, batch: Batch) -> Terms:
        """Cross-entropy of the classes of generated samples, which are those of the batch."""
        # the generator's own batch may be larger, and then be divided otherwise than the labels
        return {"class": self.class_weight * self._cross_entropy(said, batch["condition"].argmax(1))}

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Source and class, of real and of generated samples."""
        terms = super().discriminator_terms(batch, generated)
        terms["class_fake"] = terms.pop("class")
        _, said = self.say(self.augment(batch["image"]))
        return {**terms, "class_real": self.class_weight * self._cross_entropy(said, batch["label"])}

    def _cross_entropy(self, said: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(said, labels, reduction="none")

    def classify(self, images: Tensor) -> Tensor:
        """Most likely class of each sample, in evaluation mode, (B, *image_shape) to (B,)."""
        with evaluating(self.discriminator):
            return self.say(images)[1].argmax(1)
