"""Adversarial autoencoder whose decoder is told the label (Makhzani et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pl_genmodels.layers import Condition, Labels
from pl_genmodels.models.adversarial_autoencoder import AdversarialAutoencoder
from pl_genmodels.models.told import ToldModule
from pl_genmodels.networks import ConcatGenerator, ConditionalGenerator
from pl_genmodels.types import Batch, ImageShape, Paper


class AAESupervised(ToldModule, AdversarialAutoencoder):
    r"""The decoder gets the label beside the code, $\hat x = G(E(x), y)$, so that the code holds the style (section 4).

    Codes need not say what the label says, and the prior leaves them no room for it: a code of one sample with the
    label of another class is a sample of that class in the style of the first.

    Args:
        image_shape: See `GenerativeModule`.
        condition: What the decoder is told: a batch's `label`, or its `attributes`.
        generator: Called with the image shape and the length of a condition.
        **kwargs: See `AdversarialAutoencoder`.
    """

    paper = Paper(
        "Adversarial Autoencoders",
        "Makhzani et al.",
        2016,
        "https://arxiv.org/abs/1511.05644",
        "a decoder that is told the label leaves the style to a code that follows a prior",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        condition: Condition = Labels(),
        generator: Callable[[tuple[int, ...], int], ConditionalGenerator] = ConcatGenerator,
        **kwargs: Any,
    ) -> None:
        self.condition = condition
        super().__init__(image_shape, generator=generator, **kwargs)  # type: ignore[arg-type]

    def create(self, player: str, factory: Any, image_shape: ImageShape) -> Any:
        """The generator knows how long a condition is."""
        return factory(image_shape, self.condition.dim)

    def decoded(self, codes: Tensor, batch: Batch) -> Tensor:
        """Samples for the codes and conditions of a batch with gradient, (B, latent_dim) to (B, *image_shape)."""
        return self.generator(codes, batch["condition"])

    # ---- what one does with it

    def encode(self, image: Tensor, label: Tensor | int | None = None) -> Tensor:
        """Styles, which the encoder finds without the label, (B, *image_shape) to (B, latent_dim)."""
        return super().encode(image)

    def reconstruct(
        self, image: Tensor, label: Tensor | int | None = None, *, attributes: Tensor | None = None
    ) -> Tensor:
        """Samples through their codes and back, of their own label or in the style of another one.

        Args:
            image: (B, *image_shape).
            label: (B,), or one for all, for a model of labels.
            attributes: (B, n), or (n,) for all, for a model of properties.
        """
        return self.decode(self.encode(image), label, attributes=attributes)
