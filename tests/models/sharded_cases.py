"""Models that the two processes of `shard_worker` train, and one process of `test_sharding` beside them."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from pl_genmodels.callbacks import GeneratorEMA
from pl_genmodels.losses import SpectralNorm
from pl_genmodels.metrics import FeatureExtractor
from pl_genmodels.models.gan.d2gan import D2GAN
from pl_genmodels.models.gan.dcgan import DCGAN
from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.models.gan.geometric_gan import GeometricGAN
from pl_genmodels.models.gan.r3gan import R3GAN
from pl_genmodels.models.gan.wgan import WGAN
from pl_genmodels.models.gan.wgan_gp import WGANGP
from pl_genmodels.models.likelihood import LikelihoodModule
from pl_genmodels.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
    R3GANDiscriminator,
    R3GANGenerator,
)
from pl_genmodels.types import Paper
from tests.models.harness import Given, frozen_batch_statistics, snapshot, trainer, whole
from tests.models.randomness import SharedRandomness, seeded

SEED = 100  # of rank 0's initial weights; other ranks start elsewhere
BLOCK = 60  # parameters from which on a block is sharded by itself
RANKS, BATCH, ROUNDS = 2, 8, 5
NUM_FAKE = 21  # not even
POINTS, PICTURES = (2,), (1, 16, 16)

mlp = {
    "generator": partial(MLPGenerator, latent_dim=3, hidden_dim=9, num_layers=2),  # 9: shards of unequal length
    "discriminator": partial(MLPDiscriminator, hidden_dim=9, num_layers=2),
}
convolutions = {
    "generator": partial(DCGANGenerator, latent_dim=4, channels=2),
    "discriminator": partial(DCGANDiscriminator, channels=2),
}
spectral = {
    **convolutions,
    "discriminator": partial(DCGANDiscriminator, channels=2, batch_norm=False),
    "constraints": [SpectralNorm()],
}
residual = {
    "generator": partial(R3GANGenerator, latent_dim=4, channels=4, blocks_per_stage=1, cardinality=2),
    "discriminator": partial(R3GANDiscriminator, channels=4, blocks_per_stage=1, cardinality=2),
}


class Line(LikelihoodModule):
    """Regression of a point's second coordinate on its first, with a variance that belongs to no network."""

    paper = Paper("A line", "Galton", 1886, "https://example.org", "nothing")

    def __init__(self, image_shape: tuple[int, ...] | None = None) -> None:
        super().__init__(image_shape, torch.optim.Adam)
        self.configure_model()

    @property
    def is_built(self):
        return hasattr(self, "network")

    def build(self, image_shape):
        self.network = nn.Sequential(nn.Linear(1, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 1))
        self.log_scale = nn.Parameter(torch.randn(()))

    def terms(self, batch):
        error = batch["image"][:, 1:] - self.network(batch["image"][:, :1])
        squares = (error * torch.exp(-self.log_scale)).square().sum(1)
        return {"squares": squares, "volume": self.log_scale.expand(len(error))}

    def sample(self, num_samples, *, seed=None, first=0):
        x = torch.linspace(-1, 1, num_samples)[:, None]
        return torch.cat([x, self.network(x).detach()], 1)


class Backwards(D2GAN):
    """One whose optimiser of two discriminators has them in another order than the module."""

    def player_networks(self, player):
        return super().player_networks(player)[::-1]


# name: model, its arguments, micro-batches, clipping, networks that end up sharded
both = {"generator", "discriminator", "generator_ema"}
CASES = {
    "gan": (GAN, {"image_shape": POINTS, **mlp, "critic_steps": 2}, 1, None, both),
    "dcgan": (DCGAN, {"image_shape": PICTURES, **convolutions}, 2, 0.5, both),
    "wgan_gp": (WGANGP, {"image_shape": POINTS, **mlp, "critic_steps": 2}, 2, 0.5, both - {"discriminator"}),
    "geometric_gan": (GeometricGAN, {"image_shape": PICTURES, **spectral}, 1, 0.1, both),
    "wgan": (WGAN, {"image_shape": PICTURES, **convolutions, "warmup_updates": 0, "critic_steps": 1}, 1, None, both),
    "r3gan": (R3GAN, {"image_shape": PICTURES, **residual}, 1, None, both - {"discriminator"}),
    "line": (Line, {"image_shape": POINTS}, 2, 0.5, {"network"}),
}


class Columns(FeatureExtractor):
    """Mean of each column of a picture."""

    def __init__(self) -> None:
        super().__init__(PICTURES[-1])

    @property
    def name(self) -> str:
        return "columns"

    def build(self):
        return nn.Identity()

    def extract(self, network, images):
        return network(images).float().mean((1, 2)), None


def train(name, folder, *, rank=0, world_size=1, strategy="auto"):
    """Train a case on shared randomness, with what `SharedRandomness` says about the layout of batches.

    Lightning's precision is "32-true", as it refuses a sharded "64-true"; the networks are in double precision all the
    same, only latents are drawn in single.

    Returns:
        The trained model, everything that training has made with shards put together, and the norms of gradients.
    """
    *_, micro_batches, clip, _ = CASES[name]
    module = model(name, SEED + rank)
    part = BATCH // RANKS // micro_batches
    step, mode = module.training_step, SharedRandomness(rank, world_size, part, micro_batches)

    def training_step(batch, batch_idx):
        with seeded(batch_idx), mode:
            return step(batch, batch_idx)

    module.training_step = training_step
    rows = torch.arange(BATCH).view(micro_batches, RANKS, part)[:, rank].flatten()
    mine = [{key: value if world_size == 1 else value[rows] for key, value in batch.items()} for batch in batches(name)]
    runner = trainer(
        folder,
        max_epochs=1,
        callbacks=[GeneratorEMA(half_life=20)] if hasattr(module, "add_average") else [],
        strategy=strategy,
        devices=world_size,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        accumulate_grad_batches=micro_batches,
        gradient_clip_val=clip,
    )
    with frozen_batch_statistics(module):
        runner.fit(module, Given(mine))
    norms = {f"norm/{player}": norm for player, norm in getattr(module, "gradient_norms", {}).items()}
    return module, {**whole(snapshot(module, runner)), **norms}


def model(name, seed=SEED):
    """The case's model in double precision."""
    kind, arguments, *_ = CASES[name]
    torch.manual_seed(seed)
    return kind(**arguments).double()


def batches(name):
    """The case's real samples, whole batches."""
    generator = torch.Generator().manual_seed(1)
    shape = CASES[name][1]["image_shape"]
    return [{"image": torch.rand(BATCH, *shape, generator=generator).double() * 2 - 1} for _ in range(ROUNDS)]
