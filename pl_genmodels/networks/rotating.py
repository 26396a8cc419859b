"""A generator that shows what is in a picture, or in several pictures of one thing, from another side."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from pl_genmodels.networks.base import Encoder, Generator
from pl_genmodels.networks.casia import CASIAEncoder, CASIAGenerator
from pl_genmodels.specs import Recorded
from pl_genmodels.types import ImageShape


class RotatingGenerator(Recorded, nn.Module):
    r"""An encoder to features f, and a decoder of f, the wanted pose and a latent (Tran, Yin, Liu 2017, section 3).

    Of several pictures of one identity the features are $\sum_i \omega_i f_i / \sum_i \omega_i$ with weights
    $\omega_i \in (0, 1)$ that the encoder gives too (equation 7), or their mean.

    Args:
        image_shape: Shape of one picture, (C, H, W).
        num_poses: That can be asked for.
        num_features: Length of f.
        latent_dim: Length of a latent.
        encoder: Called with the image shape and the length of f, and of the weight's logit behind it.
        decoder: Called with the image shape and the length of features, pose and latent together.
        weighted: Whether the encoder weights pictures.

    Raises:
        ValueError: For lengths that are not positive.
    """

    supplied = ("image_shape", "num_poses")
    supplies: ClassVar[dict[str, tuple[str, ...]]] = {"decoder": ("latent_dim",)}

    def __init__(
        self,
        image_shape: ImageShape,
        num_poses: int,
        num_features: int = 320,
        latent_dim: int = 50,
        encoder: Callable[[tuple[int, ...], int], Encoder] = CASIAEncoder,
        decoder: Callable[[tuple[int, ...], int], Generator] = CASIAGenerator,
        weighted: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("num_features", num_features), ("latent_dim", latent_dim)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, allowed is 1 or more")
        self.image_shape, self.num_poses = tuple(image_shape), num_poses
        self.num_features, self.latent_dim, self.weighted = num_features, latent_dim, weighted
        self.encoder = encoder(self.image_shape, num_features + weighted)
        self.decoder = decoder(self.image_shape, num_features + num_poses + latent_dim)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features of pictures and the logits of their weights, (N, C, H, W) to (N, F) and (N,)."""
        found = self.encoder(images)
        return (found[:, :-1], found[:, -1]) if self.weighted else (found, torch.zeros_like(found[:, 0]))

    def decode(self, features: Tensor, pose: Tensor, latent: Tensor) -> Tensor:
        """Pictures, (N, F), (N, num_poses) and (N, latent_dim) to (N, C, H, W)."""
        return self.decoder(torch.cat([features, pose.to(features.dtype), latent.to(features.dtype)], 1))

    def codes(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features of each picture and of all of an identity's, (B, n, C, H, W) to (B, n, F) and (B, F)."""
        features, logits = (part.unflatten(0, images.shape[:2]) for part in self.encode(images.flatten(0, 1)))
        return features, fused(features, logits)

    def forward(self, images: Tensor, pose: Tensor, latent: Tensor) -> Tensor:
        """Pictures from the features of each picture, and if there are several, last from those of all.

        Args:
            images: n of each identity, (B, n, C, H, W).
            pose: Wanted, the same of all pictures of an identity, (B, num_poses).
            latent: Likewise, (B, latent_dim).

        Returns:
            (B, 1, C, H, W) for n = 1, else (B, n + 1, C, H, W).
        """
        features, joint = self.codes(images)
        codes = torch.cat([features, joint[:, None]], 1) if images.shape[1] > 1 else features
        number = codes.shape[1]
        told = (part.repeat_interleave(number, 0) for part in (pose, latent))
        return self.decode(codes.flatten(0, 1), *told).unflatten(0, (-1, number))


def fused(features: Tensor, logits: Tensor) -> Tensor:
    r"""$\sum_i \omega_i f_i / \sum_i \omega_i$ with $\omega = \sigma(l)$, (B, n, F) and (B, n) to (B, F).

    The weights are divided by their sum in logarithms, which no sum of zeros can spoil.
    """
    log_weights = nn.functional.logsigmoid(logits.float() if logits.dtype.itemsize < 4 else logits)
    return (log_weights.softmax(1)[..., None].to(features.dtype) * features).sum(1)
