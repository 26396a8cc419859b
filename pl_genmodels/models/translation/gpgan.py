"""GP-GAN's blending network (Wu et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.losses import Wasserstein, WeightClipping, per_sample, squared_error
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.models.schedules import steps_with_warmup
from pl_genmodels.models.translating import TranslationModule
from pl_genmodels.networks import DCGANDiscriminator, Discriminator, EncoderDecoderTranslator, Translator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class GPGAN(TranslationModule):
    r"""From a copied-and-pasted composite to a small picture that looks real, whose colours then guide a blending.

    G minimises $\lambda\, E|G(x) - y|_2^2 - (1 - \lambda)\, E f(G(x))$, the critic with clipped weights
    $E f(G(x)) - E f(y)$ (equations 1 to 3), for a composite x and the picture y that was pasted into. The square is a
    mean over pixels. What makes a large picture of it is `pl_genmodels.editing.blend`, or the command `blend`; there
    any model with latents can stand in (the paper's unsupervised variant).

    Args:
        source_shape: See `TranslationModule`.
        target_shape: See `TranslationModule`.
        generator: Called with the shapes of source and target.
        discriminator: Called with the shape of a target; the critic f.
        l2_weight: The paper's lambda, in [0, 1]; the rest is the critic's.
        clip: Every critic parameter stays in [-clip, clip].
        critic_steps: Critic steps for one generator step.
        warmup_updates: The first so many generator updates, and every 500th, get `warmup_steps` critic steps (the
            authors' code); 0 turns the schedule off.
        warmup_steps: Critic steps of those updates.
        optimizer_generator: Called with the generator's parameters.
        optimizer_discriminator: Called with the critic's parameters.
        scheduler_generator: Called with the generator's optimiser.
        scheduler_discriminator: Called with the critic's optimiser.
        **kwargs: Of `TranslationModule`.
    """

    paper = Paper(
        "GP-GAN: Towards Realistic High-Resolution Image Blending",
        "Wu et al.",
        2019,
        "https://arxiv.org/abs/1703.07195",
        "a network blends colours in small, a Gaussian-Poisson equation the gradients of the large pictures",
    )

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...], tuple[int, ...]], Translator] = partial(
            EncoderDecoderTranslator, bottleneck=4000
        ),
        discriminator: Callable[[tuple[int, ...]], Discriminator] = DCGANDiscriminator,
        l2_weight: float = 0.999,
        clip: float = 0.01,
        critic_steps: int = 5,
        warmup_updates: int = 25,
        warmup_steps: int = 100,
        optimizer_generator: Callable[[Iterable], Optimizer] = partial(GANAdam, lr=2e-3),
        optimizer_discriminator: Callable[[Iterable], Optimizer] = GANAdam,
        scheduler_generator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_discriminator: Callable[[Optimizer], LRScheduler] | None = None,
        **kwargs: Any,
    ) -> None:
        if not 0 <= l2_weight <= 1:
            raise ValueError(f"l2_weight: got {l2_weight}, allowed are values in [0, 1]")
        steps_with_warmup(0, critic_steps, warmup_updates, warmup_steps)  # refuses wrong counts
        self._make_generator, self._make_discriminator = generator, discriminator
        self.loss, self.constraint, self.l2_weight = Wasserstein(), WeightClipping(clip), l2_weight
        self.warmup_updates, self.warmup_steps = warmup_updates, warmup_steps
        super().__init__(
            source_shape,
            target_shape,
            optimizer_generator=optimizer_generator,
            optimizer_discriminator=optimizer_discriminator,
            scheduler_generator=scheduler_generator,
            scheduler_discriminator=scheduler_discriminator,
            critic_steps=critic_steps,
            **kwargs,
        )

    def build(self, image_shape: ImageShape) -> None:
        """Create both networks; the critic starts within its bounds."""
        source_shape = self.source_shape or image_shape
        self.generator = nn.ModuleDict({"AtoB": self._make_generator(source_shape, image_shape)})
        self.discriminator = nn.ModuleDict({"B": self._make_discriminator(image_shape)})
        self.constraint.attach(self.discriminator)

    def critic_steps_at(self, update: int) -> int:
        """A critic close to optimal at the start, and again from time to time."""
        return steps_with_warmup(update, self.critic_steps, self.warmup_updates, self.warmup_steps)

    def after_step(self, player: str) -> None:
        """Bring the critic back within its bounds."""
        if player == "discriminator":
            self.constraint.project(self.discriminator)

    def generate(self, batch: Batch) -> Batch:
        """The batch's composites, blended."""
        return {"target": self.generator["AtoB"](batch["source"])}

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Pictures as they were against blended ones."""
        real, fake = self.judge_both("B", batch["target"], generated["target"])
        return {"adversarial": per_sample(self.loss.discriminator(real, fake))}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The blended one has to be near the picture that was pasted into, and to look real."""
        logits = self.judge("B", generated["target"])
        return {
            "l2": self.l2_weight * squared_error(generated["target"], batch["target"]),
            "adversarial": (1 - self.l2_weight) * per_sample(self.loss.generator(logits)),
        }
