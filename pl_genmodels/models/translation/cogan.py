"""CoGAN, pairs of two domains learnt from samples of each (Liu, Tuzel 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import CoupledDiscriminator, CoupledGenerator, Discriminator, Generator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms

DOMAINS = ("source", "target")


class CoGAN(LatentGAN):
    r"""Two GANs on one latent that share their generators' first and their discriminators' last layers.

    The sum of both games, $\sum_i E \log D_i(x_i) + E \log(1 - D_i(G_i(z)))$ with the same $z$ (equation 4), each in
    its non-saturating form. No picture of one domain is ever shown with its counterpart: that $G_1(z)$ and $G_2(z)$
    belong together comes from the shared layers. A sample is such a pair, side by side in one picture.

    Args:
        source_shape: Shape of a sample of the first domain; read from the training data if left out.
        target_shape: Likewise of the second; both must be the same.
        generator: Called with the shape of a pair, (C, H, 2W).
        discriminator: Called with the shape of a pair; gives a logit for each half, (B, 2).
        optimizer_generator: Called with the generators' parameters.
        optimizer_discriminator: Called with the discriminators' parameters.
        **kwargs: Of `LatentGAN`.

    Raises:
        ValueError: If the two shapes differ.
    """

    paper = Paper(
        "Coupled Generative Adversarial Networks",
        "Liu and Tuzel",
        2016,
        "https://arxiv.org/abs/1606.07536",
        "pairs of two domains out of one latent, learnt without pairs: what the generators share is what pairs share",
    )
    batch_keys = DOMAINS
    shape_keys: ClassVar[dict[str, str]] = {"source_shape": "source", "target_shape": "target"}

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = CoupledGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = CoupledDiscriminator,
        optimizer_generator: Callable[[Iterable], Optimizer] = partial(GANAdam, weight_decay=5e-4),
        optimizer_discriminator: Callable[[Iterable], Optimizer] = partial(GANAdam, weight_decay=5e-4),
        **kwargs: Any,
    ) -> None:
        self.source_shape: ImageShape | None = None if source_shape is None else tuple(source_shape)
        self.target_shape: ImageShape | None = None if target_shape is None else tuple(target_shape)
        super().__init__(
            self._pair_shape(),
            generator=generator,
            discriminator=discriminator,
            optimizer_generator=optimizer_generator,
            optimizer_discriminator=optimizer_discriminator,
            **kwargs,
        )

    def _pair_shape(self) -> ImageShape | None:
        if self.source_shape is None or self.target_shape is None:
            return None
        if self.source_shape != self.target_shape:
            raise ValueError(
                f"target_shape: got {self.target_shape} with source_shape {self.source_shape}, allowed is the same"
            )
        return (*self.source_shape[:-1], 2 * self.source_shape[-1])

    def _take_shapes(self, shapes: Mapping[str, Any]) -> None:
        super()._take_shapes(shapes)
        self.image_shape = self._pair_shape()

    def sample_pairs(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> dict[str, Tensor]:
        """Draw pairs as `sample` does, each domain by its name.

        Args:
            num_samples: How many.
            seed: See `sample`.
            first: See `sample`.

        Returns:
            `source` and `target`, each (num_samples, C, H, W) in [-1, 1]; those of one row belong together.
        """
        pairs = self.sample(num_samples, seed=seed, first=first)
        return dict(zip(DOMAINS, pairs.chunk(2, -1), strict=True))

    def draw(self, batch: Batch) -> Batch:
        """Lay samples of the two domains side by side, as the discriminators read them; add latents."""
        return super().draw({**batch, "image": torch.cat([batch[name] for name in DOMAINS], -1)})

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The loss of each domain's game; penalties are of both."""
        terms = super().discriminator_terms(batch, generated)
        return {**_by_domain(terms.pop("adversarial")), **terms}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """The loss of each domain's game."""
        terms = super().generator_terms(batch, generated)
        return {**_by_domain(terms.pop("adversarial")), **terms}


def _by_domain(values: Tensor) -> Terms:
    return {f"adversarial_{name}": part for name, part in zip(DOMAINS, values.unbind(1), strict=True)}
