"""Laws of latents with modes or a shape that one can see: what an adversarial autoencoder's codes are matched to."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.networks.base import NormalPrior, Prior


class MixturePrior(Prior):
    """A law of latents with equally likely modes, which a latent can be asked to be of.

    Attributes:
        num_modes: How many there are.
    """

    num_modes: int

    @abstractmethod
    def noise(
        self, num_samples: int, latent_dim: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        """What is random in a latent of a known mode, (num_samples, ...)."""

    @abstractmethod
    def of_modes(self, noise: Tensor, mode: Tensor) -> Tensor:
        """Latents of modes, (B, ...) and (B,) to (B, latent_dim)."""

    def sample(  # noqa: D102
        self, num_samples: int, latent_dim: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        mode = torch.randint(self.num_modes, (num_samples,), generator=generator, device=device)
        return self.of_modes(self.noise(num_samples, latent_dim, generator, device), mode)


class CategoricalPrior(MixturePrior):
    """A category, as 0 but for a 1, and behind it a style that does not depend on it (Makhzani et al. 2016, section 5).

    Args:
        num_modes: Number of categories.
        style: Law of the rest of the latent.

    Raises:
        ValueError: For fewer than two categories.
    """

    def __init__(self, num_modes: int = 10, style: Prior = NormalPrior()) -> None:
        require_modes(num_modes, 2)
        self.num_modes, self.style = num_modes, style

    def noise(  # noqa: D102
        self, num_samples: int, latent_dim: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        if latent_dim <= self.num_modes:
            raise ValueError(
                f"latent_dim: got {latent_dim}, allowed with {self.num_modes} categories is more than "
                f"{self.num_modes}: a style is behind them"
            )
        return self.style.sample(num_samples, latent_dim - self.num_modes, generator, device)

    def of_modes(self, noise: Tensor, mode: Tensor) -> Tensor:  # noqa: D102
        return torch.cat([F.one_hot(mode, self.num_modes).to(noise.dtype), noise], 1)


class PlanePrior(MixturePrior):
    """A law of latents in the plane."""

    def noise(  # noqa: D102
        self, num_samples: int, latent_dim: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        if latent_dim != 2:
            raise ValueError(f"latent_dim: got {latent_dim}, allowed with {type(self).__name__} is 2")
        return self.plane_noise(num_samples, generator, device)

    @abstractmethod
    def plane_noise(self, num_samples: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """What is random in a point of a known mode, (num_samples, n)."""


class RingPrior(PlanePrior):
    """Normal laws on a circle, each with one axis along the radius, equally likely (Makhzani et al. 2016, figure 4).

    The defaults are those of public implementations; petals of a narrower ring overlap.

    Args:
        num_modes: How many, the first one to the right.
        radius: Of the circle.
        deviation_along: Along the radius.
        deviation_across: Across it.

    Raises:
        ValueError: For no mode, or deviations that are not positive.
    """

    def __init__(
        self,
        num_modes: int = 10,
        radius: float = 1.4,
        deviation_along: float = 0.5,
        deviation_across: float = 0.1,
    ) -> None:
        require_modes(num_modes, 1)
        for name, value in (("deviation_along", deviation_along), ("deviation_across", deviation_across)):
            if value <= 0:
                raise ValueError(f"{name}: got {value}, allowed is more than 0")
        self.num_modes, self.radius = num_modes, radius
        self.deviation_along, self.deviation_across = deviation_along, deviation_across

    def plane_noise(self, num_samples: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Along and across, (num_samples, 2)."""
        return torch.randn(num_samples, 2, generator=generator, device=device)

    def of_modes(self, noise: Tensor, mode: Tensor) -> Tensor:  # noqa: D102
        angle = 2 * math.pi / self.num_modes * mode.to(noise.dtype)
        along, across = self.radius + self.deviation_along * noise[:, 0], self.deviation_across * noise[:, 1]
        cosine, sine = angle.cos(), angle.sin()
        return torch.stack([cosine * along - sine * across, sine * along + cosine * across], 1)


class SwissRollPrior(PlanePrior):
    r"""A spiral of two turns: $3 \sqrt t\,(\cos 4\pi\sqrt t, \sin 4\pi\sqrt t)$ for t uniform in [0, 1].

    Mode k is the part with t in [k / K, (k + 1) / K], from the middle outwards. Makhzani et al. 2016, figures 2 and 4;
    the numbers are those of public implementations.

    Args:
        radius: Of its end.
        num_modes: K, parts that it is cut into.

    Raises:
        ValueError: For a radius that is not positive, or no mode.
    """

    def __init__(self, radius: float = 3.0, num_modes: int = 10) -> None:
        if radius <= 0:
            raise ValueError(f"radius: got {radius}, allowed is more than 0")
        require_modes(num_modes, 1)
        self.radius, self.num_modes = radius, num_modes

    def plane_noise(self, num_samples: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """How far along the part, (num_samples, 1)."""
        return torch.rand(num_samples, 1, generator=generator, device=device)

    def of_modes(self, noise: Tensor, mode: Tensor) -> Tensor:  # noqa: D102
        root = ((noise[:, 0] + mode.to(noise.dtype)) / self.num_modes).sqrt()
        angle = 4 * math.pi * root
        return self.radius * torch.stack([root * angle.cos(), root * angle.sin()], 1)


def require_modes(num_modes: int, least: int) -> None:
    """Refuse a law of too few modes.

    Raises:
        ValueError: If there are fewer than `least`.
    """
    if num_modes < least:
        raise ValueError(f"num_modes: got {num_modes}, allowed is {least} or more")
