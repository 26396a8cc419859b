"""How well samples cover a known distribution of points."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def mode_coverage(samples: Tensor, centers: Tensor, sigma: float, radius: float = 3.0) -> dict[str, float]:
    r"""Modes found, share of samples near a mode, and how evenly these are spread over the modes.

    A sample is of high quality if its nearest centre is at most `radius` standard deviations away; a mode is captured
    if at least one such sample is nearest to it. A perfect sampler of points in the plane reaches a share of
    :math:`1 - e^{-9/2} = 0.98889`, with a divergence of about :math:`(K - 1) / 2N`.

    Reference: Lin et al., "PacGAN: The power of two samples in generative adversarial networks", 2018, section 4.1.

    Args:
        samples: (N, d).
        centers: Of the modes, (K, d).
        sigma: Standard deviation of every mode, in the units of the samples.
        radius: In standard deviations.

    Returns:
        `modes`, 0 to K; `high_quality`, 0 to 1; `kl`, the divergence in nats of the modes' shares of high-quality
        samples from uniform, 0 to log K, infinite if there are none.

    Raises:
        ValueError: If there are no samples or no centres, their dimensions differ, or `sigma` is not positive.
    """
    if samples.ndim != 2 or centers.ndim != 2 or samples.shape[1] != centers.shape[1] or not samples.numel():
        raise ValueError(
            f"samples: got shape {tuple(samples.shape)} with centers {tuple(centers.shape)}, "
            "allowed are (N, d) with (K, d)"
        )
    if not len(centers) or sigma <= 0:
        raise ValueError(
            f"sigma: got {sigma} with {len(centers)} centers, allowed is more than 0 with at least 1 center"
        )
    distance, nearest = torch.cdist(samples.double(), centers.to(samples.device, torch.float64)).min(dim=1)
    good = distance <= radius * sigma  # never for NaN
    counts = torch.bincount(nearest[good], minlength=len(centers)).double()
    share = counts / counts.sum()
    kl = torch.xlogy(share, share * len(centers)).sum().item() if good.any() else math.inf
    return {"modes": float((counts > 0).sum()), "high_quality": good.double().mean().item(), "kl": kl}


def class_coverage(counts: Tensor) -> dict[str, float]:
    """Classes found among samples, and how unevenly the samples are spread over them.

    Reference: Metz et al., "Unrolled generative adversarial networks", 2017, section 3.3.2; Lin et al., "PacGAN", 2018,
    section 4.2. Of N real samples the divergence is about (K - 1) / 2N, not 0.

    Args:
        counts: Samples of each class, (K,); in the data all are equally probable.

    Returns:
        `modes`, 1 to K; `kl`, the divergence in nats of the classes' shares from uniform, 0 to log K.

    Raises:
        ValueError: If there are no samples.
    """
    if counts.ndim != 1 or not counts.sum() > 0:
        raise ValueError(f"counts: got shape {tuple(counts.shape)}, allowed are (K,) that are not all 0")
    share = counts.double() / counts.sum()
    return {"modes": float((share > 0).sum()), "kl": torch.xlogy(share, share * len(share)).sum().item()}


def sliced_wasserstein(
    samples1: Tensor, samples2: Tensor, num_projections: int = 200, generator: torch.Generator | None = None
) -> float:
    """Mean Wasserstein-1 distance between two sets of points projected onto random lines.

    Each projection's distance is exact: the mean absolute difference of the sorted values. A shift by a vector v in the
    plane gives 2 / pi of its length on average.

    Reference: Rabin et al., "Wasserstein barycenter and its application to texture mixing", 2011, section 2.2.

    Args:
        samples1: (N, d).
        samples2: (N, d).
        num_projections: Number of random directions.
        generator: Of the directions, on the CPU; by default the same directions at every call.

    Raises:
        ValueError: If the shapes differ, or there is no projection.
    """
    if samples1.ndim != 2 or samples1.shape != samples2.shape or not samples1.numel():
        raise ValueError(
            f"samples2: got shape {tuple(samples2.shape)} with samples1 {tuple(samples1.shape)}, allowed are two (N, d)"
        )
    if num_projections < 1:
        raise ValueError(f"num_projections: got {num_projections}, allowed is 1 or more")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    directions = torch.randn(samples1.shape[1], num_projections, generator=generator, dtype=torch.float64)
    directions = F.normalize(directions, dim=0).to(samples1.device)
    projected1 = (samples1.double() @ directions).sort(dim=0).values  # (N, num_projections)
    projected2 = (samples2.to(samples1.device, torch.float64) @ directions).sort(dim=0).values
    return (projected1 - projected2).abs().mean().item()


def symmetric_kl(
    samples1: Tensor, samples2: Tensor, low: float = -3.0, high: float = 3.0, bins: int = 50, smoothing: float = 1e-8
) -> float:
    r"""KL(P || Q) + KL(Q || P) of the histograms of two sets of points on a grid in the plane.

    Points outside the grid count in its nearest cell. Values depend on the grid and on the numbers of points; compare
    like with like. Reference: Nguyen et al., "Dual discriminator generative adversarial nets", 2017, section 4.1.

    Args:
        samples1: (N, 2).
        samples2: (M, 2).
        low: Left and lower border of the grid, in the units of the samples.
        high: Right and upper border.
        bins: Cells in each direction.
        smoothing: Added to the share of every cell.

    Returns:
        Nats, 0 or more.

    Raises:
        ValueError: If these are no points in the plane, or the grid is empty.
    """
    for name, samples in (("samples1", samples1), ("samples2", samples2)):
        if samples.ndim != 2 or samples.shape[1] != 2 or not len(samples):
            raise ValueError(f"{name}: got shape {tuple(samples.shape)}, allowed are points in the plane, (N, 2)")
    if not low < high or bins < 1:
        raise ValueError(f"high: got {high} with low {low} and {bins} bins, allowed is more than low and 1 bin or more")

    def shares(samples: Tensor) -> Tensor:
        cells = ((samples.double() - low) / (high - low) * bins).floor().clamp(0, bins - 1).nan_to_num().long()
        counts = torch.bincount(cells[:, 0] * bins + cells[:, 1], minlength=bins * bins).double() + smoothing * len(
            cells
        )
        return counts / counts.sum()

    p, q = shares(samples1), shares(samples2)
    return ((p - q) * (p.log() - q.log())).sum().item()


def wasserstein(samples1: Tensor, samples2: Tensor) -> float:
    """Exact Wasserstein-1 distance between two equally large sets of points: the mean distance of the best matching.

    It takes time of the order of N cubed: about a second for 1,000 points.

    Args:
        samples1: (N, d).
        samples2: (N, d).

    Raises:
        ValueError: If the shapes differ, or values are not finite.
    """
    from scipy.optimize import linear_sum_assignment

    if samples1.ndim != 2 or samples1.shape != samples2.shape or not samples1.numel():
        raise ValueError(
            f"samples2: got shape {tuple(samples2.shape)} with samples1 {tuple(samples1.shape)}, allowed are two (N, d)"
        )
    distance = torch.cdist(samples1.double(), samples2.to(samples1.device, torch.float64)).cpu()
    if not distance.isfinite().all():
        raise ValueError("samples1: got values that are not finite")
    rows, columns = linear_sum_assignment(distance.numpy())
    return distance[rows, columns].mean().item()
