"""Why a GAN's divergence matters: what parallel lines are apart, and what a Gaussian makes of two modes."""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Normal

POINTS = torch.linspace(-6, 6, 601, dtype=torch.double)
P = 0.7 * Normal(-1.5, 0.5).log_prob(POINTS).exp() + 0.3 * Normal(2.0, 0.4).log_prob(POINTS).exp() + 1e-30
STARTS = ((0.5, 0.3), (-1.5, -0.7), (2.0, -0.9))  # mean and log-deviation


def parallel_lines(theta: Tensor) -> dict[str, Tensor]:
    """Divergences between (0, U) and (theta, U), U ~ U(0, 1), example 1 of Arjovsky et al. 2017: (N,) to (N,) each."""
    infinite, jensen_shannon = (torch.where(theta != 0, value, 0.0) for value in (math.inf, math.log(2)))
    return {"KL": infinite, "reverse KL": infinite, "JS": jensen_shannon, "Wasserstein-1": theta.abs()}


def divergence(name: str, q: Tensor) -> Tensor:
    """Of the two modes p from the density q by the trapezoid rule, (N,) to a scalar."""
    p, q = P, q + 1e-30
    middle = (p + q) / 2
    integrand = {
        "KL": p * (p / q).log(),
        "reverse KL": q * (q / p).log(),
        "JS": 0.5 * p * (p / middle).log() + 0.5 * q * (q / middle).log(),
        "Pearson": (p - q).square() / q,
    }[name]
    return torch.trapezoid(integrand, POINTS)


def nearest(name: str) -> tuple[float, float]:
    """Mean and deviation of the Gaussian that is nearest to the two modes."""
    values = torch.tensor(STARTS, dtype=torch.double).requires_grad_()  # all starts at once
    optimizer = torch.optim.Adam([values], lr=0.03)
    for _ in range(400):
        found = [divergence(name, Normal(mean, log_std.exp()).log_prob(POINTS).exp()) for mean, log_std in values]
        optimizer.zero_grad()
        torch.stack(found).sum().backward()
        optimizer.step()
    mean, log_std = values[torch.stack(found).argmin()].tolist()
    return mean, math.exp(log_std)


if __name__ == "__main__":
    figure, theta = Figure(figsize=(10, 4), layout="tight"), torch.linspace(-1, 1, 201)
    lines, modes = figure.subplots(1, 2)
    for name, values in parallel_lines(theta).items():
        lines.plot(theta, values.clamp_max(1.2), label=name, linestyle="--" if name == "reverse KL" else "-")
    modes.fill_between(POINTS, P, color="0.85", label="two modes")
    for name in ("KL", "reverse KL", "JS", "Pearson"):
        mean, std = nearest(name)
        modes.plot(POINTS, Normal(mean, std).log_prob(POINTS).exp(), label=f"{name}: {mean:.2f}, {std:.2f}")
    lines.set(title="Two parallel lines (KL is infinite but at 0)", xlabel="theta")
    modes.set(title="The nearest Gaussian, its mean and deviation")
    [axes.legend() for axes in (lines, modes)]
    figure.savefig("divergences.png")
