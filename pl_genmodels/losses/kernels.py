"""Kernels on samples or their codes, and what they measure: the maximum mean discrepancy of two sets."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from pl_genmodels.layers.ranks import rows_of_all_ranks
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.specs import Recorded


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """Squared Euclidean distances of all pairs, (N, ...) and (M, ...) to (N, M), in at least single precision.

    Through one product of matrices, around the mean of both, which keeps what rounding takes small.
    """
    left, right = at_least_single(left).flatten(1), at_least_single(right).flatten(1)
    with torch.autocast(left.device.type, enabled=False):
        center = right.detach().mean(0)
        left, right = left - center, right - center
        product = left @ right.T
        return (left.square().sum(1)[:, None] + right.square().sum(1) - 2 * product).clamp(min=0)


def _positive(name: str, values: tuple[float, ...]) -> tuple[float, ...]:
    if not values or min(values) <= 0:
        raise ValueError(f"{name}: got {list(values)}, allowed are one or more numbers above 0")
    return tuple(values)


class Kernel(Recorded, ABC):
    """A positive definite function of two samples.

    Attributes:
        constant: Its value at distance 0, or the part of it that is the same everywhere.
    """

    constant: float

    @abstractmethod
    def varying(self, left: Tensor, right: Tensor) -> Tensor:
        """Its values less the constant, for all pairs: what discrepancies consist of, without the constant's rounding.

        Args:
            left: (N, ...).
            right: (M, ...), samples of the same shape.

        Returns:
            (N, M), in at least single precision.
        """

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        """Its values for all pairs, (N, ...) and (M, ...) to (N, M)."""
        return self.constant + self.varying(left, right)


class GaussianSum(Kernel):
    r"""$\sum_s \exp(-\|x-y\|^2 / (2 s^2))$, a mixture of widths so that one of them fits.

    Li et al. 2015, section 2 and 6.

    Args:
        bandwidths: The widths s, in units of the data or of the codes.
    """

    def __init__(self, bandwidths: tuple[float, ...] = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)) -> None:
        self.bandwidths = _positive("bandwidths", tuple(bandwidths))
        self.constant = float(len(self.bandwidths))

    def varying(self, left: Tensor, right: Tensor) -> Tensor:  # noqa: D102
        distances = squared_distances(left, right)
        return torch.stack([(distances / (-2 * s**2)).expm1() for s in self.bandwidths]).sum(0)


class RationalQuadratic(Kernel):
    r"""$\sum_a (1 + \|x-y\|^2 / (2a))^{-a}$, whose tails are heavy, and optionally $+ \langle x, y\rangle$.

    Binkowski et al. 2018, section 4 and appendix.

    Args:
        exponents: The paper's alphas.
        linear: Add the inner product, which compares means.
    """

    def __init__(self, exponents: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0), linear: bool = False) -> None:
        self.exponents, self.linear = _positive("exponents", tuple(exponents)), linear
        self.constant = float(len(self.exponents))

    def varying(self, left: Tensor, right: Tensor) -> Tensor:  # noqa: D102
        distances = squared_distances(left, right)
        total = torch.stack([((distances / (2 * a)).log1p() * -a).expm1() for a in self.exponents]).sum(0)
        if self.linear:
            with torch.autocast(left.device.type, enabled=False):
                total = total + at_least_single(left).flatten(1) @ at_least_single(right).flatten(1).T
        return total


def squared_mmd(kernel: Kernel, real: Tensor, fake: Tensor, unbiased: bool = False) -> Tensor:
    r"""Squared maximum mean discrepancy $E k(x,x') + E k(y,y') - 2 E k(x,y)$ of two sets of samples.

    Gretton et al. 2012, eqs. 3 and 5.

    Args:
        kernel: k.
        real: x, (N, ...).
        fake: y, (M, ...).
        unbiased: Leave out pairs of a sample with itself; the estimate may then be negative.

    Returns:
        (), a statement about the sets and no mean over samples.

    Raises:
        ValueError: For an unbiased estimate from a set of one sample, which has no pairs.
    """
    fewest = min(len(real), len(fake))
    if unbiased and fewest < 2:
        raise ValueError(f"unbiased: got true for a batch of {fewest}, allowed are 2 or more samples")

    def mean_within(samples: Tensor) -> Tensor:
        values = kernel.varying(samples, samples)
        if not unbiased:
            return values.mean()
        size = len(samples)
        return (values.sum() - values.diagonal().sum()) / (size * (size - 1))

    return mean_within(real) + mean_within(fake) - 2 * kernel.varying(real, fake).mean()


def root_mmd(squared: Tensor) -> Tensor:
    """Square root of a squared discrepancy, with a finite derivative where it is 0."""
    return (squared.relu() + 1e-8).sqrt()


class MomentMatching(Recorded):
    r"""The maximum mean discrepancy of real and generated samples, or of their codes, as a loss.

    Of the batches of all ranks together, but of one micro-batch at a time: it says something of a batch only, and more
    the larger the batch is (1,000 samples in the paper).

    Args:
        kernel: Of samples or codes.
        unbiased: Leave out pairs of a sample with itself.
        root: The discrepancy itself and not its square, which weighs small ones more (Li et al. 2015, section 4).

    Raises:
        ValueError: For the root of an unbiased estimate, which may be negative.
    """

    def __init__(self, kernel: Kernel = GaussianSum(), unbiased: bool = False, root: bool = True) -> None:
        if unbiased and root:
            raise ValueError("root: got true with unbiased true, allowed is false: that estimate may be negative")
        self.kernel, self.unbiased, self.root = kernel, unbiased, root

    def __call__(self, real: Tensor, fake: Tensor) -> Tensor:
        """The same value for each generated sample.

        Args:
            real: (B, ...).
            fake: (B, ...).

        Returns:
            (B,).
        """
        real, fake = (rows_of_all_ranks(at_least_single(each)) for each in (real, fake))
        squared = squared_mmd(self.kernel, real, fake, self.unbiased)
        value = root_mmd(squared) if self.root else squared
        return value.expand(len(fake))


def pulling_away(codes: Tensor, others: Tensor) -> Tensor:
    r"""$\frac{1}{N-1}\sum_{j \ne i} \cos^2(s_i, s_j)$ for each code i: 1 if all are the same, 0 if orthogonal or alone.

    Zhao et al. 2017, eq. 4; its mean over i is the paper's term.

    Args:
        codes: s_i, (B, d).
        others: All N codes, those among them, (N, d).

    Returns:
        (B,).
    """
    codes, others = at_least_single(codes), at_least_single(others)
    with torch.autocast(codes.device.type, enabled=False):
        left, right = (torch.nn.functional.normalize(each, dim=1) for each in (codes, others))
        squares = (left @ right.T).square().sum(1)
        return (squares - left.square().sum(1).square()) / max(len(others) - 1, 1)  # without itself
