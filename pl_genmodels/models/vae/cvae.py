"""Conditional variational autoencoder of images given labels (Sohn, Lee, Yan 2015)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.layers import EmbeddingMaps, Labels
from pl_genmodels.models.conditions import check_first, required, values_for
from pl_genmodels.models.engine import data_of, evaluating
from pl_genmodels.models.variational import VariationalModule
from pl_genmodels.types import Batch, ImageShape, Paper


class CVAE(VariationalModule):
    r"""Maximises $E_{q(z|x,c)}[\log p(x|z,c)] - KL(q(z|x,c) \| N(0, I))$ of images x with labels c (equation 4).

    The latent is made independent of the label, $p(z|c) = p(z)$, as the paper allows: it holds what the label does not
    say, such as the style of a digit, and means the same for every label. The encoder sees the label as a learnt plane
    beside the picture (beside points as 0 and 1), the decoder as 0 and 1 beside the latent. For a prior that is learnt
    from the condition see `CVAEStructured`.

    Args:
        image_shape: See `GenerativeModule`.
        num_classes: Number of labels; a batch's entry `label` is one of 0 to num_classes - 1, (B,).
        **kwargs: See `VariationalModule`.

    Raises:
        ValueError: For fewer than one class.
    """

    paper = Paper(
        "Learning Structured Output Representation using Deep Conditional Generative Models",
        "Sohn, Lee, Yan",
        2015,
        "https://papers.nips.cc/paper/5775-learning-structured-output-representation-using-deep-conditional-generative-models",
        "encoder and decoder know the label, so that the latent holds what it does not say",
    )

    def __init__(self, image_shape: tuple[int, ...] | None = None, *, num_classes: int = 10, **kwargs: Any) -> None:
        self.condition, self.num_classes = Labels(num_classes), num_classes
        super().__init__(image_shape, **kwargs)

    def build_networks(self, image_shape: ImageShape, encoded_shape: ImageShape, decoded_dim: int) -> None:
        """Create the networks, and the planes of the labels."""
        channels, *size = encoded_shape
        added = 1 if size else self.num_classes
        self.plane = EmbeddingMaps(self.num_classes, (added, *size))
        super().build_networks(image_shape, (channels + added, *size), decoded_dim + self.num_classes)

    def read_batch(self, batch: Any) -> Batch:
        """A batch by name.

        Raises:
            ValueError: If it has no labels, or the first one has one out of range.
        """
        named = super().read_batch(batch)
        required(self.condition, named, "CVAE")
        if self.images_seen == 0:
            check_first(self.condition, named, len(named["image"]), data_of(self))
        return named

    def encoder_input(self, batch: Batch) -> Tensor:
        """Images with the planes of their labels."""
        planes = self.plane(self.condition.vectors(batch["label"]))
        return torch.cat([batch["image"], planes], 1)

    def decoder_input(self, latents: Tensor, batch: Batch) -> Tensor:
        """Latents with labels as 0 and 1, (K, B, latent_dim) to (K, B, latent_dim + num_classes)."""
        label = self.condition.vectors(batch["label"]).to(latents.dtype)
        return torch.cat([latents, label.expand(len(latents), -1, -1)], 2)

    def _labels(self, label: Tensor | int | None, count: int) -> Tensor:
        """As many labels as asked for.

        Raises:
            ValueError: For labels that there are not, or another number of them.
        """
        if label is None:
            raise ValueError("label: not given, but what a CVAE encodes depends on it")
        return self.condition.checked(label, count).to(self.device)

    # ---- what one does with it

    def log_likelihood(
        self, image: Tensor, num_importance_samples: int = 500, label: Tensor | int | None = None
    ) -> Tensor:
        """Importance-weighted bound on log p(x|c).

        Args:
            image: (B, *image_shape).
            num_importance_samples: See `VariationalModule`.
            label: (B,), or one for all; without, all labels are taken for equally likely, for a bound on log p(x).

        Returns:
            Nats, (B,).
        """
        if label is not None:
            batch = {"image": image, "label": self._labels(label, len(image))}
            return self.weighted_bound(batch, num_importance_samples)
        return self._of_each_label(image, num_importance_samples).logsumexp(0) - math.log(self.num_classes)

    def likely_labels(self, image: Tensor, num_importance_samples: int = 50) -> Tensor:
        """Labels that images are most probable under, (B, *image_shape) to (B,); see `log_likelihood`."""
        return self._of_each_label(image, num_importance_samples).argmax(0)

    def _of_each_label(self, image: Tensor, num_importance_samples: int) -> Tensor:
        """The bound on log p(x|c) under each label, (num_classes, B)."""
        each = [self.log_likelihood(image, num_importance_samples, one) for one in range(self.num_classes)]
        return torch.stack(each)

    def encode(self, image: Tensor, label: Tensor | int | None = None) -> Tensor:
        """The posterior's means, (B, *image_shape) and labels to (B, latent_dim).

        Raises:
            ValueError: Without a label.
        """
        batch = {"image": image, "label": self._labels(label, len(image))}
        with evaluating(self):
            return self.posterior.centre(self.features_of(self.encoder_input(batch)))

    def decode(self, latents: Tensor, label: Tensor | int | None = None) -> Tensor:
        """Expected images of latents and labels, (B, latent_dim) to (B, *image_shape).

        Args:
            latents: (B, latent_dim).
            label: (B,), or one for all; 0 without, so that a path of latents keeps its label.
        """
        batch = {"label": self._labels(0 if label is None else label, len(latents))}
        return self.mean_images(self.decoder_input(latents[None], batch)[0])

    def reconstruct(self, image: Tensor, label: Tensor | int | None = None) -> Tensor:
        """Images through the means of their posterior and back, (B, *image_shape)."""
        return self.decode(self.encode(image, label), label)

    def sample(
        self, num_samples: int, *, label: Tensor | int | None = None, seed: int | None = None, first: int = 0
    ) -> Tensor:
        """Draw samples; see `SamplingModule`.

        Args:
            num_samples: How many.
            label: One for all, or (num_samples,); without, sample i of a seed has label i modulo their number.
            seed: See `SamplingModule`.
            first: See `SamplingModule`.
        """
        latents = self.draw_latents(num_samples, seed=seed, first=first)
        return self.decode(latents, values_for(self.condition, label, num_samples, self.device, first=first))
