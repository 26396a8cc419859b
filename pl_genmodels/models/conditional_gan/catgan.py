"""Categorical GAN (Springenberg 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pl_genmodels.losses import NonSaturating
from pl_genmodels.losses.entropies import entropy, marginal_entropy
from pl_genmodels.models.classifying_gan import ClassifyingGAN
from pl_genmodels.networks import Classifier, Generator, MLPClassifier, MLPGenerator
from pl_genmodels.types import Batch, Paper, Terms


class CatGAN(ClassifyingGAN):
    r"""A classifier finds classes by itself, and a generator keeps it from being sure of what is no data.

    D minimises $-H(E_x p(y|x)) + E_x H(p(y|x)) - E_z H(p(y|G(z)))$: equal use of the classes, certain of data,
    uncertain of generated samples. G minimises $-H(E_z p(y|G(z))) + E_z H(p(y|G(z)))$ (equations 6 and 7). There is no
    class of generated samples. With `supervised_weight`, the cross-entropy of known labels is added (equation 9).

    The marginals are over the samples of all ranks, but of one micro-batch at a time: batches of 100 or more are
    wanted.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape; its classes are the clusters.
        supervised_weight: Of the cross-entropy of labels; with 0 none are needed.
        **kwargs: See `LatentGAN`.

    Raises:
        ValueError: For a negative weight.
    """

    paper = Paper(
        "Unsupervised and Semi-supervised Learning with Categorical Generative Adversarial Networks",
        "Springenberg",
        2016,
        "https://arxiv.org/abs/1511.06390",
        "the discriminator sorts data into classes that it finds itself and is to be unsure of all else",
    )

    discriminator: Classifier

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Classifier] = MLPClassifier,
        supervised_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if supervised_weight < 0:
            raise ValueError(f"supervised_weight: got {supervised_weight}, allowed is 0 or more")
        self.supervised_weight = supervised_weight
        # the loss is this paper's own
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=NonSaturating(), **kwargs)

    @property
    def num_classes(self) -> int:
        """Classes that have labels: all, or none of them."""
        return self.discriminator.num_classes if self.supervised_weight else 0

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Certain of data in all classes alike, uncertain of generated samples; labels, where they are known."""
        real, fake = self.augment(batch["image"]), self.augment(generated["image"])
        on_real = self.class_logits(real)
        terms = {
            "unequal": -marginal_entropy(on_real),
            "uncertain_real": entropy(on_real),
            "certain_fake": -entropy(self.class_logits(fake)),
            **self.penalty_terms(real, fake),
        }
        if self.supervised_weight:
            images, labels = self.labelled(batch)
            logits = on_real if images is batch["image"] else self.class_logits(self.augment(images))
            terms["supervised"] = self.supervised_weight * self.cross_entropy(logits, labels)
        return terms

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Certain of generated samples, in all classes alike."""
        logits = self.class_logits(self.augment(generated["image"]))
        return {"unequal": -marginal_entropy(logits), "uncertain_fake": entropy(logits)}

    def judge(self, images: Tensor) -> Tensor:
        """How certain the classes of samples are, which tells data from generated samples, (B,)."""
        return -entropy(self.class_logits(images))

    def cluster(self, images: Tensor) -> Tensor:
        """Most likely class of each sample, (B, *image_shape) to (B,)."""
        return self.classify(images)
