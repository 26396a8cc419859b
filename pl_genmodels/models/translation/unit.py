"""UNIT, translation through one latent space (Liu, Breuel, Kautz 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.losses import AdversarialLoss, NonSaturating, absolute_error, per_sample
from pl_genmodels.models.translating import SharedCodeModule
from pl_genmodels.networks import CoupledAutoencoders, Discriminator, PatchDiscriminator, ResNetAutoencoders
from pl_genmodels.types import Batch, Paper, Terms


class UNIT(SharedCodeModule):
    r"""Two variational autoencoders with one latent space, a discriminator for each domain, and cycles.

    The generators minimise for each domain i and the other one j $\lambda_0$ times the non-saturating loss of
    $x_{j \to i}$, $\lambda_1 KL(q_i(z | x_i) \| N(0, I)) + \lambda_2 \|x_i - G_i(z_i)\|_1$, and
    $\lambda_3 (KL(q_i(z | x_i)) + KL(q_j(z | x_{i \to j}))) + \lambda_4 \|x_i - G_i(z_{i \to j \to i})\|_1$ (equations
    3-6). q has variance 1 and draws $z = \mu + \epsilon$ at every encoding in training; in evaluation z is $\mu$.
    Reconstructions are not judged.

    The weights are those of the authors' code, and so are the reductions, which do not depend on the size: norms are
    means over pixels, logits' losses over patches, and KL stands for the mean of $\mu^2$ over the n latent dimensions,
    2/n of the divergence $\frac12 \|\mu\|^2$. Departs from that code: its $\lambda_3$ has the second KL only, and its
    two discriminators share their last layers.

    Args:
        source_shape: See `TranslationModule`.
        target_shape: See `TranslationModule`.
        generator: Called with both shapes.
        discriminator: Called with the shape of a domain, once for each.
        loss: Of the logits.
        adversarial_weight: The paper's lambda_0, in the generators' objective.
        kl_weight: lambda_1.
        reconstruction_weight: lambda_2.
        cycle_kl_weight: lambda_3.
        cycle_weight: lambda_4.
        **kwargs: Of `TranslationModule`.
    """

    paper = Paper(
        "Unsupervised Image-to-Image Translation Networks",
        "Liu et al.",
        2017,
        "https://arxiv.org/abs/1703.00848",
        "two domains, one latent space: what one encoder writes the other's decoder reads",
    )

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...], tuple[int, ...]], CoupledAutoencoders] = ResNetAutoencoders,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = PatchDiscriminator,
        loss: AdversarialLoss = NonSaturating(),
        adversarial_weight: float = 10.0,
        kl_weight: float = 0.1,
        reconstruction_weight: float = 100.0,
        cycle_kl_weight: float = 0.1,
        cycle_weight: float = 100.0,
        **kwargs: Any,
    ) -> None:
        self.loss, self.adversarial_weight = loss, adversarial_weight
        self.kl_weight, self.reconstruction_weight = kl_weight, reconstruction_weight
        self.cycle_kl_weight, self.cycle_weight = cycle_kl_weight, cycle_weight
        super().__init__(source_shape, target_shape, generator=generator, discriminator=discriminator, **kwargs)

    def passed_on(self, codes: Tensor) -> Tensor:
        """Codes drawn with the encoders' means and variance 1."""
        return drawn(codes)

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Encode the translations again and decode them in the domain that they came from."""
        means = self.encode_translations(generated)
        features = self.generator.start_decoding(drawn(means))
        terms = {}
        for domain, name, mean, part in zip("AB", self.batch_keys, means.chunk(2), features.chunk(2), strict=True):
            fooled = per_sample(self.loss.generator(self.judge(domain, generated[name])))
            same = absolute_error(generated[f"same_{name}"], batch[name])
            again = absolute_error(self.generator.finish(domain, part), batch[name])
            own, after = per_sample(generated[f"code_{name}"].square()), per_sample(mean.square())
            terms[f"adversarial_{name}"] = self.adversarial_weight * fooled
            terms[f"kl_{name}"] = self.kl_weight * own
            terms[f"reconstruction_{name}"] = self.reconstruction_weight * same
            terms[f"cycle_kl_{name}"] = self.cycle_kl_weight * (own + after)
            terms[f"cycle_{name}"] = self.cycle_weight * again
        return terms


def drawn(mean: Tensor) -> Tensor:
    """A code with mean and variance 1."""
    return mean + torch.randn(mean.shape, device=mean.device).to(mean.dtype)
