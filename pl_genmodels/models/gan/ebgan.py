"""Energy-based GAN: the discriminator is an autoencoder (Zhao et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.layers.ranks import rows_of_all_ranks
from pl_genmodels.losses import EnergyMargin, pulling_away
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import AutoencoderDiscriminator, Discriminator, Generator, MLPGenerator
from pl_genmodels.types import Batch, Paper, Terms


class EBGAN(LatentGAN):
    r"""D gives energy, the error of its autoencoder, to what is not like the data, up to a margin.

    D minimises $E(x) + [m - E(G(z))]_+$, G minimises $E(G(z))$, and $\lambda$ times the pulling-away term, which keeps
    the codes of a batch apart: $\frac{1}{N(N-1)} \sum_{i \ne j} \cos^2(s_i, s_j)$ (equations 1, 2 and 4).

    The pulling-away term looks at the codes of all ranks, but of one micro-batch at a time.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape; its logit is minus the energy, its last feature the code.
        margin: The paper's m, two to four times the energy of real samples at the start.
        pulling_away_weight: The paper's lambda, 0.1 there; 0 for a plain EBGAN.

    Raises:
        ValueError: For a negative weight, or a positive one with a discriminator that gives no features.
    """

    paper = Paper(
        "Energy-based Generative Adversarial Network",
        "Zhao, Mathieu, LeCun",
        2017,
        "https://arxiv.org/abs/1609.03126",
        "the discriminator is an autoencoder whose error is an energy; codes of a batch repel each other",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = AutoencoderDiscriminator,
        margin: float = 1.0,
        pulling_away_weight: float = 0.1,
        **kwargs: Any,
    ) -> None:
        if pulling_away_weight < 0:
            raise ValueError(f"pulling_away_weight: got {pulling_away_weight}, allowed is 0 or more")
        self.pulling_away_weight = pulling_away_weight
        loss = EnergyMargin(margin)
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=loss, **kwargs)

    def build(self, image_shape: tuple[int, ...]) -> None:
        """Create both networks."""
        super().build(image_shape)
        if self.pulling_away_weight and not self.discriminator.gives_features:
            raise ValueError(
                f"pulling_away_weight: got {self.pulling_away_weight}, allowed with a "
                f"{type(self.discriminator).__name__}, which gives no codes, is 0"
            )

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The energy of the samples, and how alike their codes are."""
        if not self.pulling_away_weight:
            return super().generator_terms(batch, generated)
        logits, features = self.discriminator(self.augment(generated["image"]), with_features=True)
        codes = at_least_single(features[-1].flatten(1))
        alike = pulling_away(codes, rows_of_all_ranks(codes))
        return {
            "adversarial": self.loss.generator(at_least_single(logits)),
            "pulling_away": self.pulling_away_weight * alike,
        }
