"""WGAN-GP in somebody's existing Lightning project: their data, network, logger and callbacks, our module."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from pl_genmodels import WGANGP, load
from pl_genmodels.callbacks import SampleGrid
from pl_genmodels.networks import Generator


class Stripes(LightningDataModule):
    """Any data module will do, as long as its images lie in [-1, 1]; it knows nothing of this package."""

    def train_dataloader(self) -> DataLoader:
        """Pictures of stripes, with labels that the model ignores."""
        phase = torch.rand(512, 1, 1, 1) * 6.28
        images = torch.sin(torch.arange(16.0) + phase).expand(-1, 1, 16, -1)
        return DataLoader(TensorDataset(images, torch.zeros(512)), batch_size=32, shuffle=True)


class UpsamplingGenerator(Generator):
    """A network of one's own: the image shape comes first, every other argument is plain and has a default."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int = 16, width: int = 16) -> None:
        super().__init__(image_shape, latent_dim)
        side = image_shape[-1] // 4
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, width * side * side),
            nn.Unflatten(1, (width, side, side)),
            nn.ReLU(),
            nn.Upsample(scale_factor=4),
            nn.Conv2d(width, image_shape[0], 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, latent: Tensor) -> Tensor:
        """(B, latent_dim) to (B, *image_shape)."""
        return self.layers(latent)


if __name__ == "__main__":
    best = ModelCheckpoint(monitor="generator/loss", filename="best")
    trainer = Trainer(
        max_steps=10,
        gradient_clip_val=1.0,
        logger=CSVLogger("logs", name="stripes"),
        log_every_n_steps=5,
        callbacks=[best, LearningRateMonitor(), SampleGrid(every_n_images=500)],  # the last is ours
    )
    trainer.fit(WGANGP(generator=UpsamplingGenerator), Stripes())
    print(load(best.best_model_path).sample(4).shape, "pictures and curves in", trainer.log_dir)
