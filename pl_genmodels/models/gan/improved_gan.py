"""Improved GAN: feature matching, and a discriminator that learns classes from few labels (Salimans et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.losses import feature_matching
from pl_genmodels.losses.feature_matching import DISTANCES
from pl_genmodels.models.classifying_gan import ClassifyingGAN
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class ImprovedGAN(ClassifyingGAN):
    r"""G minimises $\|E f(x) - E f(G(z))\|^2$ over the discriminator's last hidden features f (section 3.1).

    With a discriminator that is a `Classifier` of K classes, D minimises $L_{lab} + L_{unl}$, where
    $L_{lab} = -l_y(x) + Z(x)$ on labelled samples and $L_{unl} = \frac12 sp(-Z(x)) + \frac12 sp(Z(G(z)))$ on all of
    them: generated samples are class K + 1, whose logit is 0 (section 5, weights of the authors' code). Any other
    discriminator minimises its usual loss, and no labels are needed.

    Feature means are over the samples of all ranks, but of one micro-batch at a time.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape; one that gives features. `MLPClassifier` and `ClassDiscriminator`
            tell classes apart.
        distance: Of the mean features, `squared` or `absolute`; the authors have the latter for colour pictures.
        **kwargs: See `LatentGAN`; `loss` is the discriminator's alone.

    Raises:
        ValueError: For another distance, or a discriminator that gives no features.
    """

    paper = Paper(
        "Improved Techniques for Training GANs",
        "Salimans et al.",
        2016,
        "https://arxiv.org/abs/1606.03498",
        "mean features are matched; a discriminator with K + 1 classes learns these from few labels",
    )

    adversarial_weight = 0.5  # L_unl is the mean over real and generated samples, not their sum

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        distance: str = "squared",
        **kwargs: Any,
    ) -> None:
        if distance not in DISTANCES:
            raise ValueError(f"distance: got {distance!r}, allowed are {', '.join(DISTANCES)}")
        self.distance = distance
        super().__init__(image_shape, generator=generator, discriminator=discriminator, **kwargs)

    def build(self, image_shape: ImageShape) -> None:
        """Create both networks."""
        super().build(image_shape)
        if not self.discriminator.gives_features:
            raise ValueError(
                f"discriminator: got {type(self.discriminator).__name__}, which does not give the features to match; "
                "allowed are those that do, such as MLPDiscriminator and DCGANDiscriminator"
            )

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The distance of the mean features."""
        with torch.no_grad():
            real = self._features(batch["image"])
        return {"feature_matching": feature_matching(real, self._features(generated["image"]), self.distance)}

    def _features(self, images: Tensor) -> Tensor:
        _, features = self.discriminator(self.augment(images), with_features=True)
        return features[-1]
