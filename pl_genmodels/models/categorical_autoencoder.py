"""Adversarial autoencoders whose codes are a category and a style: the base of clustering and of few labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.mixture_autoencoder import MixtureAutoencoder
from pl_genmodels.networks import CategoricalPrior, CodeDiscriminators, Discriminator
from pl_genmodels.types import Batch


class CategoricalAutoencoder(MixtureAutoencoder):
    r"""The encoder gives $y = \mathrm{softmax}(l(x))$ and z, which two discriminators compare with the prior's draws.

    $D_{cat}$ tells one-hot vectors, all equally likely, from y, and thus makes y certain and its categories equally
    frequent; $D_{style}$ tells the style's law from z. The decoder gets (y, z), y as it is, because a drawn category
    would not let the gradient pass. Makhzani et al. 2016, section 5.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape; its latents are the categories with the style behind.
        discriminator: Called with the shapes of y and of z, (K,) and (n,): there is one for each.
        prior: How many categories there are, and the style's law.
        category_noise: Standard deviation of the normal noise on what $D_{cat}$ sees, without which it tells a softmax
            from a one-hot vector by its last digits.
        **kwargs: See `AdversarialAutoencoder`.

    Raises:
        ValueError: For latents that are not longer than there are categories.
    """

    discriminator: CodeDiscriminators
    prior: CategoricalPrior

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        prior: CategoricalPrior = CategoricalPrior(),
        category_noise: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.category_noise = category_noise
        super().__init__(image_shape, prior=prior, **kwargs)

    @property
    def num_categories(self) -> int:
        """K."""
        return self.prior.num_modes

    def judges(self, discriminator: Callable[[tuple[int, ...]], Discriminator]) -> nn.Module:
        """Make the two discriminators."""
        style_dim = self.code_dim - self.num_categories
        if style_dim < 1:
            raise ValueError(
                f"generator: got a latent_dim of {self.generator.latent_dim}, allowed with {self.num_categories} "
                f"categories is more than {self.num_categories}: a style is behind them"
            )
        return CodeDiscriminators(self.num_categories, style_dim, discriminator, self.category_noise)

    def judge_codes(self, codes: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Logits of category and style, in at least single precision, (B, latent_dim) to (B,) each."""
        category, style = self.discriminator(codes)
        return {"category": at_least_single(category), "style": at_least_single(style)}

    # ---- codes

    def codes_of(self, image: Tensor) -> Tensor:
        """Shares of the categories and the style with gradient, (B, *image_shape) to (B, latent_dim)."""
        return self._as_codes(self.encoder(image))

    def centre_of(self, image: Tensor) -> Tensor:
        """The same of an encoder that draws, without what it draws, (B, *image_shape) to (B, latent_dim)."""
        return self._as_codes(super().centre_of(image))

    def _as_codes(self, features: Tensor) -> Tensor:
        share = self.category_logits(features).softmax(1).to(features.dtype)
        return torch.cat([share, features[:, self.num_categories :]], 1)

    def category_logits(self, features: Tensor) -> Tensor:
        """The encoder's logits of the categories in at least single precision, (B, latent_dim) to (B, K)."""
        return at_least_single(features[:, : self.num_categories])

    def most_likely(self, image: Tensor) -> Tensor:
        """Most likely category of each sample, in evaluation mode, (B, *image_shape) to (B,)."""
        with evaluating(self.encoder):
            features = super().centre_of(image.to(next(self.encoder.parameters()).dtype))
            return self.category_logits(features).argmax(1)
