"""Penalties on the discriminator's gradient, and constraints on its weights.

Penalties are computed in single precision (double with double weights), with autocast off and from half-precision
weights that are cast: a gradient of a gradient loses its meaning in half precision. They are per sample, so the
discriminator must not mix samples (no batch normalisation).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from pl_genmodels.losses.precision import at_least_single, exact_gradients, in_single_precision
from pl_genmodels.specs import Recorded


class Penalty(Recorded, ABC):
    """A term of the discriminator's loss that looks at the discriminator's gradient with respect to its input.

    Attributes:
        name: Key under which the term is logged.
        double_backward: Whether the term's gradient goes through a gradient of the discriminator, which must then not
            be sharded.
    """

    name: str
    double_backward: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Value of the term, weight included.

        Args:
            discriminator: Maps (B, ...) to logits (B,).
            real: Real samples, (B, ...).
            fake: Generated samples, detached, (B, ...).

        Returns:
            One value per sample, (B,).
        """


def input_gradient(discriminator: nn.Module, points: Tensor) -> Tensor:
    """Gradient of D at each point, differentiable a second time, flattened to (B, n).

    Of a discriminator that judges m samples in a row at once it is one gradient for these, (B / m, m n).

    Args:
        discriminator: Maps (B, ...) to logits (B,).
        points: Where to take the gradient, (B, ...).
    """
    with exact_gradients(points.device.type):
        logits_at, dtype = in_single_precision(discriminator)
        points = points.detach().to(dtype).requires_grad_()
        logits = logits_at(points)
        (gradient,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
    return gradient.reshape(logits.numel(), -1) if len(logits) < len(points) else gradient.flatten(1)


def gradient_norm(gradient: Tensor) -> Tensor:
    """Euclidean norm per sample with a finite derivative at zero; (B, n) to (B,)."""
    return (gradient.square().sum(1) + 1e-12).sqrt()


def _non_negative(name: str, value: float) -> float:
    if value < 0:
        raise ValueError(f"{name}: got {value}, allowed is 0 or more")
    return value


class GradientPenalty(Penalty):
    """weight (||grad D(u)|| - 1)^2 at u = e x + (1 - e) y, e ~ U(0, 1) per sample.

    Gulrajani et al. 2017, eq. 3. Samples that a discriminator judges as one lie on one line, with one e.

    Args:
        weight: The paper's lambda: 10 for images, 0.1 for toy data.
        one_sided: Penalise only norms above 1, their section 4's variant.
    """

    name = "gradient_penalty"

    def __init__(self, weight: float = 10.0, one_sided: bool = False) -> None:
        self.weight, self.one_sided = _non_negative("weight", weight), one_sided

    def __call__(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:  # noqa: D102
        real, fake = at_least_single(real), at_least_single(fake)
        together = getattr(discriminator, "num_packed", 1)
        mix = torch.rand(len(real) // together, *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
        mix = mix.repeat_interleave(together, 0)
        excess = gradient_norm(input_gradient(discriminator, fake + mix * (real - fake))) - 1
        if self.one_sided:
            excess = excess.relu()
        return self.weight * excess**2


class R1(Penalty):
    """gamma/2 ||grad D(x)||^2 at real samples; no square root.

    Mescheder et al. 2018, eq. 9.

    Args:
        gamma: Strength.
    """

    name = "r1"

    def __init__(self, gamma: float = 10.0) -> None:
        self.gamma = _non_negative("gamma", gamma)

    def __call__(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:  # noqa: D102
        return self.gamma / 2 * input_gradient(discriminator, real).square().sum(1)


class R2(Penalty):
    """gamma/2 ||grad D(y)||^2 at generated samples.

    Mescheder et al. 2018, eq. 10.

    Args:
        gamma: Strength.
    """

    name = "r2"

    def __init__(self, gamma: float = 10.0) -> None:
        self.gamma = _non_negative("gamma", gamma)

    def __call__(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:  # noqa: D102
        return self.gamma / 2 * input_gradient(discriminator, fake).square().sum(1)


class DRAGAN(Penalty):
    """weight (||grad D(u)|| - 1)^2 at u = x + scale std(x) e, e ~ U(0, 1): a shell around the real samples.

    Kodali et al. 2017, section 2.3, with the noise of the authors' code. std is over the whole local batch.

    Args:
        weight: The paper's lambda.
        scale: Size of the perturbation in standard deviations of the data.
    """

    name = "dragan"

    def __init__(self, weight: float = 10.0, scale: float = 0.5) -> None:
        self.weight, self.scale = _non_negative("weight", weight), scale

    def __call__(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:  # noqa: D102
        real = at_least_single(real)
        points = real + self.scale * real.std() * torch.rand_like(real)
        return self.weight * (gradient_norm(input_gradient(discriminator, points)) - 1) ** 2


class Constraint(Recorded, ABC):
    """Something that keeps the discriminator's weights in a set."""

    def attach(self, discriminator: nn.Module) -> None:
        """Change the network once, right after it is built."""

    def project(self, discriminator: nn.Module) -> None:
        """Bring the weights back into the set after each of the discriminator's steps."""


class WeightClipping(Constraint):
    """Every parameter, biases and normalisation included, is clipped to [-bound, bound] after each step.

    Arjovsky et al. 2017, algorithm 1.

    Args:
        bound: The paper's c.
    """

    def __init__(self, bound: float = 0.01) -> None:
        if bound <= 0:
            raise ValueError(f"bound: got {bound}, allowed is more than 0")
        self.bound = bound

    @torch.no_grad()
    def attach(self, discriminator: nn.Module) -> None:  # noqa: D102
        self.project(discriminator)

    @torch.no_grad()
    def project(self, discriminator: nn.Module) -> None:  # noqa: D102
        parameters: list[Tensor] = list(discriminator.parameters())
        torch._foreach_clamp_min_(parameters, -self.bound)
        torch._foreach_clamp_max_(parameters, self.bound)


class SpectralNorm(Constraint):
    """Each linear and convolution weight, as a matrix (C_out, rest), is divided by its largest singular value.

    Miyato et al. 2018, algorithm 1, with torch's own parametrisation: u and v are buffers, one power iteration a
    training forward.

    Args:
        num_power_iterations: Per forward; the paper uses 1.
    """

    def __init__(self, num_power_iterations: int = 1) -> None:
        if num_power_iterations < 1:
            raise ValueError(f"num_power_iterations: got {num_power_iterations}, allowed is 1 or more")
        self.num_power_iterations = num_power_iterations

    def attach(self, discriminator: nn.Module) -> None:  # noqa: D102
        kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)
        for layer in [module for module in discriminator.modules() if isinstance(module, kinds)]:
            if not bool(layer.weight.any()):
                raise ValueError(
                    f"SpectralNorm: a {type(layer).__name__} of {type(discriminator).__name__} starts at zero, with "
                    "no norm to divide by; allowed are networks without zero-initialised layers"
                )
            parametrizations.spectral_norm(layer, n_power_iterations=self.num_power_iterations)
