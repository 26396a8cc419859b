"""Every f-divergence as a game, through its variational lower bound (Nowozin et al. 2016)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.losses.adversarial import LabelledLoss

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Divergence:
    """A row of the paper's tables 1 and 2, D_f(p||q) = E_q f(p/q).

    Attributes:
        f: The convex function of the ratio u = p/q.
        activation: T = g_f(v), which keeps any logit v in the domain of the conjugate.
        conjugate: f*(g_f(v)), as a function of the logit.
        threshold: f'(1); a larger T means rather real than generated.
        exponential: Whether one of the two functions of the logit grows exponentially.
    """

    f: Function
    activation: Function
    conjugate: Function
    threshold: float
    exponential: bool = False


def _jensen_shannon(u: Tensor) -> Tensor:
    return torch.xlogy(u, u) - (u + 1) * ((1 + u) / 2).log()


def _gan(u: Tensor) -> Tensor:
    return torch.xlogy(u, u) - (u + 1) * (1 + u).log()


F_DIVERGENCES: dict[str, Divergence] = {
    "kl": Divergence(lambda u: torch.xlogy(u, u), lambda v: v, lambda v: (v - 1).exp(), 1.0, True),
    "reverse_kl": Divergence(lambda u: -u.log(), lambda v: -(-v).exp(), lambda v: v - 1, -1.0, True),
    "pearson": Divergence(lambda u: (u - 1) ** 2, lambda v: v, lambda v: v**2 / 4 + v, 0.0),
    "neyman": Divergence(
        lambda u: (1 - u) ** 2 / u, lambda v: -(-v).expm1(), lambda v: -2 * (-v / 2).expm1(), 0.0, True
    ),
    "squared_hellinger": Divergence(
        lambda u: (u.sqrt() - 1) ** 2, lambda v: -(-v).expm1(), lambda v: v.expm1(), 0.0, True
    ),
    "jensen_shannon": Divergence(
        _jensen_shannon, lambda v: math.log(2) - F.softplus(-v), lambda v: F.softplus(v) - math.log(2), 0.0
    ),
    "gan": Divergence(_gan, lambda v: -F.softplus(-v), F.softplus, -math.log(2)),
    "total_variation": Divergence(lambda u: (u - 1).abs() / 2, lambda v: v.tanh() / 2, lambda v: v.tanh() / 2, 0.0),
}


def softly_limited(logits: Tensor, limit: float) -> Tensor:
    """Limit tanh(v / limit): small logits as they are, large ones within the limit; 0 for none."""
    return limit * (logits / limit).tanh() if limit else logits


class FDivergence(LabelledLoss):
    r"""The bound $D_f(p\|q) \ge E_p[T(x)] - E_q[f^*(T(y))]$ with $T = g_f(v)$: D maximises it over its logits v.

    G minimises $-E_q f^*(T(y))$, or, not saturating, $-E_q T(y)$. At D's best, $T = f'(p/q)$, the bound is the
    divergence. Nowozin et al. 2016, eqs. 4-6, tables 1 and 2, section 3.2.

    `jensen_shannon` is twice the usual divergence, as in the paper; `gan` is that minus log 4; `pearson` is
    $\int (p-q)^2/q$ and `neyman` $\int (p-q)^2/p$, whose integrals the paper's table has exchanged.

    Args:
        divergence: One of `kl`, `reverse_kl`, `pearson`, `neyman`, `squared_hellinger`, `jensen_shannon`, `gan` and
            `total_variation`.
        non_saturating: G maximises T(y) in place of f*(T(y)).
        limit: Logits of divergences with exponentials (`kl`, `reverse_kl`, `neyman`, `squared_hellinger`) pass
            limit tanh(v / limit), lest they overflow; 0 for none.

    Raises:
        ValueError: For an unknown divergence or a negative limit.
    """

    def __init__(self, divergence: str = "jensen_shannon", non_saturating: bool = False, limit: float = 10.0) -> None:
        if divergence not in F_DIVERGENCES:
            raise ValueError(f"divergence: got {divergence!r}, allowed are {list(F_DIVERGENCES)}")
        if limit < 0:
            raise ValueError(f"limit: got {limit}, allowed is 0 or more")
        self.divergence, self.non_saturating, self.limit = divergence, non_saturating, limit

    def variational(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """T and f*(T) of logits, each of their shape."""
        row = F_DIVERGENCES[self.divergence]
        limited = softly_limited(logits, self.limit if row.exponential else 0.0)
        return row.activation(limited), row.conjugate(limited)

    def as_real(self, logits: Tensor) -> Tensor:  # noqa: D102
        return -self.variational(logits)[0]

    def as_fake(self, logits: Tensor) -> Tensor:  # noqa: D102
        return self.variational(logits)[1]

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        activation, conjugate = self.variational(fake)
        return -activation if self.non_saturating else -conjugate
