"""ArtGAN (Tan et al. 2017): the error of the label reaches the generator, and the discriminator is an autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pl_genmodels.layers import Labels
from pl_genmodels.losses import squared_error
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.classifying_gan import ClassifyingGAN
from pl_genmodels.models.conditional import ToldGenerator
from pl_genmodels.models.engine import evaluating
from pl_genmodels.networks import AutoencodingClassifier
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class ArtGAN(ToldGenerator, ClassifyingGAN):
    r"""A classifier with K logits judges, names and reconstructs; the generator is moved by all three.

    With $l(x)$ the logits and $Z = \log \sum_k e^{l_k}$, D minimises $sp(-Z(x)) + sp(Z(G(z, y'))) + CE(l(x), y) +
    \frac12 |Dec(Enc(x)) - x|^2$, where Enc is D without its last layer. G minimises, with $x' = G(z, y')$,
    $sp(-Z(x')) + CE(l(x'), y') + \frac12 |Dec(Enc(x')) - x'|^2$. Errors are means over the values of a sample. As a
    logit $Z$ is that of K + 1 classes of which generated samples are one: the authors' code of 2019, which has taken
    the place of the sigmoid outputs of the paper of 2017.

    Departs from the code: the requested classes are those of the batch's real samples; the generator makes one step for
    one of the discriminator, not three or five when the latter is winning.

    Args:
        image_shape: See `GenerativeModule`.
        condition: The labels.
        discriminator: Called with the image shape; it has the same number of classes.
        reconstruction_weight: Of the squared errors in both players' losses; 1/2 is the paper's.
        **kwargs: See `ToldGenerator`. An `OverSampledGenerator` makes larger pictures, which are averaged before D
            sees them.

    Raises:
        ValueError: For other conditions than labels, another number of classes, or a negative weight.
    """

    paper = Paper(
        "ArtGAN: Artwork Synthesis with Conditional Categorical GANs",
        "Tan et al.",
        2017,
        "https://arxiv.org/abs/1702.03410",
        "the error of the label goes back to the generator; the discriminator reconstructs what it judges",
    )

    discriminator: AutoencodingClassifier

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        condition: Labels = Labels(),
        discriminator: Callable[[tuple[int, ...]], AutoencodingClassifier] = AutoencodingClassifier,
        reconstruction_weight: float = 0.5,
        **kwargs: Any,
    ) -> None:
        if reconstruction_weight < 0:
            raise ValueError(f"reconstruction_weight: got {reconstruction_weight}, allowed is 0 or more")
        self.reconstruction_weight = reconstruction_weight
        super().__init__(image_shape, condition=condition, discriminator=discriminator, **kwargs)

    def build(self, image_shape: ImageShape) -> None:
        """Create both networks."""
        super().build(image_shape)
        if self.condition.dim != self.num_classes:
            raise ValueError(
                f"discriminator: got one of {self.num_classes} classes, allowed with these labels is one of "
                f"{self.condition.dim}"
            )

    def see(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the classes, and samples from their codes, in at least single precision."""
        logits, again = self.discriminator(images, with_reconstruction=True)
        return at_least_single(logits), at_least_single(again)

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Real or generated; of real samples the class and what is left of them after their codes."""
        real, fake = self.augment(batch["image"]), self.augment(generated["image"])
        logits, again = self.see(real)
        return {
            "adversarial": self.loss.discriminator(logits.logsumexp(1), self.judge(fake)),
            "supervised": self.cross_entropy(logits, batch["label"]),
            "reconstruction": self.reconstruction_weight * squared_error(again, real),
            **self.penalty_terms(real, fake),
        }

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """To look real, like the class that was asked for, and like what the autoencoder knows."""
        fake = self.augment(generated["image"])
        logits, again = self.see(fake)
        return {
            "adversarial": self.loss.generator(logits.logsumexp(1)),
            "class": self.cross_entropy(logits, generated["condition"].argmax(1)),
            "reconstruction": self.reconstruction_weight * squared_error(again, fake),
        }

    def reconstruct(self, images: Tensor) -> Tensor:
        """Samples through their codes and back, in evaluation mode, (B, *image_shape) to the same."""
        with evaluating(self.discriminator):
            dtype = next(self.discriminator.parameters()).dtype
            return self.see(images.to(self.device, dtype))[1]
