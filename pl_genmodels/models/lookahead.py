"""Optimiser steps as functions, so that one can differentiate through them; parameters and their optimiser stay."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from pl_genmodels.losses.precision import at_least_single

TINY = 1e-30  # under roots, whose derivative at 0 would make a parameter without gradient not a number
Moments = dict[str, Any]


def _sgd(value: Tensor, gradient: Tensor, state: Moments, options: dict[str, Any]) -> Tensor:
    if options["momentum"]:
        before = state.get("momentum_buffer")
        kept = gradient if before is None else options["momentum"] * before + (1 - options["dampening"]) * gradient
        state["momentum_buffer"] = kept
        gradient = gradient + options["momentum"] * kept if options["nesterov"] else kept
    return value - options["lr"] * gradient


def _adam(value: Tensor, gradient: Tensor, state: Moments, options: dict[str, Any]) -> Tensor:
    zero, (beta1, beta2) = torch.zeros_like(value), options["betas"]
    taken = state.get("step", 0.0)  # where an optimiser is fused, on a device that Python need not wait for
    state["step"] = step = (taken.double() if isinstance(taken, Tensor) else taken) + 1
    state["exp_avg"] = beta1 * state.get("exp_avg", zero) + (1 - beta1) * gradient
    state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", zero) + (1 - beta2) * gradient.square()
    root = (state["exp_avg_sq"] / (1 - beta2**step) + TINY).sqrt()
    return value - options["lr"] * state["exp_avg"] / (1 - beta1**step) / (root + options["eps"])


def _rmsprop(value: Tensor, gradient: Tensor, state: Moments, options: dict[str, Any]) -> Tensor:
    before = state.get("square_avg", torch.zeros_like(value))
    state["square_avg"] = options["alpha"] * before + (1 - options["alpha"]) * gradient.square()
    return value - options["lr"] * gradient / ((state["square_avg"] + TINY).sqrt() + options["eps"])


STEPS: dict[type[Optimizer], Callable[[Tensor, Tensor, Moments, dict[str, Any]], Tensor]] = {
    SGD: _sgd,
    Adam: _adam,
    RMSprop: _rmsprop,
}
REFUSED = {"amsgrad", "maximize", "centered", "decoupled_weight_decay"}  # and momentum in RMSProp


class Lookahead:
    """What an optimiser would make of a network's parameters, as differentiable tensors.

    Args:
        network: Whose parameters they are.
        optimizer: Of these; its moments are the start.

    Raises:
        ValueError: For an optimiser whose step is not known as a formula.
    """

    def __init__(self, network: nn.Module, optimizer: Optimizer) -> None:
        self.formula = next((step for kind, step in STEPS.items() if isinstance(optimizer, kind)), None)
        # torch wraps a class's step once it is used
        own_step = inspect.unwrap(type(optimizer).step) not in {inspect.unwrap(kind.step) for kind in STEPS}
        refused = {name for name in REFUSED if any(group.get(name) for group in optimizer.param_groups)}
        if isinstance(optimizer, RMSprop) and any(group["momentum"] for group in optimizer.param_groups):
            refused.add("momentum")
        if self.formula is None or own_step or refused:
            options = f" with {', '.join(sorted(refused))}" if refused else ""
            raise ValueError(
                f"optimizer_discriminator: got {type(optimizer).__name__}{options}, whose step cannot be "
                "differentiated; allowed are SGD, Adam and RMSprop in their plain forms"
            )
        groups = {p: group for group in optimizer.param_groups for p in group["params"]}
        self.values: dict[str, Tensor] = {}
        self.options: dict[str, dict[str, Any]] = {}
        self.states: dict[str, Moments] = {}
        for name, parameter in network.named_parameters():
            self.values[name] = at_least_single(parameter.detach()).requires_grad_()
            self.options[name] = groups[parameter]
            state = optimizer.state.get(parameter, {})
            self.states[name] = {
                key: at_least_single(value.detach()) if isinstance(value, Tensor) else value
                for key, value in state.items()
            }

    def step(self, gradients: dict[str, Tensor]) -> None:
        """Replace the values by those after one step."""
        assert self.formula is not None
        for name, gradient in gradients.items():
            options = self.options[name]
            if options["weight_decay"]:
                gradient = gradient + options["weight_decay"] * self.values[name]
            self.values[name] = self.formula(self.values[name], gradient, self.states[name], options)
