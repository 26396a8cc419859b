"""A GAN and a VAE of the same digits in the charts of one Weights & Biases project, judged by the same FID.

`python examples/compare_in_wandb.py` takes a minute or two on two cores; with WANDB_MODE=offline it needs no account.
"""

from __future__ import annotations

import sys
from functools import partial

import wandb
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import WandbLogger

from pl_genmodels import DCGAN, ConvVAE
from pl_genmodels.callbacks import Fidelity, SampleGrid
from pl_genmodels.data import Digits
from pl_genmodels.metrics import DigitClassifier
from pl_genmodels.models.base import GenerativeModule
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator


def models() -> dict[str, GenerativeModule]:
    """Two families; the image shape is read from the data."""
    generator = partial(DCGANGenerator, channels=16)
    discriminator = partial(DCGANDiscriminator, channels=16)
    return {"dcgan": DCGAN(generator=generator, discriminator=discriminator), "conv_vae": ConvVAE(latent_dim=16)}


if __name__ == "__main__":
    epochs = int((sys.argv[1:] or ["40"])[0])
    for name, model in models().items():
        seed_everything(0)
        trainer = Trainer(
            max_epochs=epochs,
            check_val_every_n_epoch=max(1, epochs // 5),
            logger=WandbLogger(project="digits", name=name, save_dir="wandb_runs"),
            callbacks=[SampleGrid(), Fidelity(DigitClassifier())],
        )
        trainer.fit(model, Digits(size=32, batch_size=64))
        # losses, pictures and `val/fid-digits-64-...` are drawn over `images_seen`, which both runs share
        print(f"{name}: FID {trainer.callback_metrics['fid']:.1f} after {model.images_seen:,} images")
        wandb.finish()
