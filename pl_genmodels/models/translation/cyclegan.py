"""CycleGAN, translation without pairs (Zhu et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.layers import ImagePool, mixes_pictures
from pl_genmodels.losses import AdversarialLoss, LeastSquares, absolute_error, per_sample
from pl_genmodels.models.translating import TwoWayModule
from pl_genmodels.networks import Discriminator, PatchDiscriminator, ResNetTranslator, Translator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class CycleGAN(TwoWayModule):
    r"""Two generators, each the other's inverse, against two discriminators of patches.

    $G: A \to B$ and $F: B \to A$ minimise $E(D_B(G(a)) - 1)^2 + E(D_A(F(b)) - 1)^2$
    $+ \lambda (\|F(G(a)) - a\|_1 + \|G(F(b)) - b\|_1)$ $+ \lambda\,\lambda_{id} (\|G(b) - b\|_1 + \|F(a) - a\|_1)$
    (equations 1-3 and section 5.2); each D minimises $\frac12 E(D(x) - 1)^2 + \frac12 E D(\hat x)^2$, where $\hat x$
    comes from a pool of earlier translations. Norms are means over pixels.

    Departs from the authors' code: the discriminators play first, on the same translations as the generators.

    Args:
        source_shape: See `TranslationModule`.
        target_shape: See `TranslationModule`.
        generator: Called with the shapes of its input and its output, once for each direction.
        discriminator: Called with the shape of a domain, once for each.
        loss: Of the logits.
        adversarial_weight: Of the generators' adversarial terms; 2 undoes the half in `LeastSquares`, which the
            paper has in the discriminators' loss only.
        cycle_weight: The paper's lambda.
        identity_weight: The paper's lambda_id, a factor of lambda; 0 leaves out the terms, which need domains of the
            same shape.
        pool_size: Translations that each discriminator remembers; 0 shows it the new ones.
        **kwargs: Of `TranslationModule`.

    Raises:
        ValueError: For identity terms between domains of different shapes.
    """

    paper = Paper(
        "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
        "Zhu et al.",
        2017,
        "https://arxiv.org/abs/1703.10593",
        "what was translated there and back has to be what it was; no pairs needed",
    )

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...], tuple[int, ...]], Translator] = ResNetTranslator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = PatchDiscriminator,
        loss: AdversarialLoss = LeastSquares(),
        adversarial_weight: float = 2.0,
        cycle_weight: float = 10.0,
        identity_weight: float = 0.5,
        pool_size: int = 50,
        **kwargs: Any,
    ) -> None:
        self.loss, self.adversarial_weight, self.pool_size = loss, adversarial_weight, pool_size
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        super().__init__(source_shape, target_shape, generator=generator, discriminator=discriminator, **kwargs)

    def build(self, image_shape: ImageShape) -> None:
        """Create the networks and the two pools."""
        if self.identity_weight and self.source_shape != image_shape:
            raise ValueError(
                f"identity_weight: got {self.identity_weight} for sources {self.source_shape} and targets "
                f"{image_shape}, allowed is 0 where the shapes differ"
            )
        super().build(image_shape)
        shapes = {"source": self.source_shape or image_shape, "target": image_shape}
        self.pool = nn.ModuleDict({name: ImagePool(shape, self.pool_size) for name, shape in shapes.items()})

    def player_networks(self, player: str) -> list[nn.Module]:
        """The discriminators own the pools."""
        return [self.discriminator, self.pool] if player == "discriminator" else [self.generator]

    def generate(self, batch: Batch) -> Batch:
        """Translations, and for the generators' own turn what each makes of samples that are in its domain already."""
        source, target = batch["source"], batch["target"]
        if not (self.identity_weight and torch.is_grad_enabled()):
            return super().generate(batch)
        translated, kept_target = self._on_two("AtoB", source, target)
        back, kept_source = self._on_two("BtoA", target, source)
        return {"target": translated, "source": back, "same_target": kept_target, "same_source": kept_source}

    def _on_two(self, direction: str, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """One call of a generator on two batches, unless a batch's pictures influence each other."""
        network = self.generator[direction]
        if mixes_pictures(network):
            return network(first), network(second)
        one, two = network(torch.cat([first, second])).split([len(first), len(second)])
        return one, two

    def shown(self, player: str, generated: Batch) -> Batch:
        """The discriminators see earlier translations too."""
        if player != "discriminator":
            return generated
        return {name: self.pool[name](generated[name].detach()) for name in self.batch_keys}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Both generators are trained on both cycles."""
        again, terms = self.cycle(generated), {}
        for domain, name in zip("AB", self.batch_keys, strict=True):
            fooled = per_sample(self.loss.generator(self.judge(domain, generated[name])))
            terms[f"adversarial_{name}"] = self.adversarial_weight * fooled
            terms[f"cycle_{name}"] = self.cycle_weight * absolute_error(again[name], batch[name])
            if self.identity_weight:
                same = absolute_error(generated[f"same_{name}"], batch[name])
                terms[f"identity_{name}"] = self.cycle_weight * self.identity_weight * same
        return terms
