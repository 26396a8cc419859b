"""CVAE-GAN (Bao et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from pl_genmodels.layers import Labels
from pl_genmodels.losses import NonSaturating, class_feature_matching, feature_matching, kl_normal, squared_distance
from pl_genmodels.losses.adversarial import LabelledLoss
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating, stored_for
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.models.told_autoencoder import ToldAutoencoder
from pl_genmodels.networks import Classifier, Discriminator, MLPClassifier, MLPDiscriminator
from pl_genmodels.networks.wrapped import feature_lengths
from pl_genmodels.types import Batch, ImageShape, Paper, Terms

WEIGHTS = ("kl_weight", "reconstruction_weight", "mean_weight", "class_mean_weight")


class CVAEGAN(ToldAutoencoder):
    r"""A conditional autoencoder whose decoder matches features of a discriminator and of a classifier (section 3).

    With $z \sim q(z|x, c)$, $x_f = G(z, c)$, $x_p = G(z_p, c)$, and f the last hidden features of a network:

    - D minimises $sp(-D(x)) + sp(D(x_f)) + sp(D(x_p))$, C the cross-entropy of the labels of real samples.
    - $L_G = \frac12(\|x - x_f\|^2 + \|f_D(x) - f_D(x_f)\|^2 + \|f_C(x) - f_C(x_f)\|^2)$, sample by sample.
    - $L_{GD} = \frac12\|E f_D(x) - E f_D(x_p)\|^2$ and
      $L_{GC} = \frac12\sum_c\|E_c f_C(x) - E_c f_C(x_p)\|^2$ are of means.
    - E minimises $\lambda_1 KL(q(z|x, c) \| N(0, I)) + \lambda_2 L_G$, G
      $\lambda_2 L_G + \lambda_3 L_{GD} + \lambda_4 L_{GC}$: it is never asked to fool D, only to match ("asymmetric").

    Norms are sums over pixels and features. Without a label, samples are encoded as of the class that C says.

    Departs from the paper: class means are those of the batch, over all ranks, where it keeps moving averages; players
    step one after the other.

    Args:
        image_shape: See `GenerativeModule`.
        condition: The labels.
        discriminator: Called with the image shape; one that gives features.
        classifier: Called with the image shape; of as many classes as there are labels.
        loss: Of the discriminator alone.
        kl_weight: lambda_1.
        reconstruction_weight: lambda_2.
        mean_weight: lambda_3.
        class_mean_weight: lambda_4.
        optimizer_classifier: Called with the classifier's parameters.
        **kwargs: See `ToldAutoencoder`; augmentations are for the discriminator's own turn.

    Raises:
        ValueError: For a negative weight, a discriminator without features, or a classifier of other classes.
    """

    paper = Paper(
        "CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training",
        "Bao et al.",
        2017,
        "https://arxiv.org/abs/1703.10155",
        "a decoder told the class matches features of a discriminator and a classifier, pairwise and in the mean",
    )

    players = ("encoder", "classifier", "discriminator", "generator")
    discriminator: Discriminator
    classifier: Classifier
    loss: LabelledLoss

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        condition: Labels = Labels(),
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        classifier: Callable[[tuple[int, ...]], Classifier] = partial(MLPClassifier, input_noise=0.0, hidden_noise=0.0),
        loss: LabelledLoss = NonSaturating(),
        kl_weight: float = 3.0,
        reconstruction_weight: float = 1.0,
        mean_weight: float = 1e-3,
        class_mean_weight: float = 1e-3,
        optimizer_classifier: Callable[[Iterable], Optimizer] = GANAdam,
        **kwargs: Any,
    ) -> None:
        weights = (kl_weight, reconstruction_weight, mean_weight, class_mean_weight)
        for name, value in zip(WEIGHTS, weights, strict=True):
            if value < 0:
                raise ValueError(f"{name}: got {value}, allowed is 0 or more")
        self.kl_weight, self.reconstruction_weight, self.mean_weight, self.class_mean_weight = weights
        self._make_classifier = classifier
        super().__init__(image_shape, condition=condition, discriminator=discriminator, loss=loss, **kwargs)
        self.optimizer_factories["classifier"] = optimizer_classifier

    def build(self, image_shape: ImageShape) -> None:
        """Create the four networks."""
        super().build(image_shape)
        feature_lengths(self.discriminator)
        self.classifier = stored_for(image_shape, self._make_classifier(image_shape))  # type: ignore[assignment]
        if self.classifier.num_classes != self.condition.dim:
            raise ValueError(
                f"num_classes: got {self.classifier.num_classes}, allowed for the classifier is {self.condition.dim}, "
                "the number of labels"
            )

    def features(self, network: Discriminator, image: Tensor) -> Tensor:
        """The last hidden layer, in at least single precision, (B, F)."""
        return at_least_single(network(image, with_features=True)[1][-1]).flatten(1)

    # ---- the players

    def encoder_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The divergence of codes, and L_G."""
        mean, log_deviation = self.law(batch["image"], batch["condition"])
        again = self.reconstructions(batch, (mean, log_deviation))
        divergence = kl_normal(mean, 2 * log_deviation)
        return {"kl": self.kl_weight * divergence, **self._pairwise(batch, again, self._constants(batch))}

    def classifier_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Classes of real samples only."""
        logits = at_least_single(self.classifier(batch["image"], with_classes=True))
        return {"class": F.cross_entropy(logits, batch["label"], reduction="none")}

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Real samples, reconstructions and samples, as batches of their own."""
        images = (batch["image"], generated["reconstruction"], generated["image"])
        real, again, fake = (self.augment(image) for image in images)
        return {
            "real": self.loss.as_real(self.judge(real)),
            "reconstruction": self.loss.as_fake(self.judge(again)),
            "sample": self.loss.as_fake(self.judge(fake)),
            **self.penalty_terms(real, fake),
        }

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """L_G, L_GD and L_GC."""
        of_d, of_c = self._constants(batch)
        fake_d, fake_c = (self.features(network, generated["image"]) for network in self._watchers)
        means = feature_matching(of_d, fake_d)
        class_means = class_feature_matching(of_c, fake_c, batch["condition"])
        return {
            **self._pairwise(batch, generated["reconstruction"], (of_d, of_c)),
            "means": 0.5 * self.mean_weight * of_d.shape[1] * means,
            "class_means": 0.5 * self.class_mean_weight * of_c.shape[1] * class_means,
        }

    @property
    def _watchers(self) -> tuple[Discriminator, Classifier]:
        return self.discriminator, self.classifier

    @torch.no_grad()
    def _constants(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features of real samples by discriminator and classifier, (B, F) each."""
        of_d, of_c = (self.features(network, batch["image"]) for network in self._watchers)
        return of_d, of_c

    def _pairwise(self, batch: Batch, again: Tensor, real: tuple[Tensor, Tensor]) -> Terms:
        """The three parts of L_G, given the features of real samples."""
        found = (at_least_single(again), *(self.features(network, again) for network in self._watchers))
        wanted = (at_least_single(batch["image"]), *real)
        names = ("pixels", "discriminator_features", "classifier_features")
        weight = 0.5 * self.reconstruction_weight
        return {
            name: weight * squared_distance(one, other) for name, one, other in zip(names, found, wanted, strict=True)
        }

    # ---- what one does with it

    def classify(self, image: Tensor) -> Tensor:
        """Most likely class of each sample, (B, *image_shape) to (B,)."""
        with evaluating(self.classifier):
            return self.classifier(image.to(self.dtype), with_classes=True).argmax(1)

    def likely_labels(self, image: Tensor) -> Tensor:
        """Those that the classifier says."""
        return self.classify(image)
