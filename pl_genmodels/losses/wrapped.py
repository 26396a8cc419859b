"""Losses around other losses: tricks that any objective can take, as far as it has what they change."""

from __future__ import annotations

import torch
from torch import Tensor

from pl_genmodels.layers.image_pool import RankLocal
from pl_genmodels.layers.ranks import mean_over_ranks
from pl_genmodels.losses.adversarial import AdversarialLoss, LabelledLoss, NonSaturating


class LabelNoise(AdversarialLoss):
    r"""The discriminator's labels are drawn anew for each sample, and now and then exchanged; the generator's are not.

    With label t a sample costs t l_real + (1 - t) l_fake, which for the cross-entropy is the one with a soft target and
    for least squares, up to a constant, the squared distance from t. Chintala et al. 2016 (ganhacks), item 6. Only the
    mean label shapes the optimum: with means $m_r$ and $m_f$ it is $D^* = (r_r p + r_f q) / (p + q)$,
    $r_r = (1 - \rho) m_r + \rho m_f$. One-sided smoothing (Salimans et al. 2016, section 3.4) is real [0.9, 0.9], fake
    [0, 0] and no flips.

    Args:
        loss: Whose labels are changed.
        real: Least and largest label of real samples.
        fake: Least and largest label of generated samples.
        flip_probability: Share of samples, rho, whose label comes from the other side.

    Raises:
        ValueError: For a loss without labels, bounds in the wrong order, or a probability outside [0, 1].
    """

    def __init__(
        self,
        loss: LabelledLoss = NonSaturating(),
        real: tuple[float, float] = (0.7, 1.2),
        fake: tuple[float, float] = (0.0, 0.3),
        flip_probability: float = 0.05,
    ) -> None:
        if not isinstance(loss, LabelledLoss):
            raise ValueError(
                f"loss: got {type(loss).__name__}, which has no labels to change; allowed are losses with one term for "
                "real and one for generated samples, such as NonSaturating, Minimax, LeastSquares and Hinge"
            )
        for name, (least, largest) in (("real", real), ("fake", fake)):
            if least > largest:
                raise ValueError(f"{name}: got [{least}, {largest}], allowed is the least label first")
        if not 0 <= flip_probability <= 1:
            raise ValueError(f"flip_probability: got {flip_probability}, allowed is 0 to 1")
        self.loss, self.real, self.fake, self.flip_probability = loss, real, fake, flip_probability

    def _draw(self, logits: Tensor, usual: tuple[float, float], other: tuple[float, float]) -> Tensor:
        """One label a sample, (B,)."""
        flip, place = (torch.rand(logits.shape, device=logits.device, dtype=logits.dtype) for _ in range(2))
        drawn = [least + (largest - least) * place for least, largest in (usual, other)]
        return torch.where(flip < self.flip_probability, drawn[1], drawn[0])

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:  # noqa: D102
        total = torch.zeros_like(real)
        for logits, usual, other in ((real, self.real, self.fake), (fake, self.fake, self.real)):
            label = self._draw(logits, usual, other)
            total = total + label * self.loss.as_real(logits) + (1 - label) * self.loss.as_fake(logits)
        return total

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return self.loss.generator(fake, real)


class LeCam(AdversarialLoss, RankLocal):
    r"""Pulls the logits of each side to the moving average of the other's: $w (a - \bar b)^2 + w (b - \bar a)^2$.

    Tseng et al. 2021, eq. 5, for training on little data. The averages are taken over the batches of all ranks.

    Args:
        loss: What it is added to.
        weight: The paper's lambda.
        decay: Of the moving averages, per discriminator step.

    Raises:
        ValueError: For a negative weight or a decay outside [0, 1).
    """

    averages: Tensor
    steps: Tensor

    def __init__(self, loss: AdversarialLoss = NonSaturating(), weight: float = 0.3, decay: float = 0.99) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"weight: got {weight}, allowed is 0 or more")
        if not 0 <= decay < 1:
            raise ValueError(f"decay: got {decay}, allowed is 0 up to but not including 1")
        self.loss, self.weight, self.decay = loss, weight, decay
        self.generator_needs_real = loss.generator_needs_real  # type: ignore[misc]
        self.register_buffer("averages", torch.zeros(2))  # of real and generated samples' logits
        self.register_buffer("steps", torch.zeros(()))

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:  # noqa: D102
        with torch.no_grad():
            means = mean_over_ranks(torch.stack([real.mean(), fake.mean()])).to(self.averages.dtype)
            kept = self.decay * (self.steps > 0).to(self.averages.dtype)  # the first batch is the first average
            self.averages.copy_(kept * self.averages + (1 - kept) * means)
            self.steps.add_(1)
        of_real, of_fake = self.averages.clone().to(real.dtype)
        pull = (real - of_fake).square() + (fake - of_real).square()
        return self.loss.discriminator(real, fake) + self.weight * pull

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:  # noqa: D102
        return self.loss.generator(fake, real)
