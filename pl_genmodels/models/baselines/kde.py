"""Parzen windows (Parzen 1962)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from pl_genmodels.models.fitted import MAX_PAIRS, FittedModule, pick
from pl_genmodels.types import ImageShape, Paper


class KDE(FittedModule):
    r"""A normal distribution around every training image.

    $\log p(x) = \log\frac1N\sum_i N(x; x_i, h^2 I)$. The bandwidth h is the candidate under which each training image
    is most probable given all the others (leave-one-out likelihood), so that no held-out set is touched. As a measure
    of other models this density is unreliable in many dimensions (Theis et al. 2016).

    Args:
        image_shape: See `GenerativeModule`.
        bandwidths: Candidates for h, in units of the data.

    Raises:
        ValueError: Without candidates, or if one is not positive.
    """

    paper = Paper(
        "On Estimation of a Probability Density Function and Mode",
        "Parzen",
        1962,
        "https://doi.org/10.1214/aoms/1177704472",
        "a density that is a sum of bumps around the data",
    )
    points: Tensor  # (N, D)
    bandwidth: Tensor  # ()

    def __init__(
        self,
        image_shape: ImageShape | None = None,
        bandwidths: Sequence[float] = (0.05, 0.07, 0.1, 0.14, 0.2, 0.24, 0.3, 0.36, 0.45, 0.6, 0.8, 1.0),
    ) -> None:
        if not bandwidths or min(bandwidths) <= 0:
            raise ValueError(f"bandwidths: got {list(bandwidths)}, allowed are one or more numbers above 0")
        self._bandwidths = sorted(bandwidths)
        super().__init__(image_shape)

    def start(self, length: int) -> dict[str, Tensor]:
        """A standard normal distribution."""
        return {"points": torch.zeros(1, length), "bandwidth": torch.ones(())}

    def estimate(self, rows: Tensor) -> dict[str, Tensor]:
        """All rows, and the best bandwidth."""
        held_out = self.leave_one_out(rows)
        best = int(held_out.argmax())
        if best in (0, len(held_out) - 1) and len(held_out) > 1:
            rank_zero_warn(f"bandwidths: the best one, {self._bandwidths[best]}, is the first or last that was tried")
        return {"points": rows, "bandwidth": torch.tensor(self._bandwidths[best])}

    def leave_one_out(self, rows: Tensor) -> Tensor:
        """Mean log-likelihood of each row given the others under every bandwidth in rising order.

        Args:
            rows: (N, D), two or more.

        Returns:
            Nats, (len(bandwidths),).
        """
        total = torch.zeros(len(self._bandwidths), dtype=rows.dtype)
        size = max(1, MAX_PAIRS // len(rows))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            distances = torch.cdist(part, rows).square()
            own = torch.arange(len(part))
            distances[own, own + start] = torch.inf
            each = [normal_mixture(distances, h, rows.shape[1], len(rows) - 1).sum() for h in self._bandwidths]
            total += torch.stack(each)
        return total / len(rows)

    def log_density(self, rows: Tensor) -> Tensor:
        """Logarithm of the mean over points."""
        size, count = max(1, MAX_PAIRS // len(self.points)), len(self.points)
        distances = (torch.cdist(part, self.points).square() for part in rows.split(size))
        return torch.cat([normal_mixture(each, self.bandwidth, rows.shape[1], count) for each in distances])

    @property
    def num_normals(self) -> int:
        """One for the point, and noise on every value."""
        return 1 + self.gathered.length

    def transform(self, normals: Tensor) -> Tensor:
        """A point, and noise of the bandwidth."""
        equal = torch.arange(1, len(self.points) + 1, dtype=normals.dtype, device=normals.device)
        return self.points[pick(equal, normals[:, 0])] + self.bandwidth * normals[:, 1:]


def normal_mixture(distances: Tensor, bandwidth: float | Tensor, length: int, count: int) -> Tensor:
    """Log-density of an equal mixture of normal distributions, from squared distances (B, N) to (B,).

    Args:
        distances: To the centres; infinite ones do not count.
        bandwidth: Standard deviation; a tensor is not read, so that nothing waits for its device.
        length: Values of a row.
        count: Centres that count.
    """
    variance = torch.as_tensor(bandwidth, dtype=distances.dtype).square()
    constant = math.log(count) + 0.5 * length * (2 * math.pi * variance).log()
    return (-0.5 * distances / variance).logsumexp(1) - constant
