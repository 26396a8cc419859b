"""DiscoGAN, relations between domains discovered without pairs (Kim et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.layers.ranks import mean_over_ranks
from pl_genmodels.losses import AdversarialLoss, NonSaturating, per_sample, squared_error
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.optimizers import DiscoGANAdam
from pl_genmodels.models.translating import TwoWayModule
from pl_genmodels.networks import DCGANDiscriminator, Discriminator, EncoderDecoderTranslator, Translator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class DiscoGAN(TwoWayModule):
    r"""Two generators, each the other's inverse, which also match their discriminators' mean features.

    Of each domain the generators minimise
    $(1 - r)\,(0.1 \cdot -E \log D(\hat x) + 0.9 \sum_l \|E f_l(x) - E f_l(\hat x)\|^2) + r\,d(\hat{\hat x}, x)$, where
    $\hat x$ is a translation into it, $\hat{\hat x}$ its own sample translated there and back, d the mean squared error
    (equations 3-9), and $f_l$ are D's activations but for the first layer's, whose means are over the batch of all
    ranks (the authors' code); r is small at first. Each D minimises half of
    $-E \log D(x) - E \log(1 - D(\hat x))$, on every `generator_steps`-th batch.

    Departs from the authors' code: pictures lie in [-1, 1] and generators end in tanh instead of [0, 1] and sigmoid,
    which `reconstruction_weight` makes up for; a batch that the discriminators play on is the generators' too.

    Args:
        source_shape: See `TranslationModule`.
        target_shape: See `TranslationModule`.
        generator: Called with the shapes of its input and its output, once for each direction.
        discriminator: Called with the shape of a domain, once for each.
        loss: Of the logits.
        adversarial_weight: Of the generators' adversarial terms.
        feature_weight: Of the matching of features; 0 for discriminators that give none.
        reconstruction_weight: Of the squared errors; 1/4 has on [-1, 1] the effect of 1 on [0, 1].
        rate: The share r of the reconstruction.
        curriculum_rate: The share before `curriculum_updates`.
        curriculum_updates: Generator updates with `curriculum_rate`; the default is what the generators do in the
            authors' first 10,000 iterations.
        generator_steps: Generator updates for one of the discriminators.
        optimizer_generator: Called with the parameters of both generators.
        optimizer_discriminator: Called with the parameters of both discriminators.
        scheduler_generator: Called with the generators' optimiser.
        scheduler_discriminator: Called with the discriminators' optimiser.
        **kwargs: Of `TranslationModule`.

    Raises:
        ValueError: For shares outside of [0, 1], fewer than one generator step, or matching of features with
            discriminators that give none.
    """

    paper = Paper(
        "Learning to Discover Cross-Domain Relations with Generative Adversarial Networks",
        "Kim et al.",
        2017,
        "https://arxiv.org/abs/1703.05192",
        "each domain is reconstructed from the other, so that the relation found is one to one",
    )

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...], tuple[int, ...]], Translator] = EncoderDecoderTranslator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = DCGANDiscriminator,
        loss: AdversarialLoss = NonSaturating(),
        adversarial_weight: float = 0.1,
        feature_weight: float = 0.9,
        reconstruction_weight: float = 0.25,
        rate: float = 0.5,
        curriculum_rate: float = 0.01,
        curriculum_updates: int = 6667,
        generator_steps: int = 2,
        optimizer_generator: Callable[[Iterable], Optimizer] = DiscoGANAdam,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = DiscoGANAdam,
        scheduler_generator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_discriminator: Callable[[Optimizer], LRScheduler] | None = None,
        **kwargs: Any,
    ) -> None:
        for name, value in (("rate", rate), ("curriculum_rate", curriculum_rate)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: got {value}, allowed is 0 to 1")
        if generator_steps < 1:
            raise ValueError(f"generator_steps: got {generator_steps}, allowed is 1 or more")
        self.loss, self.adversarial_weight, self.feature_weight = loss, adversarial_weight, feature_weight
        self.reconstruction_weight, self.generator_steps = reconstruction_weight, generator_steps
        self.rate, self.curriculum_rate, self.curriculum_updates = rate, curriculum_rate, curriculum_updates
        super().__init__(
            source_shape,
            target_shape,
            generator=generator,
            discriminator=discriminator,
            optimizer_generator=optimizer_generator,
            optimizer_discriminator=optimizer_discriminator,
            scheduler_generator=scheduler_generator,
            scheduler_discriminator=scheduler_discriminator,
            **kwargs,
        )

    def build(self, image_shape: ImageShape) -> None:
        """Create the four networks."""
        super().build(image_shape)
        for network in self.discriminator.values():
            if self.feature_weight and not getattr(network, "gives_features", False):
                raise ValueError(
                    f"feature_weight: got {self.feature_weight} with a {type(network).__name__}, which gives no "
                    "features; allowed is 0"
                )

    def plays(self, player: str) -> bool:
        """The discriminators wait for the last of some generator updates."""
        return (self.generator_updates + 1) % self.generator_steps == 0

    @property
    def current_rate(self) -> float:
        """Share of the reconstruction in the next update."""
        return self.curriculum_rate if self.generator_updates < self.curriculum_updates else self.rate

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Half of each domain's loss."""
        return {name: 0.5 * term for name, term in super().discriminator_terms(batch, generated).items()}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Both generators are trained on both reconstructions."""
        rate, again, terms = self.current_rate, self.cycle(generated), {}
        for domain, name in zip("AB", self.batch_keys, strict=True):
            if self.feature_weight:
                logits, matched = self._judge_features(domain, batch[name], generated[name])
                terms[f"features_{name}"] = (1 - rate) * self.feature_weight * matched
            else:
                logits = self.judge(domain, generated[name])
            fooled = per_sample(self.loss.generator(logits))
            terms[f"adversarial_{name}"] = (1 - rate) * self.adversarial_weight * fooled
            error = squared_error(again[name], batch[name])
            terms[f"reconstruction_{name}"] = rate * self.reconstruction_weight * error
        return terms

    def _judge_features(self, domain: str, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of translations, and how far the mean features are from those of real samples: one value for all."""
        network = self.discriminator[domain]
        with torch.no_grad():
            _, wanted = network(real, with_features=True)
        logits, found = network(fake, with_features=True)
        distance = sum(
            (
                (mean_over_ranks(at_least_single(of_fake).mean(0)) - mean_over_ranks(at_least_single(of_real).mean(0)))
                .square()
                .mean()
                for of_real, of_fake in zip(wanted[1:], found[1:], strict=True)
            ),
            start=torch.zeros((), device=fake.device),
        )
        return at_least_single(logits), distance.expand(len(fake))
