"""GeneGAN, objects taken from one picture and put into another (Zhou et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.losses import AdversarialLoss, Wasserstein, WeightClipping, absolute_error, per_sample
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.optimizers import GeneGANRMSprop
from pl_genmodels.models.schedules import steps_with_warmup
from pl_genmodels.models.translating import TranslationModule
from pl_genmodels.networks import Discriminator, GeneDiscriminator, GeneTranslator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms

WEIGHTS = ("reconstruction_weight", "epsilon_weight", "parallelogram_weight")


class GeneGAN(TranslationModule):
    r"""Codes with a part for an object, learnt from pictures with one (A, the sources) and others without (B).

    Of $A_x$ and $B_0$ the encoder makes $(A, x)$ and $(B, \epsilon)$; the decoder makes of these $A_x' = (A, x)$,
    $B_0' = (B, 0)$ and, crossbred, $B_x = (B, x)$ and $A_0 = (A, 0)$: where there is to be no object it reads zeros,
    not epsilon. The generator, both networks, minimises $\|A_x - A_x'\|_1 + \|B_0 - B_0'\|_1$, $\|\epsilon\|_1$, the
    parallelogram $\|A_x + B_0 - B_x - A_0\|_1$, which keeps the object in its place, and what one critic makes of $B_x$
    among pictures with an object and another one of $A_0$ among those without (section 3). Norms are means, over
    pixels in [0, 1] or over features; the weights are those of the authors' code.

    Departs from the authors' code: both domains pass the encoder, and all four codes the decoder, in one batch, which
    batch normalisation sees; no weight decay, which there is over the number of a layer's weights.

    Args:
        source_shape: See `TranslationModule`.
        target_shape: See `TranslationModule`; the same.
        generator: Called with both shapes.
        discriminator: Called with the shape of a domain, once for each.
        loss: Of the logits.
        reconstruction_weight: Of the errors of A_x' and B_0'.
        epsilon_weight: Of epsilon.
        parallelogram_weight: Of the parallelogram.
        clip: Every critic parameter stays in [-clip, clip]; 0 for losses without need of it.
        critic_steps: Critic steps for one of the generator.
        warmup_updates: The first so many generator updates, and every 500th, get `warmup_steps` critic steps; 0 turns
            the schedule off.
        warmup_steps: Critic steps of those updates.
        optimizer_generator: Called with the parameters of encoder and decoder.
        optimizer_discriminator: Called with the parameters of both critics.
        scheduler_generator: Called with the generator's optimiser.
        scheduler_discriminator: Called with the critics' optimiser.
        **kwargs: Of `TranslationModule`.

    Raises:
        ValueError: For a negative weight or bound, or counts out of range.
    """

    paper = Paper(
        "GeneGAN: Learning Object Transfiguration and Attribute Subspace from Unpaired Data",
        "Zhou et al.",
        2017,
        "https://arxiv.org/abs/1705.04932",
        "an object is a part of the code, which is passed on to other pictures as a gene is",
    )

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...], tuple[int, ...]], GeneTranslator] = GeneTranslator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = GeneDiscriminator,
        loss: AdversarialLoss = Wasserstein(),
        reconstruction_weight: float = 1.0,
        epsilon_weight: float = 1.0,
        parallelogram_weight: float = 2.55,
        clip: float = 0.01,
        critic_steps: int = 1,
        warmup_updates: int = 1,
        warmup_steps: int = 100,
        optimizer_generator: Callable[[Iterable], Optimizer] = GeneGANRMSprop,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = GeneGANRMSprop,
        scheduler_generator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_discriminator: Callable[[Optimizer], LRScheduler] | None = None,
        **kwargs: Any,
    ) -> None:
        weights = (reconstruction_weight, epsilon_weight, parallelogram_weight)
        for name, value in (*zip(WEIGHTS, weights, strict=True), ("clip", clip)):
            if value < 0:
                raise ValueError(f"{name}: got {value}, allowed is 0 or more")
        steps_with_warmup(0, critic_steps, warmup_updates, warmup_steps)  # refuses wrong counts
        self.reconstruction_weight, self.epsilon_weight, self.parallelogram_weight = weights
        self.loss, self.constraint = loss, WeightClipping(clip) if clip else None
        self.warmup_updates, self.warmup_steps = warmup_updates, warmup_steps
        self._make_generator, self._make_discriminator = generator, discriminator
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

    # ---- networks and turns

    def build(self, image_shape: ImageShape) -> None:
        """Create encoder and decoder, and both critics, which start within their bounds."""
        source_shape = self.source_shape or image_shape
        self.generator = nn.ModuleDict({"AtoB": self._make_generator(source_shape, image_shape)})
        self.discriminator = nn.ModuleDict(
            {"A": self._make_discriminator(source_shape), "B": self._make_discriminator(image_shape)}
        )
        if self.constraint is not None:
            self.constraint.attach(self.discriminator)

    def networks_to_shard(self) -> list[nn.Module]:
        """Encoders and decoders are called apart, and so are gathered apart."""
        found: list[Any] = super().networks_to_shard()
        return [part for one in found for part in (one["AtoB"].children() if "AtoB" in one else [one])]

    def critic_steps_at(self, update: int) -> int:
        """Critics close to optimal at the start, and again from time to time."""
        return steps_with_warmup(update, self.critic_steps, self.warmup_updates, self.warmup_steps)

    def after_step(self, player: str) -> None:
        """Bring the critics back within their bounds."""
        if player == "discriminator" and self.constraint is not None:
            self.constraint.project(self.discriminator)

    # ---- the two players

    def generate(self, batch: Batch) -> Batch:
        """Crossbred pictures: `source` with the object, B_x, and `target` without, A_0; for G's turn all else too."""
        network: Any = self.generator["AtoB"]
        background, found = network.split(torch.cat([batch["source"], batch["target"]]))
        (own, other), (gene, epsilon) = background.chunk(2), found.chunk(2)
        nothing = torch.zeros_like(gene)
        if not torch.is_grad_enabled():
            crossed, bare = network.join(torch.cat([other, own]), torch.cat([gene, nothing])).chunk(2)
            return {"source": crossed, "target": bare}
        backgrounds, genes = torch.cat([other, own, own, other]), torch.cat([gene, nothing, gene, nothing])
        crossed, bare, same_source, same_target = network.join(backgrounds, genes).chunk(4)
        made = {"source": crossed, "target": bare, "same_source": same_source, "same_target": same_target}
        return {**made, "epsilon": epsilon}

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Real pictures of each domain against crossbred ones."""
        return {
            f"adversarial_{name}": per_sample(
                self.loss.discriminator(*self.judge_both(domain, batch[name], generated[name]))
            )
            for domain, name in zip("AB", self.batch_keys, strict=True)
        }

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Both reconstructions, both crossbred pictures, epsilon and the parallelogram."""
        terms = {}
        for domain, name in zip("AB", self.batch_keys, strict=True):
            error = 0.5 * absolute_error(generated[f"same_{name}"], batch[name])  # of pixels in [0, 1]
            terms[f"reconstruction_{name}"] = self.reconstruction_weight * error
            terms[f"adversarial_{name}"] = per_sample(self.loss.generator(self.judge(domain, generated[name])))
        parents, children = batch["source"] + batch["target"], generated["source"] + generated["target"]
        terms["parallelogram"] = self.parallelogram_weight * 0.5 * absolute_error(parents, children)
        terms["epsilon"] = self.epsilon_weight * per_sample(generated["epsilon"].abs())
        return terms

    # ---- what one does with it

    def swap(self, image: Tensor, other: Tensor) -> Tensor:
        """Pictures with the objects of others, or without where these have none.

        Args:
            image: Of either domain, (B, C, H, W) in [-1, 1].
            other: As many.

        Returns:
            (B, C, H, W) in [-1, 1], in at least single precision.
        """
        network = self.sampler["AtoB"]
        with evaluating(network):
            dtype = next(network.parameters()).dtype
            (own, _), (_, gene) = (network.split(part.to(self.device, dtype)) for part in (image, other))
            return at_least_single(network.join(own, gene)).clamp(-1, 1)

    def panels(self, batch: Batch, direction: str = "AtoB", seed: int | None = None) -> dict[str, Tensor]:
        """Columns of a grid: a picture, itself again, without its object, another one, and this with the object.

        See `TranslationModule`; there is no noise.
        """
        source, other = batch["source"], batch["target"].roll(1, 0)  # where they are pairs, of another one
        made = {"reconstruction": self.swap(source, source), "translation": self.translate(source, direction)}
        return {"source": source, **made, "other": other, "crossbred": self.swap(other, source)}
