"""GoGAN: stages of Wasserstein GANs, each of which has to outrank the one before (Juefei-Xu et al. 2017)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pl_genmodels.losses import Margin, WeightClipping
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.optimizers import WGANRMSprop
from pl_genmodels.models.sharding import local
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class GoGAN(LatentGAN):
    r"""In each stage after the first, samples have to score higher than those of the stage before, kept as it was.

    In the first stage D minimises $[D(y) + \epsilon - D(x)]_+$ over clipped weights, a Wasserstein GAN with a margin, G
    minimises $-D(y)$, y = G(z). From the second on both add $\lambda [D(y') + \epsilon' - D(y)]_+$ with y' the samples
    of the generator as the last stage left it, for the same z: the ranking $D(x) > D(y) > D(y')$. Stages go on with the
    weights and optimisers of the one before.

    Departs from the paper: its code was never released; the form of the terms follows the authors' description, the
    numbers are ours.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape.
        stage_updates: Generator updates of each stage but the last.
        num_stages: Number of stages; 1 is a Wasserstein GAN with a margin.
        margin: epsilon, in units of the critic.
        rank_margin: epsilon', in units of the critic, 0 or more.
        rank_weight: lambda.
        clip: Every critic parameter stays in [-clip, clip].
        critic_steps: Critic steps for one generator step.
        optimizer_generator: Called with the generator's parameters.
        optimizer_discriminator: Called with the critic's parameters.

    Raises:
        ValueError: For counts below 1, or a negative margin or weight.
    """

    paper = Paper(
        "Gang of GANs: Generative Adversarial Networks with Maximum Margin Ranking",
        "Juefei-Xu, Boddeti, Savvides",
        2017,
        "https://arxiv.org/abs/1704.04865",
        "generators in stages, each ranked above the one before by a margin",
    )

    previous_generator: Generator

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        stage_updates: int = 10_000,
        num_stages: int = 2,
        margin: float = 1.0,
        rank_margin: float = 0.0,
        rank_weight: float = 1.0,
        clip: float = 0.01,
        critic_steps: int = 5,
        optimizer_generator: Callable[[Iterable], Optimizer] = WGANRMSprop,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = WGANRMSprop,
        **kwargs: Any,
    ) -> None:
        for name, count in (("stage_updates", stage_updates), ("num_stages", num_stages)):
            if count < 1:
                raise ValueError(f"{name}: got {count}, allowed is 1 or more")
        if rank_weight < 0:
            raise ValueError(f"rank_weight: got {rank_weight}, allowed is 0 or more")
        self.stage_updates, self.num_stages, self.rank_weight = stage_updates, num_stages, rank_weight
        self.ranking = Margin(rank_margin)
        super().__init__(
            image_shape,
            generator=generator,
            discriminator=discriminator,
            loss=Margin(margin),
            constraints=[WeightClipping(clip)],
            critic_steps=critic_steps,
            optimizer_generator=optimizer_generator,
            optimizer_discriminator=optimizer_discriminator,
            **kwargs,
        )

    def build(self, image_shape: ImageShape) -> None:
        """Create both networks, and room for the last stage's generator."""
        super().build(image_shape)
        self.previous_generator = copy.deepcopy(self.generator).requires_grad_(False)

    def networks_to_shard(self) -> list[nn.Module]:
        """The kept generator goes with the trained one."""
        kept = [] if "generator" in self.replicated_players() else [self.previous_generator]
        return [*super().networks_to_shard(), *kept]

    @property
    def stage(self) -> int:
        """Number of the stage, from 0."""
        return min(self.generator_updates // self.stage_updates, self.num_stages - 1)

    def generate(self, batch: Batch) -> Batch:
        """Samples from the trained generator, and from the kept one if there is a stage before."""
        generated = super().generate(batch)
        if self.stage == 0:
            return generated
        with torch.no_grad():
            return {**generated, "previous": self.previous_generator(batch["latent"])}

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The margin between real and generated samples, and between this stage's and the last one's."""
        return {**super().discriminator_terms(batch, generated), **self._ranked(generated)}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The score, and the ranking above the last stage."""
        return {**super().generator_terms(batch, generated), **self._ranked(generated)}

    def _ranked(self, generated: Batch) -> Terms:
        if "previous" not in generated:
            return {}
        above, below = (self.judge(self.augment(generated[name])) for name in ("image", "previous"))
        return {"rank": self.rank_weight * self.ranking.discriminator(above, below)}

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """A round; when it ends a stage, the generator is kept as it is."""
        before = self.stage
        super().training_step(batch, batch_idx)
        if self.stage > before:
            with torch.no_grad():
                torch._foreach_copy_(local(self.previous_generator.parameters()), local(self.generator.parameters()))
                for kept, new in zip(self.previous_generator.buffers(), self.generator.buffers(), strict=True):
                    kept.copy_(new)
