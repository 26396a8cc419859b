"""Conditional GAN of tags: words for a picture, by the vectors of a language model (Mirza, Osindero 2014)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.layers import Features
from pl_genmodels.models.conditional import ConditionalGAN
from pl_genmodels.models.conditions import values_for
from pl_genmodels.networks import ConcatDiscriminator, ConditionalDiscriminator
from pl_genmodels.types import Paper

SIMILARITIES = 1 << 24  # that are held at once


class CGANTags(ConditionalGAN):
    r"""$\min_G \max_D E \log D(w|f) + E \log(1 - D(G(z|f)|f))$: vectors w of words that users gave to a picture.

    f are features of the picture by a network that stays as it is; a batch has them as `features`, and a word's vector
    as `image`. A picture with several tags is as many pairs (section 4.2).

    Tags of a picture are found by a vote: each of some generated vectors names the words that are nearest to it, by the
    cosine, and the words that are named most often are the tags.

    Departs from the paper: G maximises log D, Adam takes the place of SGD with momentum, and the networks are those
    that the config names.

    Args:
        image_shape: Length of a word's vector, (n,); see `GenerativeModule`.
        condition: The features.
        discriminator: Called with (n,) and the number of features.
        **kwargs: See `ConditionalGAN`.
    """

    paper = Paper(
        "Conditional Generative Adversarial Nets",
        "Mirza, Osindero",
        2014,
        "https://arxiv.org/abs/1411.1784",
        "several words for one picture: a law of word vectors given what a fixed network sees in it",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        condition: Features = Features(128),
        discriminator: Callable[[tuple[int, ...], int], ConditionalDiscriminator] = ConcatDiscriminator,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, condition=condition, discriminator=discriminator, **kwargs)

    def describe(self, features: Tensor, num_samples: int, *, seed: int | None = None) -> Tensor:
        """Vectors of words for pictures, from averaged weights if there are any.

        Args:
            features: Of the pictures, (B, K).
            num_samples: Vectors for each, S.
            seed: Of the latents; those of a picture do not depend on which others there are.

        Returns:
            (B, S, n).

        Raises:
            ValueError: For another number of features, or no samples.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        values = values_for(self.condition, features, len(features), self.device).repeat_interleave(num_samples, 0)
        latents = self.draw_latents(num_samples, seed=seed).repeat(len(features), 1)
        return self._decode(latents, values).unflatten(0, (len(features), num_samples))

    def votes(
        self, features: Tensor, vectors: Tensor, num_samples: int = 100, num_nearest: int = 20, seed: int = 0
    ) -> Tensor:
        """How often each word is among the nearest ones to a generated vector.

        Args:
            features: Of the pictures, (B, K).
            vectors: Of the words, (V, n).
            num_samples: Generated vectors a picture.
            num_nearest: Words that each of these names.
            seed: Of the latents.

        Returns:
            Counts, (B, V).

        Raises:
            ValueError: For vectors of another length, or more names than there are words.
        """
        if vectors.ndim != 2 or tuple(vectors.shape[1:]) != tuple(self.image_shape or ()):
            raise ValueError(
                f"vectors: got shape {tuple(vectors.shape)}, allowed is {('V', *(self.image_shape or ()))}"
            )
        if not 1 <= num_nearest <= len(vectors):
            raise ValueError(f"num_nearest: got {num_nearest}, allowed is 1 to {len(vectors)}, the number of words")
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        words, counts = F.normalize(vectors.to(self.device), dim=1), []
        for part in features.split(max(1, SIMILARITIES // (num_samples * len(words)))):
            made = F.normalize(self.describe(part, num_samples, seed=seed), dim=2)
            nearest = (made @ words.to(made.dtype).T).topk(num_nearest, 2).indices.flatten(1)
            empty = torch.zeros(len(part), len(words), dtype=torch.long, device=self.device)
            counts.append(empty.scatter_add(1, nearest, torch.ones_like(nearest)))
        return torch.cat(counts)

    def tags(self, features: Tensor, vectors: Tensor, num_tags: int = 10, **vote: Any) -> Tensor:
        """Words with the most votes, the first one first; of equally many the one that comes first.

        Args:
            features: Of the pictures, (B, K).
            vectors: Of the words, (V, n).
            num_tags: Words a picture.
            **vote: See `votes`.

        Returns:
            Numbers of words, (B, num_tags).

        Raises:
            ValueError: For more tags than there are words.
        """
        if not 1 <= num_tags <= len(vectors):
            raise ValueError(f"num_tags: got {num_tags}, allowed is 1 to {len(vectors)}, the number of words")
        return self.votes(features, vectors, **vote).argsort(dim=1, descending=True, stable=True)[:, :num_tags]
