"""DualGAN, dual learning of both translations with Wasserstein critics (Yi et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.losses import Wasserstein, WeightClipping, absolute_error, per_sample
from pl_genmodels.models.optimizers import DualGANRMSprop
from pl_genmodels.models.translating import TwoWayModule
from pl_genmodels.networks import Discriminator, PatchDiscriminator, Translator, UNetTranslator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class DualGAN(TwoWayModule):
    r"""Two generators with dropout for noise, each the other's inverse, against two critics with clipped weights.

    With u of domain A and v of B, $G_A: A \to B$, and $D_A$ the critic of its results, the generators minimise
    $-D_A(G_A(u, z)) - D_B(G_B(v, z'))$ $+ \lambda_U \|u - G_B(G_A(u, z), z')\|_1$
    $+ \lambda_V \|v - G_A(G_B(v, z'), z)\|_1$ (equation 3), the critics $D_A(G_A(u, z)) - D_A(v)$ and
    $D_B(G_B(v, z')) - D_B(u)$ (equations 1 and 2). Norms are means over pixels; the noise z is dropout, at test time
    too.

    Here `discriminator` names a critic by the domain that it judges: the paper's $D_A$ is B.

    Args:
        source_shape: See `TranslationModule`.
        target_shape: See `TranslationModule`.
        generator: Called with the shapes of its input and its output, once for each direction.
        discriminator: Called with the shape of a domain, once for each; the critics.
        source_weight: The paper's lambda_U.
        target_weight: The paper's lambda_V.
        clip: Every critic parameter stays in [-clip, clip]; the paper's c, 0.01 to 0.1.
        critic_steps: Critic steps for one of the generators, 2 to 4 in the paper.
        optimizer_generator: Called with the parameters of both generators.
        optimizer_discriminator: Called with the parameters of both critics.
        scheduler_generator: Called with the generators' optimiser.
        scheduler_discriminator: Called with the critics' optimiser.
        **kwargs: Of `TranslationModule`.
    """

    paper = Paper(
        "DualGAN: Unsupervised Dual Learning for Image-to-Image Translation",
        "Yi et al.",
        2017,
        "https://arxiv.org/abs/1704.02510",
        "both translations learnt as a dual task, with Wasserstein critics and dropout for noise",
    )

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...], tuple[int, ...]], Translator] = UNetTranslator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = partial(PatchDiscriminator, norm="batch"),
        source_weight: float = 500.0,
        target_weight: float = 500.0,
        clip: float = 0.1,
        critic_steps: int = 3,
        optimizer_generator: Callable[[Iterable], Optimizer] = DualGANRMSprop,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = DualGANRMSprop,
        scheduler_generator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_discriminator: Callable[[Optimizer], LRScheduler] | None = None,
        **kwargs: Any,
    ) -> None:
        self.loss, self.constraint = Wasserstein(), WeightClipping(clip)
        self.weights = {"source": source_weight, "target": target_weight}
        super().__init__(
            source_shape,
            target_shape,
            generator=generator,
            discriminator=discriminator,
            optimizer_generator=optimizer_generator,
            optimizer_discriminator=optimizer_discriminator,
            scheduler_generator=scheduler_generator,
            scheduler_discriminator=scheduler_discriminator,
            critic_steps=critic_steps,
            **kwargs,
        )

    def build(self, image_shape: ImageShape) -> None:
        """Create the four networks; the critics start within their bounds."""
        super().build(image_shape)
        self.constraint.attach(self.discriminator)

    def after_step(self, player: str) -> None:
        """Bring the critics back within their bounds."""
        if player == "discriminator":
            self.constraint.project(self.discriminator)

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Both generators are trained on both recoveries."""
        again, terms = self.cycle(generated), {}
        for domain, name in zip("AB", self.batch_keys, strict=True):
            terms[f"adversarial_{name}"] = per_sample(self.loss.generator(self.judge(domain, generated[name])))
            terms[f"recovery_{name}"] = self.weights[name] * absolute_error(again[name], batch[name])
        return terms
