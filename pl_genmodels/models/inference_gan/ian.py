"""Introspective adversarial network (Brock et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.losses import absolute_error, kl_of_dimensions, orthogonality, squared_error
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.hybrid import HybridGAN
from pl_genmodels.networks import ClassDiscriminator, Classifier, Encoder, Generator, MLPEncoder, MLPGenerator
from pl_genmodels.networks.wrapped import feature_lengths
from pl_genmodels.types import Batch, ImageShape, Paper, Terms

REAL, RECONSTRUCTED, GENERATED = range(3)
WEIGHTS = ("reconstruction_weight", "feature_weight", "adversarial_weight", "kl_weight", "orthogonal_weight")


class IAN(HybridGAN):
    r"""An autoencoder that encodes by its discriminator's features, and compares by them (section 3).

    D tells three classes apart, c: real, reconstructed and generated; it minimises
    $CE(D(x), real) + CE(D(\hat x), rec) + CE(D(G(z_p)), gen)$. The encoder is a head on D's last features: it learns
    nothing but that head, as D's layers learn from D's loss only. It minimises
    $KL + 3 \cdot 2|x - \hat x| + \sum_l (f_l(x) - f_l(\hat x))^2 + CE(D(\hat x), real)$, all means, over dimensions,
    pixels, features and layers. The generator minimises the last three and $CE(D(G(z_p)), real)$. D and generator each
    add $\sum |W W^T - I|$ of their filters.

    Departs from the authors' code: D and generator step on the same batch, not on every other one; the encoder's
    weights do not decay, and it has no autoregressive flow; filters are rows as a whole, not each for itself.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape; it says how long a code is.
        encoder: The head, called with the shape of D's last features, (n,), and twice the length of a code.
        discriminator: Called with the image shape; one of two classes, real and reconstructed. Generated samples are
            the third, as in every `Classifier`.
        reconstruction_weight: Of the absolute error, of pixels in [0, 1] twice over.
        feature_weight: Of the error of features.
        adversarial_weight: Of what generator and encoder want D to say.
        kl_weight: Of the divergence, a mean over dimensions.
        orthogonal_weight: Of the filters' distance from being orthonormal.
        **kwargs: See `HybridGAN`.

    Raises:
        ValueError: For a negative weight, or a discriminator of another number of classes.
    """

    paper = Paper(
        "Neural Photo Editing with Introspective Adversarial Networks",
        "Brock et al.",
        2017,
        "https://arxiv.org/abs/1609.07093",
        "encoder and discriminator are one network, which tells real from reconstructed from generated",
    )

    encoder: Encoder
    discriminator: Classifier

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        discriminator: Callable[[tuple[int, ...]], Classifier] = partial(ClassDiscriminator, num_classes=2),
        reconstruction_weight: float = 3.0,
        feature_weight: float = 1.0,
        adversarial_weight: float = 1.0,
        kl_weight: float = 1.0,
        orthogonal_weight: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        weights = (reconstruction_weight, feature_weight, adversarial_weight, kl_weight, orthogonal_weight)
        for name, value in zip(WEIGHTS, weights, strict=True):
            if value < 0:
                raise ValueError(f"{name}: got {value}, allowed is 0 or more")
        self.reconstruction_weight, self.feature_weight, self.adversarial_weight = weights[:3]
        self.kl_weight, self.orthogonal_weight = weights[3:]
        self._make_encoder = encoder
        self._factories = {"generator": generator, "discriminator": discriminator}
        super().__init__(image_shape, **kwargs)

    # ---- networks

    def build(self, image_shape: ImageShape) -> None:
        """Create generator and discriminator, and the head on the latter's features."""
        super().build(image_shape)
        if self.discriminator.num_classes != 2:
            raise ValueError(
                f"num_classes: got {self.discriminator.num_classes}, allowed for the discriminator of an IAN is 2: "
                "real and reconstructed"
            )
        self.encoder = self._make_encoder((feature_lengths(self.discriminator)[-1],), 2 * self.generator.latent_dim)

    def replicated_players(self) -> set[str]:
        """Whole filters are compared with each other, outside of a forward pass."""
        whole = {"discriminator", "generator"} if self.orthogonal_weight else set()
        return super().replicated_players() | whole

    def look(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Log-probabilities of the three classes, and features, in at least single precision, (B, 3) and (B, ...)."""
        logits, features = self.discriminator(images, with_features=True, with_classes=True)
        logits = at_least_single(logits)
        three = torch.cat([logits, torch.zeros_like(logits[:, :1])], 1)
        return three.log_softmax(1), [at_least_single(layer) for layer in features]

    def judge(self, images: Tensor) -> Tensor:
        """Logits of being real, (B,)."""
        said, _ = self.look(images)
        return said[:, REAL] - said[:, RECONSTRUCTED:].logsumexp(1)

    def law(self, image: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        with torch.no_grad():
            _, features = self.look(image)
        return self.law_of(features)

    def law_of(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Means and log deviations from features of the discriminator, (B, latent_dim) each."""
        said = self.encoder(features[-1].flatten(1).to(next(self.encoder.parameters()).dtype))
        mean, log_deviation = at_least_single(said).chunk(2, 1)
        return mean, log_deviation

    def encoding_networks(self) -> list[Any]:  # noqa: D102
        return [self.discriminator, self.encoder]

    # ---- the players

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Each kind of sample by its name, as batches of their own."""
        said, features = self.look(batch["image"])
        with torch.no_grad():
            code = self.codes(batch, self.law_of([layer.detach() for layer in features]))
            again, sample = self.generator(code), self.generator(batch["latent"])
        return {
            "real": -said[:, REAL],
            "reconstruction": -self.look(again)[0][:, RECONSTRUCTED],
            "generated": -self.look(sample)[0][:, GENERATED],
            **self._orthogonality(self.discriminator, len(said)),
        }

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """To reconstruct, and to be taken for real."""
        with torch.no_grad():
            _, features = self.look(batch["image"])
            code = self.codes(batch, self.law_of(features))
        fooled = -self.look(self.generator(batch["latent"]))[0][:, REAL]
        return {
            **self._reconstruction(batch["image"], features, self.generator(code)),
            "adversarial": self.adversarial_weight * fooled,
            **self._orthogonality(self.generator, len(fooled)),
        }

    def encoder_terms(self, batch: Batch, generated: Batch) -> Terms:
        """To reconstruct, by codes like the prior's."""
        with torch.no_grad():
            _, features = self.look(batch["image"])
        mean, log_deviation = self.law_of(features)
        again = self.generator(self.codes(batch, (mean, log_deviation)))
        divergence = kl_of_dimensions(mean, 2 * log_deviation).mean(1)
        return {"kl": self.kl_weight * divergence, **self._reconstruction(batch["image"], features, again)}

    def _reconstruction(self, image: Tensor, features: list[Tensor], again: Tensor) -> Terms:
        """Errors of pixels and features, and what the discriminator says of a reconstruction."""
        said, found = self.look(again)
        errors = [squared_error(one, other) for one, other in zip(features, found, strict=True)]
        pixels = absolute_error(at_least_single(again), at_least_single(image))
        return {
            "reconstruction": self.reconstruction_weight * 2 * pixels,
            "features": self.feature_weight * torch.stack(errors).mean(0),
            "adversarial_reconstruction": self.adversarial_weight * -said[:, REAL],
        }

    def _orthogonality(self, network: Any, count: int) -> Terms:
        if not self.orthogonal_weight:
            return {}
        return {"orthogonality": (self.orthogonal_weight * orthogonality(network)).expand(count)}
