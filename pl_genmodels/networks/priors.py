"""Laws of latents with a shape that one can see: what an adversarial autoencoder's codes are matched to."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from pl_genmodels.networks.base import Prior


class PlanePrior(Prior):
    """A law of latents in the plane."""

    def sample(  # noqa: D102
        self, num_samples: int, latent_dim: int, generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        if latent_dim != 2:
            raise ValueError(f"latent_dim: got {latent_dim}, allowed with {type(self).__name__} is 2")
        return self.points(num_samples, generator, device)

    @abstractmethod
    def points(self, num_samples: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Draw points, (num_samples, 2)."""


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
        if num_modes < 1:
            raise ValueError(f"num_modes: got {num_modes}, allowed is 1 or more")
        for name, value in (("deviation_along", deviation_along), ("deviation_across", deviation_across)):
            if value <= 0:
                raise ValueError(f"{name}: got {value}, allowed is more than 0")
        self.num_modes, self.radius = num_modes, radius
        self.deviation_along, self.deviation_across = deviation_along, deviation_across

    def points(self, num_samples: int, generator: torch.Generator | None, device: torch.device) -> Tensor:  # noqa: D102
        mode = torch.randint(self.num_modes, (num_samples,), generator=generator, device=device)
        angle = 2 * math.pi / self.num_modes * mode
        along, across = torch.randn(2, num_samples, generator=generator, device=device)
        along, across = self.radius + self.deviation_along * along, self.deviation_across * across
        cosine, sine = angle.cos(), angle.sin()
        return torch.stack([cosine * along - sine * across, sine * along + cosine * across], 1)


class SwissRollPrior(PlanePrior):
    r"""A spiral of two turns: $3 \sqrt t\,(\cos 4\pi\sqrt t, \sin 4\pi\sqrt t)$ for t uniform in [0, 1].

    Makhzani et al. 2016, figure 4; the numbers are those of public implementations.

    Args:
        radius: Of its end.

    Raises:
        ValueError: For a radius that is not positive.
    """

    def __init__(self, radius: float = 3.0) -> None:
        if radius <= 0:
            raise ValueError(f"radius: got {radius}, allowed is more than 0")
        self.radius = radius

    def points(self, num_samples: int, generator: torch.Generator | None, device: torch.device) -> Tensor:  # noqa: D102
        root = torch.rand(num_samples, generator=generator, device=device).sqrt()
        angle = 4 * math.pi * root
        return self.radius * torch.stack([root * angle.cos(), root * angle.sin()], 1)
