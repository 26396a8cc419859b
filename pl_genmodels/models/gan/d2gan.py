"""D2GAN: two discriminators, one for each Kullback-Leibler divergence (Nguyen et al. 2017)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pl_genmodels.losses import ForwardRatio, ReverseRatio
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class D2GAN(LatentGAN):
    r"""One discriminator is high on real samples, the other on generated ones; G deceives both.

    $\min_G \max_{D_1, D_2} \alpha E \log D_1(x) - E D_1(G(z)) - E D_2(x) + \beta E \log D_2(G(z))$ with positive
    $D_i$, softplus of their networks' outputs (equation 1). Against the best ones, $\alpha p/q$ and $\beta q/p$, G
    minimises $\alpha KL(p\|q) + \beta KL(q\|p)$ (theorem 2).

    Both discriminators are one player with one optimiser, which for Adam is the same as two.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape, twice; the outputs are linear.
        alpha: Weight of KL(p||q), which covers modes, in (0, 1].
        beta: Weight of KL(q||p), which seeks modes, in (0, 1].
    """

    paper = Paper(
        "Dual Discriminator Generative Adversarial Nets",
        "Nguyen et al.",
        2017,
        "https://arxiv.org/abs/1709.03831",
        "two discriminators weigh the KL divergence that covers modes against the one that seeks them",
    )

    reverse_discriminator: Discriminator

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        alpha: float = 0.2,
        beta: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.reverse_loss = ReverseRatio(beta)
        loss = ForwardRatio(alpha)
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=loss, **kwargs)

    def build(self, image_shape: ImageShape) -> None:
        """Create the three networks."""
        self._factories["reverse_discriminator"] = copy.deepcopy(self._factories["discriminator"])
        super().build(image_shape)
        for constraint in self.constraints:
            constraint.attach(self.reverse_discriminator)

    def player_networks(self, player: str) -> list[nn.Module]:
        """Both discriminators are one player's."""
        networks = super().player_networks(player)
        return [*networks, self.reverse_discriminator] if player == "discriminator" else networks

    def judge_in_reverse(self, images: Tensor) -> Tensor:
        """The second discriminator's logits in at least single precision, high for generated samples, (B,)."""
        return at_least_single(self.reverse_discriminator(images))

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Each discriminator's loss, and each penalty on both; each sees augmentations of its own."""
        real, fake = self.augment(batch["image"]), self.augment(generated["image"])
        terms = super().discriminator_terms(batch, generated)
        terms["reverse"] = self.reverse_loss.discriminator(self.judge_in_reverse(real), self.judge_in_reverse(fake))
        for penalty in self.penalties:
            terms[f"reverse_{penalty.name}"] = penalty(self.reverse_discriminator, real, fake)
        return terms

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """-D1(y) and beta log D2(y)."""
        reverse = self.reverse_loss.generator(self.judge_in_reverse(self.augment(generated["image"])))
        return {**super().generator_terms(batch, generated), "reverse": reverse}

    def after_step(self, player: str) -> None:
        """Bring both discriminators back into their constraints."""
        super().after_step(player)
        if player == "discriminator":
            for constraint in self.constraints:
                constraint.project(self.reverse_discriminator)
