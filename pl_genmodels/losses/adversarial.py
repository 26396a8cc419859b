"""What discriminator and generator minimise, as functions of raw logits: one value per sample, nothing reduced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.specs import Recorded


class AdversarialLoss(Recorded, ABC):
    """A pair of losses on the logits a = D(x) of real and b = D(G(z)) of generated samples, each (B,)."""

    generator_needs_real: ClassVar[bool] = False
    """Whether the generator's loss looks at the logits of real samples."""

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the discriminator.

        Args:
            real: Logits a of real samples, (B,).
            fake: Logits b of generated samples, (B,).

        Returns:
            One value per sample, (B,).
        """

    @abstractmethod
    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Loss of the generator.

        Args:
            fake: Logits b of generated samples, (B,).
            real: Logits a of real samples, (B,), where `generator_needs_real`.

        Returns:
            One value per sample, (B,).
        """


def _needed(real: Tensor | None) -> Tensor:
    if real is None:
        raise ValueError("real: got None, but a relativistic generator loss compares with the logits of real samples")
    return real


class LabelledLoss(AdversarialLoss):
    """A discriminator's loss that is a sum of one on samples called real and one on samples called generated."""

    @abstractmethod
    def as_real(self, logits: Tensor) -> Tensor:
        """Loss of the discriminator on samples that it should call real, (B,) to (B,)."""

    @abstractmethod
    def as_fake(self, logits: Tensor) -> Tensor:
        """Loss of the discriminator on samples that it should call generated, (B,) to (B,)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:  # noqa: D102
        return self.as_real(real) + self.as_fake(fake)


class CrossEntropy(LabelledLoss):
    """D minimises sp(-a) + sp(b), the cross-entropy of the labels 1 and 0; sp is softplus."""

    def as_real(self, logits: Tensor) -> Tensor:  # noqa: D102
        return F.softplus(-logits)

    def as_fake(self, logits: Tensor) -> Tensor:  # noqa: D102
        return F.softplus(logits)


class Minimax(CrossEntropy):
    """The saturating game: D minimises sp(-a) + sp(b), G minimises -sp(b).

    At p = q the discriminator's loss is 2 log 2. Goodfellow et al. 2014, eq. 1; sp is softplus.
    """

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return -F.softplus(fake)


class NonSaturating(CrossEntropy):
    """D minimises sp(-a) + sp(b) as in `Minimax`; G minimises sp(-b), whose gradient does not vanish when D wins.

    Goodfellow et al. 2014, section 3.
    """

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return F.softplus(-fake)


class LeastSquares(LabelledLoss):
    """D minimises 1/2 (a - real_target)^2 + 1/2 (b - fake_target)^2, G minimises 1/2 (b - generator_target)^2.

    Mao et al. 2017, eq. 9 with the 0-1-1 coding; (-1, 1, 0) gives the Pearson chi-square form of eq. 8.

    Args:
        fake_target: What D should answer on generated samples, the paper's a.
        real_target: What D should answer on real samples, the paper's b.
        generator_target: What G wants D to answer, the paper's c.
    """

    def __init__(self, fake_target: float = 0.0, real_target: float = 1.0, generator_target: float = 1.0) -> None:
        if generator_target == fake_target:
            raise ValueError(f"generator_target: got {generator_target}, which is fake_target; G would learn nothing")
        self.fake_target, self.real_target, self.generator_target = fake_target, real_target, generator_target

    def as_real(self, logits: Tensor) -> Tensor:  # noqa: D102
        return 0.5 * (logits - self.real_target) ** 2

    def as_fake(self, logits: Tensor) -> Tensor:  # noqa: D102
        return 0.5 * (logits - self.fake_target) ** 2

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return 0.5 * (fake - self.generator_target) ** 2


class Hinge(LabelledLoss):
    """D minimises relu(1 - a) + relu(1 + b), G minimises -b.

    Lim and Ye 2017, eqs. 15-16; Miyato et al. 2018, eqs. 16-17. The least D loss is 2 (1 - TV(p, q)).
    """

    def as_real(self, logits: Tensor) -> Tensor:  # noqa: D102
        return F.relu(1 - logits)

    def as_fake(self, logits: Tensor) -> Tensor:  # noqa: D102
        return F.relu(1 + logits)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return -fake


class BoundarySeeking(CrossEntropy):
    """D minimises sp(-a) + sp(b) as in `Minimax`; G minimises b^2 / 2, which brings samples to D's boundary, b = 0.

    Hjelm et al. 2018, section 3: b is log D - log(1 - D).
    """

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return 0.5 * fake**2


class EnergyMargin(LabelledLoss):
    """With energies minus the logits, D minimises -a + relu(margin + b), G minimises -b.

    Real samples get little energy, generated ones at least the margin. Zhao et al. 2017, eqs. 1-2; at best the D loss
    is margin (1 - TV(p, q)) for energies of any shape, and the margin at equilibrium.

    Args:
        margin: The paper's m, in units of the energy.
    """

    def __init__(self, margin: float = 1.0) -> None:
        if margin <= 0:
            raise ValueError(f"margin: got {margin}, allowed is more than 0")
        self.margin = margin

    def as_real(self, logits: Tensor) -> Tensor:  # noqa: D102
        return -logits

    def as_fake(self, logits: Tensor) -> Tensor:  # noqa: D102
        return F.relu(self.margin + logits)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return -fake


class Wasserstein(AdversarialLoss):
    """D minimises b - a, G minimises -b; -D's loss estimates W1 up to the critic's Lipschitz constant.

    Arjovsky et al. 2017, eq. 3. Needs a constraint or penalty on the critic.
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:  # noqa: D102
        return fake - real

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return -fake


class Margin(AdversarialLoss):
    """D minimises relu(b + margin - a) for pairs of a real and a generated sample, G minimises -b.

    `Wasserstein` for pairs that are not yet the margin apart. Juefei-Xu et al. 2017, section 3.

    Args:
        margin: In units of the critic, 0 or more.
    """

    def __init__(self, margin: float = 1.0) -> None:
        if margin < 0:
            raise ValueError(f"margin: got {margin}, allowed is 0 or more")
        self.margin = margin

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:  # noqa: D102
        return F.relu(fake + self.margin - real)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return -fake


class Relativistic(AdversarialLoss):
    """Paired: D minimises sp(-(a - b)), G minimises sp(-(b - a)).

    RSGAN of Jolicoeur-Martineau 2019, eqs. 3-4; R3GAN's RpGAN, Huang et al. 2024, eq. 2.
    """

    generator_needs_real = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:  # noqa: D102
        return F.softplus(fake - real)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return F.softplus(_needed(real) - fake)


def _standard(t: Tensor) -> Tensor:
    return F.softplus(-t)


def _least_squares(t: Tensor) -> Tensor:
    return (t - 1) ** 2


def _hinge(t: Tensor) -> Tensor:
    return F.relu(1 - t)


class RelativisticAverage(AdversarialLoss):
    """Each logit against the mean of the other side: 1/2 [l(a - mean b) + l(-(b - mean a))], roles swapped for G.

    Jolicoeur-Martineau 2019, eqs. 5-10. The means are those of the local batch (under DDP: of the rank's own part) and
    are not detached.

    Args:
        form: l(t) is sp(-t) for `standard`, (t - 1)^2 for `least_squares`, relu(1 - t) for `hinge`.
    """

    generator_needs_real = True

    forms: ClassVar[dict[str, Callable[[Tensor], Tensor]]] = {
        "standard": _standard,
        "least_squares": _least_squares,
        "hinge": _hinge,
    }

    def __init__(self, form: str = "standard") -> None:
        if form not in self.forms:
            raise ValueError(f"form: got {form!r}, allowed are {sorted(self.forms)}")
        self.form = form

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:  # noqa: D102
        loss = self.forms[self.form]
        return 0.5 * (loss(real - fake.mean()) + loss(real.mean() - fake))

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return self.discriminator(fake, _needed(real))
