"""XGAN, translation that keeps what a picture means (Royer et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.layers import GradientReversal
from pl_genmodels.losses import AdversarialLoss, NonSaturating, absolute_error, per_sample
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.translating import SharedCodeModule
from pl_genmodels.networks import (
    ConvDiscriminator,
    CoupledAutoencoders,
    Discriminator,
    EmbeddingAutoencoders,
    Encoder,
    MLPDiscriminator,
)
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class XGAN(SharedCodeModule):
    r"""Two autoencoders with one space of codes, in which a sample and its translation have the same code.

    For each domain i and the other one j the autoencoders minimise $\|x_i - d_i(e_i(x_i))\|_2 + \omega_d\,\ell_i +
    \omega_s \|e_i(x_i) - e_j(g_{i \to j}(x_i))\|_1$, $\omega_g$ times the non-saturating loss of $g_{j \to i}(x_j)$,
    and with a teacher T, who knows domain A only, $\omega_t \|T(x_A) - e_A(x_A)\|_1$ (equations 1-6);
    $g_{i \to j} = d_j \circ e_i$. $\ell_i$ is the cross-entropy of a classifier that tells the domain from the code: it
    minimises what the encoders, behind a reversal of the gradient, maximise. The consistency's gradient reaches both
    encoders. All norms are means over pixels or features; the first is their root mean square. The weights are ours,
    for these means: with a consistency of weight 1 all codes, and so all translations, become the same.

    Args:
        source_shape: See `TranslationModule`.
        target_shape: See `TranslationModule`.
        generator: Called with both shapes.
        discriminator: Called with the shape of a domain, once for each.
        classifier: Called with the shape of a code; its logit is positive for B.
        teacher: Called with the shape of a source and the number of a code's values, which it gives; frozen, with its
            own weights. None for none.
        loss: Of the logits.
        domain_weight: omega_d, of the classifier's cross-entropy.
        semantic_weight: omega_s.
        adversarial_weight: omega_g, in the autoencoders' objective.
        teacher_weight: omega_t.
        **kwargs: Of `TranslationModule`.
    """

    paper = Paper(
        "XGAN: Unsupervised Image-to-Image Translation for Many-to-Many Mappings",
        "Royer et al.",
        2017,
        "https://arxiv.org/abs/1711.05139",
        "a translation keeps its source's code, in a space where nobody can tell the domains apart",
    )

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...], tuple[int, ...]], CoupledAutoencoders] = EmbeddingAutoencoders,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = ConvDiscriminator,
        classifier: Callable[[tuple[int, ...]], Discriminator] = partial(MLPDiscriminator, hidden_dim=128),
        teacher: Callable[[tuple[int, ...], int], Encoder] | None = None,
        loss: AdversarialLoss = NonSaturating(),
        domain_weight: float = 0.02,
        semantic_weight: float = 0.02,
        adversarial_weight: float = 0.1,
        teacher_weight: float = 0.02,
        **kwargs: Any,
    ) -> None:
        self._make_classifier, self._make_teacher = classifier, teacher
        self.loss, self.domain_weight, self.semantic_weight = loss, domain_weight, semantic_weight
        self.adversarial_weight, self.teacher_weight = adversarial_weight, teacher_weight
        super().__init__(source_shape, target_shape, generator=generator, discriminator=discriminator, **kwargs)

    def build(self, image_shape: ImageShape) -> None:
        """Create the autoencoders, the discriminators, the classifier, and the teacher if there is one."""
        super().build(image_shape)
        code_shape = self.generator.code_shape
        self.classifier = nn.Sequential(GradientReversal(), self._make_classifier(code_shape))
        if self._make_teacher is not None:
            teacher = self._make_teacher(self.source_shape or image_shape, math.prod(code_shape))
            self.teacher = teacher.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> XGAN:
        """The teacher is always as in evaluation."""
        super().train(mode)
        if hasattr(self, "teacher"):
            self.teacher.eval()
        return self

    def player_networks(self, player: str) -> list[nn.Module]:
        """The classifier is trained with the autoencoders, against the encoders."""
        return [self.generator, self.classifier] if player == "generator" else [self.discriminator]

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Encode the translations again, and have the classifier and the teacher judge the codes."""
        after = self.encode_translations(generated).chunk(2)
        codes = [generated[f"code_{name}"] for name in self.batch_keys]
        guesses = at_least_single(self.classifier(torch.cat(codes))).chunk(2)
        terms = {}
        for domain, name, code, again, guess in zip("AB", self.batch_keys, codes, after, guesses, strict=True):
            fooled = per_sample(self.loss.generator(self.judge(domain, generated[name])))
            terms[f"reconstruction_{name}"] = root_mean_square(generated[f"same_{name}"] - batch[name])
            entropy = per_sample(F.softplus(guess if domain == "A" else -guess))
            terms[f"domain_{name}"] = self.domain_weight * entropy
            terms[f"semantic_{name}"] = self.semantic_weight * absolute_error(again, code)
            terms[f"adversarial_{name}"] = self.adversarial_weight * fooled
        if self._make_teacher is not None:
            wanted = self.teacher(batch["source"])
            terms["teacher_source"] = self.teacher_weight * absolute_error(codes[0].flatten(1), wanted)
        return terms


def root_mean_square(values: Tensor) -> Tensor:
    """Of all entries of each sample, in at least single precision, (B, ...) to (B,)."""
    flat = at_least_single(values).flatten(1)
    return torch.linalg.vector_norm(flat, dim=1) / flat.shape[1] ** 0.5
