"""Discriminators that estimate the ratio p/q of the densities of real and generated samples, or its inverse."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.losses.adversarial import LabelledLoss
from pl_genmodels.losses.f_divergences import softly_limited

FAR = -50.0  # below it softplus(v) is exp(v) to the last digit


def log_softplus(logits: Tensor) -> Tensor:
    """Log softplus(v), for very negative v without underflow: there it is v."""
    return torch.where(logits > FAR, F.softplus(logits.clamp(min=FAR)).log(), logits)


def _weight(name: str, value: float) -> float:
    if not 0 < value <= 1:
        raise ValueError(f"{name}: got {value}, allowed is more than 0 and at most 1")
    return value


class ForwardRatio(LabelledLoss):
    r"""With D = softplus(logit), D minimises $-\alpha \log D(x) + D(y)$, G minimises $-D(y)$.

    At best $D = \alpha p/q$, and the game's value is $\alpha KL(p\|q) + \alpha (\log\alpha - 1)$: a generator that
    covers every mode. The first discriminator of Nguyen et al. 2017, eq. 1.

    Args:
        alpha: In (0, 1].
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = _weight("alpha", alpha)

    def as_real(self, logits: Tensor) -> Tensor:  # noqa: D102
        return -self.alpha * log_softplus(logits)

    def as_fake(self, logits: Tensor) -> Tensor:  # noqa: D102
        return F.softplus(logits)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return -F.softplus(fake)


class ReverseRatio(LabelledLoss):
    r"""With D = softplus(logit), D minimises $D(x) - \beta \log D(y)$, G minimises $\beta \log D(y)$.

    At best $D = \beta q/p$, and the game's value is $\beta KL(q\|p) + \beta (\log\beta - 1)$: a generator that stays
    with the modes that it knows. The second discriminator of Nguyen et al. 2017, eq. 1.

    Args:
        beta: In (0, 1].
    """

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = _weight("beta", beta)

    def as_real(self, logits: Tensor) -> Tensor:  # noqa: D102
        return F.softplus(logits)

    def as_fake(self, logits: Tensor) -> Tensor:  # noqa: D102
        return -self.beta * log_softplus(logits)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return self.beta * log_softplus(fake)


# of the logarithm v of a ratio r: f'(r), f'(r) r - f(r), and f(r), each up to a constant
BREGMAN: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "pearson": (lambda v: v.exp(), lambda v: (2 * v).exp() / 2, lambda v: v.expm1() ** 2 / 2),
    "kl": (lambda v: v, lambda v: v.exp(), lambda v: (v - 1) * v.exp()),
    "reverse_kl": (lambda v: -(-v).exp(), lambda v: v, lambda v: v.exp() - v),
    "logistic": (F.logsigmoid, F.softplus, lambda v: v.exp() * F.logsigmoid(v) - F.softplus(v)),
}


class BregmanRatio(LabelledLoss):
    r"""D fits r = exp(logit) to p/q under a Bregman divergence, G minimises an f-divergence through it.

    D minimises $E_q[f'(r(y)) r(y) - f(r(y))] - E_p[f'(r(x))]$. G minimises $E_q[f(r(y)) - f'(r(y)) r(y)]$, the exact
    gradient of $D_f(p\|q)$ where r = p/q; or, as the paper writes it, $E_q f(r(y))$ with r held fixed. Uehara et al.
    2016, eqs. 3 and 6 and algorithm 1.

    The ratio of p to a mixture $a p + (1-a) q$ is bounded by 1/a and easier to fit (their section 3.3).

    Args:
        f: `pearson` is (r-1)^2/2, `kl` is r log r - r, `reverse_kl` is r - log r, `logistic` is
            r log r - (1+r) log(1+r), with which D is that of the ordinary GAN.
        exact: G follows the divergence's own gradient; off, it minimises E f(r(y)).
        mixture: The share a of real samples in the denominator, in [0, 1).
        limit: Logarithms of ratios pass limit tanh(v / limit), lest their exponentials overflow; 0 for none.

    Raises:
        ValueError: For an unknown f, or a share or limit out of range.
    """

    def __init__(self, f: str = "kl", exact: bool = True, mixture: float = 0.0, limit: float = 10.0) -> None:
        if f not in BREGMAN:
            raise ValueError(f"f: got {f!r}, allowed are {list(BREGMAN)}")
        if not 0 <= mixture < 1:
            raise ValueError(f"mixture: got {mixture}, allowed is 0 or more and less than 1")
        if limit < 0:
            raise ValueError(f"limit: got {limit}, allowed is 0 or more")
        self.f, self.exact, self.mixture, self.limit = f, exact, mixture, limit

    def ratio(self, logits: Tensor) -> Tensor:
        """The estimate r of p/q or, with a mixture, of p/(a p + (1-a) q)."""
        return softly_limited(logits, self.limit).exp()

    def as_real(self, logits: Tensor) -> Tensor:  # noqa: D102
        slope, tangent, _ = BREGMAN[self.f]
        limited = softly_limited(logits, self.limit)
        return self.mixture * tangent(limited) - slope(limited)

    def as_fake(self, logits: Tensor) -> Tensor:  # noqa: D102
        return (1 - self.mixture) * BREGMAN[self.f][1](softly_limited(logits, self.limit))

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        _, tangent, value = BREGMAN[self.f]
        fake = softly_limited(fake, self.limit)
        return (1 - self.mixture) * (-tangent(fake) if self.exact else value(fake))


def importance_weights(logits: Tensor) -> Tensor:
    r"""$\tilde w_m = w_m / \sum_k w_k$ with $w = D / (1 - D) = e^{logit}$, over the samples of each latent.

    Hjelm et al. 2018, eq. 8. No gradient.

    Args:
        logits: Of M samples of each latent, (B, M).

    Returns:
        (B, M), each row summing to 1.
    """
    return logits.detach().softmax(1)
