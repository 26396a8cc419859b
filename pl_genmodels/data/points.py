"""Distributions of points in the plane, on which it can be seen what a generator learnt and what it left out."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.data.base import ImageData
from pl_genmodels.data.loader import TensorSet
from pl_genmodels.data.seeds import stable_seed


class PointData(ImageData):
    """Points of a curve or of a set of centres, plus normal noise.

    `val` and `test` have a quarter as many points as `train`, at least one; all three are different draws.

    Args:
        num_samples: Training points.
        sigma: Standard deviation of the noise in each direction, not negative.
        **kwargs: Of `ImageData` but those for pictures; `seed` also decides the draws.

    Attributes:
        centers: Means of the modes, float32 (K, 2), or None for a curve.
        sigma: As given.

    Raises:
        ValueError: If an argument is out of range.
    """

    image_shape = (2,)
    grey_levels = None

    def __init__(self, num_samples: int = 10_000, sigma: float = 0.1, **kwargs: Any) -> None:
        super().__init__(flip=False, binarize="none", dequantize=False, **kwargs)
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        if not 0 <= sigma < math.inf:
            raise ValueError(f"sigma: got {sigma}, allowed is 0 or more")
        self.num_samples = num_samples
        self.sigma = sigma

    @property
    def centers(self) -> Tensor | None:
        """Means of the modes, float32 (K, 2), or None for a curve."""
        return None

    @abstractmethod
    def draw(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Points without noise.

        Args:
            number: How many, N.
            generator: Source of all randomness.

        Returns:
            float32 (N, 2), and the number of each point's mode or arm, int64 (N,), or None.
        """

    def load(self, split: str) -> TensorSet:
        """Points of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `image` float32 (N, 2), and `label` int64 (N,) where there are modes or arms.
        """
        number = self.num_samples if split == "train" else max(1, self.num_samples // 4)
        name = type(self).__name__
        generator = torch.Generator().manual_seed(stable_seed(name, split, self.seed))
        points, labels = self.draw(number, generator)
        tensors = {"image": points + self.sigma * torch.randn(number, 2, generator=generator)}
        return TensorSet(tensors if labels is None else {**tensors, "label": labels}, f"{name} {split}")


class Mixture(PointData):
    """Equally probable normal distributions around the `centers`; the label is the number of the centre."""

    @property
    @abstractmethod
    def centers(self) -> Tensor:
        """Means of the modes, float32 (K, 2)."""

    def draw(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Centres, drawn with equal probability.

        Args:
            number: How many, N.
            generator: Source of all randomness.

        Returns:
            float32 (N, 2), and the number of each centre, int64 (N,).
        """
        labels = torch.randint(len(self.centers), (number,), generator=generator)
        return self.centers[labels], labels


class Ring8(Mixture):
    """Eight modes, at angles of 2 pi k / 8 on a circle of radius 2 (Metz et al., "Unrolled GAN", 2017).

    Their own script has both ends of the circle among its angles, hence seven modes of which one is twice as likely;
    here are eight.

    Args:
        num_samples: Training points.
        sigma: Standard deviation of each mode.
        **kwargs: Of `PointData`.
    """

    num_classes = 8

    def __init__(self, num_samples: int = 10_000, sigma: float = 0.1, **kwargs: Any) -> None:
        super().__init__(num_samples=num_samples, sigma=sigma, **kwargs)
        self.save_hyperparameters()

    @property
    def centers(self) -> Tensor:
        """Means of the modes, float32 (8, 2)."""
        angles = torch.arange(8) * (2 * math.pi / 8)
        return 2 * torch.stack([angles.cos(), angles.sin()], dim=1)


class Grid25(Mixture):
    """Twenty-five modes, on the grid {-4, -2, 0, 2, 4} x {-4, -2, 0, 2, 4} (Srivastava et al., "VEEGAN", 2017).

    Args:
        num_samples: Training points.
        sigma: Standard deviation of each mode; several papers take 0.05.
        **kwargs: Of `PointData`.
    """

    num_classes = 25

    def __init__(self, num_samples: int = 10_000, sigma: float = 0.1, **kwargs: Any) -> None:
        super().__init__(num_samples=num_samples, sigma=sigma, **kwargs)
        self.save_hyperparameters()

    @property
    def centers(self) -> Tensor:
        """Means of the modes, float32 (25, 2)."""
        line = torch.arange(-4.0, 5.0, 2.0)
        return torch.cartesian_prod(line, line)


class Spiral(PointData):
    """Two arms that wind one and a half times out to radius 2, each the other turned by half a circle.

    With u uniform in [0, 1]: radius 2 sqrt(u), angle 3 pi sqrt(u), plus pi for the second arm; the label is the arm.

    Args:
        num_samples: Training points.
        sigma: Standard deviation of the noise around the arms.
        **kwargs: Of `PointData`.
    """

    num_classes = 2

    def __init__(self, num_samples: int = 10_000, sigma: float = 0.05, **kwargs: Any) -> None:
        super().__init__(num_samples=num_samples, sigma=sigma, **kwargs)
        self.save_hyperparameters()

    def draw(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Points on the two arms, equally probable.

        Args:
            number: How many, N.
            generator: Source of all randomness.

        Returns:
            float32 (N, 2), and the arm, int64 (N,).
        """
        arms = torch.randint(2, (number,), generator=generator)
        root = torch.rand(number, generator=generator).sqrt()
        angles = math.pi * (3 * root + arms)
        return 2 * root[:, None] * torch.stack([angles.cos(), angles.sin()], dim=1), arms


class SwissRoll(PointData):
    """One band rolled up one and a half times: the Swiss roll of scikit-learn seen from its end, with radius 2.

    With u uniform in [0, 1]: angle t = 1.5 pi (1 + 2 u), radius 2 t / (4.5 pi).

    Args:
        num_samples: Training points.
        sigma: Standard deviation of the noise around the band.
        **kwargs: Of `PointData`.
    """

    def __init__(self, num_samples: int = 10_000, sigma: float = 0.05, **kwargs: Any) -> None:
        super().__init__(num_samples=num_samples, sigma=sigma, **kwargs)
        self.save_hyperparameters()

    def draw(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Points on the band.

        Args:
            number: How many, N.
            generator: Source of all randomness.

        Returns:
            float32 (N, 2), and None.
        """
        angles = 1.5 * math.pi * (1 + 2 * torch.rand(number, generator=generator))
        radii = angles * (2 / (4.5 * math.pi))
        return radii[:, None] * torch.stack([angles.cos(), angles.sin()], dim=1), None
