"""FF-GAN, faces from the front by way of a head model (Yin et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.losses import (
    AdversarialLoss,
    NonSaturating,
    absolute_error,
    asymmetry,
    per_sample,
    squared_error,
    total_variation,
)
from pl_genmodels.models.engine import stored_for
from pl_genmodels.models.guided_translating import GuidedTranslation
from pl_genmodels.networks import CodedTranslator, ConvDiscriminator, Discriminator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms

TERMS = ("l1", "smoothness", "symmetry", "adversarial", "identity", "feature")


class FFGAN(GuidedTranslation):
    r"""Turned faces from the front: G is told the coefficients of the head, D judges, and C knows who it is.

    With $\hat x = G(x, R(x))$ and the true frontal picture $x_g$, G minimises the weighted sum of
    $\|\hat x - x_g\|_1$; the total variation of $\hat x$; its difference from its mirror image where x shows it,
    $\|M \odot (\hat x - flip(\hat x))\|_1$; the adversarial loss of $D(\hat x)$; the cross-entropy of $C(\hat x)$; and
    the squared distance of C's features of $\hat x$ and $x_g$. Norms are means, that of the mirror image over the
    pixels that count. D tells $x_g$ from $\hat x$. What R and C learn, and when, says `GuidedTranslation`.

    Departs from the paper: R learns from true coefficients only, also when all learn together; the weights, of means,
    are ours.

    Args:
        source_shape: See `TranslationModule`.
        target_shape: See `TranslationModule`.
        generator: G, called with both shapes and the number of coefficients.
        discriminator: D, called with the target's shape.
        loss: Of D's logits.
        l1_weight: Of the distance from the true picture.
        smoothness_weight: Of the total variation.
        symmetry_weight: Of the difference from the mirror image; a batch has `visible`, (B, 1, H, W), the pixels of the
            frontal picture that its source shows.
        adversarial_weight: Of the adversarial loss.
        identity_weight: Of the cross-entropy.
        feature_weight: Of the distance of features.
        **kwargs: Of `GuidedTranslation`.

    Raises:
        ValueError: For negative weights.
    """

    paper = Paper(
        "Towards Large-Pose Face Frontalization in the Wild",
        "Yin et al.",
        2017,
        "https://arxiv.org/abs/1704.06244",
        "a head model's coefficients tell the generator the shape and the turn of a face to be seen from the front",
    )

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        *,
        generator: Callable[[tuple[int, ...], tuple[int, ...], int], CodedTranslator] = CodedTranslator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = ConvDiscriminator,
        loss: AdversarialLoss = NonSaturating(),
        l1_weight: float = 10.0,
        smoothness_weight: float = 0.01,
        symmetry_weight: float = 0.5,
        adversarial_weight: float = 0.1,
        identity_weight: float = 0.1,
        feature_weight: float = 0.1,
        **kwargs: Any,
    ) -> None:
        values = (l1_weight, smoothness_weight, symmetry_weight, adversarial_weight, identity_weight, feature_weight)
        self._weights = dict(zip(TERMS, values, strict=True))
        for name, value in self._weights.items():
            if value < 0:
                raise ValueError(f"{name}_weight: got {value}, allowed is 0 or more")
        self._players, self.loss = (generator, discriminator), loss
        super().__init__(source_shape, target_shape, **kwargs)

    def build(self, image_shape: ImageShape) -> None:
        """Create the experts, the generator and the discriminator."""
        super().build(image_shape)
        generator, discriminator = self._players
        source_shape = self.source_shape or image_shape
        self.generator = nn.ModuleDict({"AtoB": generator(source_shape, image_shape, self.num_coefficients)})
        self.discriminator = nn.ModuleDict({"B": discriminator(image_shape)})
        for network in (self.generator, self.discriminator):
            stored_for(image_shape, network)

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """True frontal pictures against generated ones."""
        judged = self.judge_both("B", batch["target"], generated["target"])
        return {"adversarial": per_sample(self.loss.discriminator(*judged))}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Near the truth, smooth, symmetric where it is known, taken for true and for who it is."""
        fake, real = generated["target"], batch["target"]
        dtype = next(self.recogniser.parameters()).dtype
        with torch.autocast(fake.device.type, enabled=False):  # features of near pictures differ by few bits
            logits, features = self.recognise(fake.to(dtype))
            wanted = self._features(real.to(dtype))
        terms: dict[str, Tensor] = {
            "l1": absolute_error(fake, real),
            "smoothness": total_variation(fake),
            "symmetry": asymmetry(fake, batch["visible"]),
            "adversarial": per_sample(self.loss.generator(self.judge("B", fake))),
            "identity": self.unrecognised(logits, batch),
            "feature": squared_error(features, wanted),
        }
        return {name: self._weights[name] * term for name, term in terms.items()}

    @torch.no_grad()
    def _features(self, images: Tensor) -> Tensor:
        return self.recognise(images)[1]
