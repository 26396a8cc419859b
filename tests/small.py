"""A GAN small enough that a whole run is a unit test."""

from __future__ import annotations

from functools import partial

import torch
from torch.utils.data import DataLoader, TensorDataset

from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.networks import MLPDiscriminator, MLPGenerator
from tests.models.harness import trainer

BATCH = 8


def gan(image_shape=(2,), model=GAN, **arguments):
    """Two networks of one hidden layer each; the same initial weights every time."""
    torch.manual_seed(0)
    networks = {
        "generator": partial(MLPGenerator, latent_dim=3, hidden_dim=8, num_layers=1),
        "discriminator": partial(MLPDiscriminator, hidden_dim=8, num_layers=1),
    }
    return model(image_shape, **{**networks, **arguments})


def samples(num_batches, image_shape=(2,), batch=BATCH):
    """Real samples in [-1, 1], one after the other."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(num_batches * batch, *image_shape, generator=generator) * 2 - 1


def loader(num_batches, image_shape=(2,), batch=BATCH):
    """An ordinary DataLoader that yields (image, label) in order."""
    images = samples(num_batches, image_shape, batch)
    return DataLoader(TensorDataset(images, torch.arange(len(images))), batch)


class Batches:
    """Given batches as a loader; Lightning takes a plain list for several loaders."""

    def __init__(self, batches):
        self.batches = list(batches)

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


def fit(model, data, tmp_path, *, seed=0, ckpt_path=None, **options):
    """Train with a fixed seed; returns the Trainer."""
    runner = trainer(tmp_path, **{"max_epochs": 1, **options})
    torch.manual_seed(seed)
    runner.fit(model, data, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
    return runner
