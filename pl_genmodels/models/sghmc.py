"""Stochastic gradient Hamiltonian Monte Carlo, as an optimiser whose parameters are samples of a posterior."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

GOLDEN, MIX = -7046029254386353131, (-4658895280553007687, -7723592293110705685)  # of splitmix64, as signed numbers


def _hashed(counters: Tensor) -> Tensor:
    """Splitmix64's output for each counter, int64."""
    value = counters * GOLDEN
    value = (value ^ ((value >> 30) & (2**34 - 1))) * MIX[0]
    value = (value ^ ((value >> 27) & (2**37 - 1))) * MIX[1]
    return value ^ ((value >> 31) & (2**33 - 1))


def counted_normal(counters: Tensor, seed: int) -> Tensor:
    """Standard normal numbers that depend on a counter and a seed alone: the same on every rank and kind of device.

    Args:
        counters: int64, (...).
        seed: From 0 to 2^62.

    Returns:
        Double precision, (...).
    """
    key = _hashed(torch.tensor([seed, seed + 1])).tolist()  # as numbers, for which no device has to be waited
    one, two = (((_hashed(counters + half) >> 11) & (2**53 - 1)).double() / 2**53 for half in key)
    return (-2 * torch.log1p(-one)).sqrt() * (2 * math.pi * two).cos()


class SGHMC(Optimizer):
    r"""Hamiltonian Monte Carlo with friction, on gradients of minibatches (Chen et al. 2014, equation 15).

    $v \leftarrow (1 - \alpha) v - \eta \nabla U + N(0, 2 \alpha \eta)$, $\theta \leftarrow \theta + v$, with U the
    negative log posterior of all data: `num_data` times the loss, which is a mean, plus $\theta^2 / 2 \sigma^2$ of the
    prior. Where a gradient of U is exact the parameters are in the end distributed as exp(-U), for small steps.

    The noise is a function of seed, step and place, so that ranks agree on it and a resumed run goes on with it.

    Args:
        params: Parameters of one player.
        lr: eta; the rate of ordinary descent is about eta num_data / alpha.
        friction: alpha, in (0, 1].
        num_data: Samples in the training data.
        prior_std: sigma of the normal prior of every weight.
        seed: Of the noise; a number of its own for each player.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-7,
        friction: float = 0.1,
        num_data: int = 50_000,
        prior_std: float = 1.0,
        seed: int = 0,
    ) -> None:
        for name, value in (("lr", lr), ("num_data", num_data), ("prior_std", prior_std)):
            if value <= 0:
                raise ValueError(f"{name}: got {value}, allowed is more than 0")
        if not 0 < friction <= 1:
            raise ValueError(f"friction: got {friction}, allowed is more than 0, at most 1")
        super().__init__(
            params,
            {"lr": lr, "friction": friction, "num_data": num_data, "prior_std": prior_std, "seed": seed},
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the dynamics."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for place, parameter in enumerate(group["params"]):
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group, place)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], place: int) -> None:
        state = self.state[parameter]
        if not state:
            state["step"], state["velocity"] = torch.tensor(0.0), torch.zeros_like(parameter)
        friction, rate = group["friction"], group["lr"]
        state["velocity"].mul_(1 - friction).add_(gradient, alpha=-rate * group["num_data"])
        state["velocity"].add_(parameter, alpha=-rate / group["prior_std"] ** 2)
        noise = self._noise(parameter, group["seed"], int(state["step"]), place)
        velocity = state["velocity"].to_local() if isinstance(parameter, DTensor) else state["velocity"]
        velocity.add_(noise.to(velocity.dtype), alpha=math.sqrt(2 * friction * rate))
        parameter.add_(state["velocity"])
        state["step"] += 1

    @staticmethod
    def _noise(parameter: Tensor, seed: int, step: int, place: int) -> Tensor:
        counters = torch.arange(parameter.numel(), device=parameter.device).view(parameter.shape)
        if isinstance(parameter, DTensor):
            mesh, placements = parameter.device_mesh, parameter.placements
            counters = distribute_tensor(counters, mesh, placements, src_data_rank=None).to_local()
        return counted_normal(counters, ((seed * 2**31 + step) * 2**12 + place) % 2**62)
