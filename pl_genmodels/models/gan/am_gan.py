"""AM-GAN: each generated sample is drawn to one class of real ones (Zhou et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pl_genmodels.models.classifying_gan import ClassifyingGAN
from pl_genmodels.networks import ClassDiscriminator, Discriminator, Generator, MLPGenerator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class AMGAN(ClassifyingGAN):
    r"""A discriminator of K classes of real samples and one of generated ones; G aims at the likeliest real class.

    D minimises the cross-entropy of K + 1 classes: $CE(l(x), y) + CE(l(G(z)), K + 1)$. G minimises
    $CE(l(G(z)), t)$ with $t = \arg\max_{k \le K} l_k(G(z))$, a constant (dynamic labelling, section 3.4), which is
    $-\log \sum_{k \le K} p_k - \log (p_t / \sum_{k \le K} p_k)$, the two terms that are logged: real, and of class t.
    The logit of generated samples is 0, which loses nothing, since a softmax knows only differences.

    The first term is D's `loss`, so that any adversarial loss can take its place.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape; a `Classifier`, such as `ClassDiscriminator` or `MLPClassifier`.
        **kwargs: See `LatentGAN`.

    Raises:
        ValueError: For a discriminator without classes.
    """

    paper = Paper(
        "Activation Maximization Generative Adversarial Nets",
        "Zhou et al.",
        2018,
        "https://arxiv.org/abs/1703.02000",
        "each generated sample has a real class for its target; a score of how certain and how balanced classes are",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = ClassDiscriminator,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, generator=generator, discriminator=discriminator, **kwargs)

    def build(self, image_shape: ImageShape) -> None:
        """Create both networks."""
        super().build(image_shape)
        if not self.num_classes:
            raise ValueError(
                f"discriminator: got {type(self.discriminator).__name__}, which knows no classes; allowed are those "
                "that do, such as ClassDiscriminator and MLPClassifier"
            )

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Look real, and like the class that it looks most like already."""
        return self.terms_towards(generated["image"])
