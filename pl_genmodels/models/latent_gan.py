"""A generator of latents against one discriminator: the base of every unconditional GAN."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.layers import Augmentation, ImagePool, mixes_pictures
from pl_genmodels.losses import AdversarialLoss, Constraint, NonSaturating, Penalty
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.latent_generator import LatentGenerator
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.models.sharding import is_sharded
from pl_genmodels.networks import Discriminator, Generator, NormalPrior, Prior
from pl_genmodels.types import Batch, ImageShape, Terms


class LatentGAN(LatentGenerator):
    """A generator of latents against one discriminator: any objective, penalties and constraints.

    D minimises `loss.discriminator(D(x), D(G(z)))` plus the penalties; G minimises `loss.generator(D(G(z)), D(x))`.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape, or a finished network of that shape.
        discriminator: Called with the image shape, or a finished network of that shape.
        loss: What the two players minimise.
        penalties: Terms added to the discriminator's loss.
        constraints: What keeps the discriminator's weights in a set.
        augmentations: What the discriminator sees samples through, real and generated ones, in both players' turns.
        replay_size: Generated samples to keep, half of which the discriminator is shown in place of new ones; see
            `ImagePool`.
        prior: Distribution of the latents.
        critic_steps: Discriminator steps for one generator step, each on its own batch.
        fresh_latents: New latents for the generator's turn (the paper's two forwards) instead of shared ones.
        generator_batch_factor: The generator's turn uses this many times the batch size; above 1 its latents are fresh.
        optimizer_generator: Called with the generator's parameters.
        optimizer_discriminator: Called with the discriminator's parameters.
        scheduler_generator: Called with the generator's optimiser.
        scheduler_discriminator: Called with the discriminator's optimiser.
        scheduler_interval: Whether schedules advance by `step` (generator updates) or `epoch`.
        compile: See `GenerativeModule`.

    Raises:
        ValueError: For counts below 1, networks of another shape, or a batch factor above 1 with a loss that pairs
            generated with real samples.
    """

    discriminator: Discriminator

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        generator: Callable[[tuple[int, ...]], Generator],
        discriminator: Callable[[tuple[int, ...]], Discriminator],
        loss: AdversarialLoss = NonSaturating(),
        penalties: list[Penalty] | None = None,
        constraints: list[Constraint] | None = None,
        augmentations: list[Augmentation] | None = None,
        replay_size: int = 0,
        prior: Prior = NormalPrior(),
        critic_steps: int = 1,
        fresh_latents: bool = False,
        generator_batch_factor: int = 1,
        optimizer_generator: Callable[[Iterable], Optimizer] = GANAdam,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = GANAdam,
        scheduler_generator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_discriminator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_interval: str = "step",
        compile: bool = False,
    ) -> None:
        super().__init__(
            image_shape,
            {"discriminator": optimizer_discriminator, "generator": optimizer_generator},
            {"discriminator": scheduler_discriminator, "generator": scheduler_generator},
            scheduler_interval,
            critic_steps,
            fresh_latents or generator_batch_factor > 1,
            compile,
        )
        if replay_size < 0:
            raise ValueError(f"replay_size: got {replay_size}, allowed is 0 or more")
        if generator_batch_factor < 1:
            raise ValueError(f"generator_batch_factor: got {generator_batch_factor}, allowed is 1 or more")
        if generator_batch_factor > 1 and loss.generator_needs_real:
            raise ValueError(
                f"generator_batch_factor: got {generator_batch_factor}, allowed is 1 with {type(loss).__name__}, "
                "which compares each generated sample with a real one"
            )
        self.generator_batch_factor = generator_batch_factor
        self.loss, self.prior = loss, prior
        self.penalties, self.constraints = penalties or [], constraints or []
        self.augmentations, self.replay_size = augmentations or [], replay_size
        self._factories = {"generator": generator, "discriminator": discriminator}
        if self.image_shape is not None:
            self.configure_model()

    # ---- building

    def build(self, image_shape: ImageShape) -> None:
        """Create both networks and constrain the discriminator."""
        super().build(image_shape)
        for constraint in self.constraints:
            constraint.attach(self.discriminator)
        if self.replay_size:
            self.replay = ImagePool(image_shape, self.replay_size)

    def player_networks(self, player: str) -> list[nn.Module]:
        """The discriminator owns what it remembers of earlier samples and logits."""
        networks = super().player_networks(player)
        if player == "discriminator":
            networks += [self.replay] if self.replay_size else []
            networks += [self.loss] if isinstance(self.loss, nn.Module) else []
        return networks

    def replicated_players(self) -> set[str]:
        """A penalty on the discriminator's gradient needs the discriminator whole."""
        twice = any(penalty.double_backward for penalty in self.penalties)
        return super().replicated_players() | ({"discriminator"} if twice else set())

    def networks_to_shard(self) -> list[nn.Module]:
        """All but what a penalty needs whole.

        Raises:
            ValueError: If the discriminator is to be sharded, or is sharded, in spite of a penalty that forbids it.
        """
        twice = [penalty.name for penalty in self.penalties if penalty.double_backward]
        if twice and ("discriminator" not in self.replicated_players() or is_sharded(self.discriminator)):
            raise ValueError(
                f"penalties: got {', '.join(twice)} and a sharded discriminator, allowed with a gradient of its "
                "gradient is one that lies whole on every rank, as replicated_players says"
            )
        return super().networks_to_shard()

    # ---- the two players

    def on_train_start(self) -> None:
        """Warn of a penalty on a sample's own gradient where samples of a batch influence each other."""
        super().on_train_start()
        own = [penalty.name for penalty in self.penalties if penalty.double_backward]
        if own and mixes_pictures(self.discriminator):
            rank_zero_warn(
                f"penalties: got {', '.join(own)}, of gradients sample by sample, and a discriminator with batch "
                "normalisation, which mixes the samples of a batch; better is one without"
            )

    def draw_for_clock(self, batch: Batch) -> Batch:
        """New latents for the generator's turn."""
        return {**batch, "latent": self._training_latents(self.generator_batch_factor * len(batch["image"]))}

    def shown(self, player: str, generated: Batch) -> Batch:
        """New and earlier samples for the discriminator, if it has a memory."""
        if not self.replay_size or player != "discriminator":
            return generated
        return {**generated, "image": self.replay(generated["image"].detach())}

    def augment(self, images: Tensor) -> Tensor:
        """Samples as the discriminator sees them."""
        for augmentation in self.augmentations:
            images = augmentation(images, self.images_seen)
        return images

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Real and generated samples pass the discriminator as two batches, so that batch statistics stay apart."""
        real, fake = self.augment(batch["image"]), self.augment(generated["image"])
        adversarial = self.loss.discriminator(self.judge(real), self.judge(fake))
        return {"adversarial": adversarial, **self.penalty_terms(real, fake)}

    def penalty_terms(self, real: Tensor, fake: Tensor, critic: nn.Module | None = None) -> Terms:
        """Each penalty at samples as the discriminator, or the part of it that judges, sees them."""
        judge = self.discriminator if critic is None else critic
        return {penalty.name: penalty(judge, real, fake) for penalty in self.penalties}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The discriminator is held still; its answers on real samples are constants."""
        real = None
        if self.loss.generator_needs_real:
            with torch.no_grad():
                real = self.judge(self.augment(batch["image"]))
        return {"adversarial": self.loss.generator(self.judge(self.augment(generated["image"])), real)}

    def judge(self, images: Tensor) -> Tensor:
        """Logits in at least single precision, (B,)."""
        return at_least_single(self.discriminator(images))

    def logits_of(self, batch: Batch, fake: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Logits of real samples and of those that `sample` drew with a seed, for whoever watches the two players."""
        return self.judge(batch["image"]), self.judge(fake)

    def after_step(self, player: str) -> None:
        """Bring the discriminator back into its constraints."""
        if player == "discriminator":
            for constraint in self.constraints:
                constraint.project(self.discriminator)
