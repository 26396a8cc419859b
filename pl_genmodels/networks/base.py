"""The abstract networks. Own networks subclass these, and every model takes them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pl_genmodels.specs import Recorded
from pl_genmodels.types import ImageShape


class Generator(Recorded, nn.Module, ABC):
    """Maps latents to samples.

    A model calls its generator argument with the image shape: `generator(image_shape)`; every other constructor
    argument needs a default. All arguments must be plain, so that a checkpoint can hold them.

    Args:
        image_shape: Shape of one sample, (C, H, W) or (n,).
        latent_dim: Length of a latent.

    Raises:
        ValueError: If `latent_dim` is not positive.
    """

    supplied = ("image_shape",)

    def __init__(self, image_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 1:
            raise ValueError(f"latent_dim: got {latent_dim}, allowed is 1 or more")
        self.image_shape, self.latent_dim = tuple(image_shape), latent_dim

    @abstractmethod
    def forward(self, latent: Tensor) -> Tensor:
        """Samples in the data's range, (B, latent_dim) to (B, *image_shape)."""


class Discriminator(Recorded, nn.Module, ABC):
    """Maps samples to one logit each; no sigmoid at the end.

    Args:
        image_shape: Shape of one sample, (C, H, W) or (n,).
    """

    supplied = ("image_shape",)

    def __init__(self, image_shape: ImageShape) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Logits, (B, *image_shape) to (B,)."""


class Encoder(Recorded, nn.Module, ABC):
    """Maps samples to features, such as the mean and log-variance of a latent.

    A model calls its encoder argument with the image shape and the number of features.

    Args:
        image_shape: Shape of one sample, (C, H, W) or (n,).
        num_features: Length of what it gives.
    """

    supplied = ("image_shape", "num_features")

    def __init__(self, image_shape: ImageShape, num_features: int) -> None:
        super().__init__()
        self.image_shape, self.num_features = tuple(image_shape), num_features

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Features, (B, *image_shape) to (B, num_features)."""


class Decoder(Recorded, nn.Module, ABC):
    """Maps latents to the parameters of a likelihood; linear at the end.

    A model calls its decoder argument with the shape of the parameters and the length of a latent.

    Args:
        parameter_shape: Shape of one sample's parameters, (C, H, W) or (n,).
        latent_dim: Length of a latent.
    """

    supplied = ("parameter_shape", "latent_dim")

    def __init__(self, parameter_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        self.parameter_shape, self.latent_dim = tuple(parameter_shape), latent_dim

    @abstractmethod
    def forward(self, latent: Tensor) -> Tensor:
        """Parameters, (B, latent_dim) to (B, *parameter_shape)."""


class Prior(Recorded, ABC):
    """Distribution of the latents."""

    @abstractmethod
    def sample(
        self, num_samples: int, latent_dim: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        """Draw latents, (num_samples, latent_dim), on `device`, from `generator` or torch's global state."""


class NormalPrior(Prior):
    """Independent standard normal latents."""

    def sample(  # noqa: D102
        self, num_samples: int, latent_dim: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        return torch.randn(num_samples, latent_dim, generator=generator, device=device)


class UniformPrior(Prior):
    """Independent uniform latents in [-bound, bound].

    Args:
        bound: Half the width; sqrt(3) gives unit variance.
    """

    def __init__(self, bound: float = 1.0) -> None:
        if bound <= 0:
            raise ValueError(f"bound: got {bound}, allowed is more than 0")
        self.bound = bound

    def sample(  # noqa: D102
        self, num_samples: int, latent_dim: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        return torch.rand(num_samples, latent_dim, generator=generator, device=device).mul_(2).sub_(1).mul_(self.bound)


def require_picture(network: str, image_shape: ImageShape) -> tuple[int, int, int]:
    """Check that a shape is one of a picture.

    Raises:
        ValueError: If it is not (C, H, W).
    """
    if len(image_shape) != 3:
        raise ValueError(f"{network}: got image_shape {tuple(image_shape)}, allowed are pictures (C, H, W)")
    return (image_shape[0], image_shape[1], image_shape[2])
