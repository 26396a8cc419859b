"""pix2pix, translation learnt from pairs (Isola et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from pl_genmodels.losses import AdversarialLoss, NonSaturating, absolute_error, per_sample
from pl_genmodels.models.translating import TranslationModule
from pl_genmodels.networks import Discriminator, PatchDiscriminator, Translator, UNetTranslator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class Pix2Pix(TranslationModule):
    r"""A generator with dropout for noise, close to the true target, against a discriminator that sees the pair.

    G minimises $-E \log D(x, G(x)) + \lambda E\|y - G(x)\|_1$, D minimises half of
    $-E \log D(x, y) - E \log(1 - D(x, G(x)))$ (equations 1, 3, 4 and section 3.3); x and y are stacked in D's
    channels, x first. The norm is a mean over pixels. At test time the network is run as in training: dropout stays on,
    and batch normalisation uses each picture's own statistics.

    Args:
        source_shape: See `TranslationModule`.
        target_shape: See `TranslationModule`.
        generator: Called with the shapes of source and target.
        discriminator: Called with the shape of a pair, with the channels of both.
        loss: Of the logits.
        discriminator_weight: Of the discriminator's loss; it only slows D's learning relative to G's.
        l1_weight: The paper's lambda.
        **kwargs: Of `TranslationModule`.
    """

    paper = Paper(
        "Image-to-Image Translation with Conditional Adversarial Networks",
        "Isola et al.",
        2017,
        "https://arxiv.org/abs/1611.07004",
        "L1 for what is where, a discriminator of patches for what it looks like; a U-Net for every pairing",
    )

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...], tuple[int, ...]], Translator] = UNetTranslator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = partial(PatchDiscriminator, norm="batch"),
        loss: AdversarialLoss = NonSaturating(),
        discriminator_weight: float = 0.5,
        l1_weight: float = 100.0,
        **kwargs: Any,
    ) -> None:
        self._make_generator, self._make_discriminator = generator, discriminator
        self.loss, self.discriminator_weight, self.l1_weight = loss, discriminator_weight, l1_weight
        super().__init__(source_shape, target_shape, **kwargs)

    def build(self, image_shape: ImageShape) -> None:
        """Create both networks."""
        source_shape = self.source_shape or image_shape
        self.generator = nn.ModuleDict({"AtoB": self._make_generator(source_shape, image_shape)})
        pair_shape = (source_shape[0] + image_shape[0], *image_shape[1:])
        self.discriminator = nn.ModuleDict({"pair": self._make_discriminator(pair_shape)})

    def generate(self, batch: Batch) -> Batch:
        """The batch's sources as targets."""
        return {"target": self.generator["AtoB"](batch["source"])}

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """True pairs against sources with their translations."""
        real, fake = (torch.cat([batch["source"], target], 1) for target in (batch["target"], generated["target"]))
        loss = per_sample(self.loss.discriminator(*self.judge_both("pair", real, fake)))
        return {"adversarial": self.discriminator_weight * loss}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The pair has to pass for true, and the translation to be near the target."""
        logits = self.judge("pair", torch.cat([batch["source"], generated["target"]], 1))
        return {
            "adversarial": per_sample(self.loss.generator(logits)),
            "l1": self.l1_weight * absolute_error(generated["target"], batch["target"]),
        }
