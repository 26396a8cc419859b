"""A model that nobody has published: a new objective on the parts of the package, saved and loaded like all others."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from pl_genmodels import load
from pl_genmodels.data import Ring8
from pl_genmodels.losses import NonSaturating
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Batch, Paper, Terms


class CentredGAN(LatentGAN):
    """The non-saturating GAN whose generator also keeps the mean of its samples near that of the data.

    Args:
        image_shape: See `GenerativeModule`.
        mean_weight: Of the new term.
        **kwargs: See `LatentGAN`.
    """

    paper = Paper("An example", "Nobody", 2025, "https://example.org", "the mean of the samples is that of the data")

    def __init__(self, image_shape: tuple[int, ...] | None = None, mean_weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(
            image_shape, generator=MLPGenerator, discriminator=MLPDiscriminator, loss=NonSaturating(), **kwargs
        )
        self.mean_weight = mean_weight

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Named terms, one value per sample; the package averages, synchronises, clips, steps and logs them."""
        apart: Tensor = (generated["image"].mean(0) - batch["image"].mean(0)).square().sum()
        terms = super().generator_terms(batch, generated)
        return {**terms, "mean": self.mean_weight * apart.expand(len(batch["image"]))}


if __name__ == "__main__":
    torch.manual_seed(0)
    trainer = Trainer(max_steps=50, logger=False)
    trainer.fit(CentredGAN(mean_weight=0.5), Ring8(batch_size=128))
    trainer.save_checkpoint("centred.ckpt")
    print(load("centred.ckpt").sample(1000, seed=0).mean(0))  # near (0, 0)
