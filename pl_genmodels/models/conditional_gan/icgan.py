"""Invertible conditional GAN (Perarnau et al. 2016)."""

from __future__ import annotations

from typing import Any

import torch

from pl_genmodels.layers import Conditioned
from pl_genmodels.losses import NonSaturating
from pl_genmodels.losses.adversarial import LabelledLoss
from pl_genmodels.models.invertible import InvertibleGAN
from pl_genmodels.types import Batch, Paper, Terms


class IcGAN(InvertibleGAN):
    r"""A conditional GAN whose encoders are trained on what it has learnt, so that real samples can be edited.

    D also has to tell real samples with the condition of others: it minimises
    $sp(-D(x, y)) + \frac12 sp(D(x, y')) + \frac12 sp(D(G(z, y), y))$, where y' are the batch's conditions in another
    order, as in the authors' code. An edit is $G(E_z(x), y)$ with another y.

    Args:
        image_shape: See `GenerativeModule`.
        loss: What the two players minimise.
        **kwargs: See `InvertibleGAN`.
    """

    paper = Paper(
        "Invertible Conditional GANs for image editing",
        "Perarnau et al.",
        2016,
        "https://arxiv.org/abs/1611.06355",
        "encoders lead back to latent and condition, one of which is changed: an edit",
    )

    loss: LabelledLoss

    def __init__(
        self, image_shape: tuple[int, ...] | None = None, *, loss: LabelledLoss = NonSaturating(), **kwargs: Any
    ) -> None:
        super().__init__(image_shape, loss=loss, **kwargs)

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Real samples with their own and with others' conditions, and generated ones."""
        real, fake, own = self.augment(batch["image"]), self.augment(generated["image"]), batch["condition"]
        others = own[torch.randperm(len(own), device=own.device)]
        return {
            "real": self.loss.as_real(self.judge_pairs(real, own)),
            "mismatched": 0.5 * self.loss.as_fake(self.judge_pairs(real, others)),
            "fake": 0.5 * self.loss.as_fake(self.judge_pairs(fake, generated["condition"])),
            **self.penalty_terms(real, fake, Conditioned(self.discriminator, own)),
        }
