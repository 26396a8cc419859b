"""How two players are kept at the same strength: by the weight of a term, or by who has to wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Balance(nn.Module):
    r"""Keeps two errors in proportion: $k \leftarrow \mathrm{clip}(k + \lambda_k (\gamma a - b), 0, 1)$, from k = 0.

    Berthelot et al. 2017, section 3.4. The state stays in at least single precision, in which its small steps count.

    Args:
        gamma: What b / a should be.
        rate: The paper's lambda_k.

    Raises:
        ValueError: For a gamma outside (0, 1] or a rate that is not positive.
    """

    k: Tensor
    measure: Tensor

    def __init__(self, gamma: float = 0.5, rate: float = 0.001) -> None:
        super().__init__()
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma: got {gamma}, allowed is more than 0 and at most 1")
        if rate <= 0:
            raise ValueError(f"balance_rate: got {rate}, allowed is more than 0")
        self.gamma, self.rate = gamma, rate
        self.register_buffer("k", torch.zeros(()))
        self.register_buffer("measure", torch.zeros(()))

    @torch.no_grad()
    def update(self, a: Tensor, b: Tensor) -> None:
        r"""Take a step, and keep the convergence measure $a + |\gamma a - b|$.

        Args:
            a: Mean error on real samples, ().
            b: Mean error on generated ones, ().
        """
        off = self.gamma * a - b
        self.k.add_(self.rate * off).clamp_(0, 1)
        self.measure.copy_(a + off.abs())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        def gently(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype.itemsize >= 4 else tensor.to(moved.device, torch.float32)

        return super()._apply(gently, recurse)


def who_trains(real_cost: Tensor, fake_cost: Tensor, margin: float, equilibrium: float = 0.68) -> tuple[bool, bool]:
    """Whether the discriminator and whether the generator are to learn from a batch; never neither.

    The discriminator waits where one of its costs is below `equilibrium - margin`, the generator where one is above
    `equilibrium + margin`. Larsen et al. 2016, the authors' code. Python waits here for the device.

    Args:
        real_cost: Mean cross-entropy of real samples, ().
        fake_cost: Mean cross-entropy of generated ones, ().
        margin: How far costs may be from the equilibrium.
        equilibrium: Cost of a discriminator that tells nothing, log 2 or nearly so.
    """
    costs = torch.stack([real_cost, fake_cost]).tolist()
    discriminator = not min(costs) < equilibrium - margin  # a cost that is not a number lets both learn
    generator = not max(costs) > equilibrium + margin
    return (discriminator, generator) if discriminator or generator else (True, True)
