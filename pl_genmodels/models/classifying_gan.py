"""A GAN whose discriminator also names the classes of real samples: labels, known or hidden, and its accuracy."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.naming import NamingModule
from pl_genmodels.networks import Classifier
from pl_genmodels.types import Batch, Terms


class ClassifyingGAN(NamingModule, LatentGAN):
    """A `LatentGAN` whose discriminator may be a `Classifier`, which then needs labels; see `NamingModule`."""

    adversarial_weight: ClassVar[float] = 1.0
    """Of the adversarial term beside the cross-entropy of the labels."""

    @property
    def num_classes(self) -> int:
        """Classes that the discriminator tells apart, 0 for none."""
        return self.discriminator.num_classes if isinstance(self.discriminator, Classifier) else 0

    @property
    def label_need(self) -> str:
        """The discriminator needs them."""
        return (
            f"a {type(self.discriminator).__name__} needs 'label' too; allowed without labels are discriminators "
            "without classes, such as MLPDiscriminator"
        )

    def class_logits(self, images: Tensor) -> Tensor:
        """Logits of the classes in at least single precision, with gradient, (B, num_classes)."""
        return at_least_single(self.discriminator(images, with_classes=True))

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Real or generated, and of labelled samples the class."""
        if not self.num_classes:
            return super().discriminator_terms(batch, generated)
        real, fake = self.augment(batch["image"]), self.augment(generated["image"])
        logits = self.class_logits(real)
        adversarial = self.loss.discriminator(logits.logsumexp(1), self.judge(fake))
        images, labels = self.labelled(batch)
        if images is not batch["image"]:
            logits = self.class_logits(self.augment(images))
        return {
            "adversarial": self.adversarial_weight * adversarial,
            "supervised": self.cross_entropy(logits, labels),
            **self.penalty_terms(real, fake),
        }

    def terms_towards(self, images: Tensor, labels: Tensor | None = None) -> Terms:
        """How far generated samples are from looking real, and from looking like a class.

        Their sum is the cross-entropy of that class among K + 1 (Zhou et al. 2018, section 3).

        Args:
            images: With gradient, (B, *image_shape).
            labels: The classes, (B,); by default that which each looks most like, as a constant.
        """
        logits = self.class_logits(self.augment(images))
        labels = logits.detach().argmax(1) if labels is None else labels
        return {
            "adversarial": self.loss.generator(logits.logsumexp(1)),
            "activation": self.cross_entropy(logits, labels),
        }

    def classify(self, images: Tensor) -> Tensor:
        """Most likely class of each sample, in evaluation mode, (B, *image_shape) to (B,)."""
        with evaluating(self.discriminator):
            return self.class_logits(images).argmax(1)
