"""Optimisers with the papers' settings as defaults, so that a config shows them and a checkpoint can name them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, RMSprop
from torch.optim.optimizer import ParamsT


class OnePassAdam(Adam):
    """Adam in one pass over the memory: a third of the time of torch's default on a CPU.

    Kingma, Ba 2015. Torch's flag would do the same, but then a gradient scaler hands over gradients that still hold its
    scale, and whoever clips them or looks at them sees these.

    Args:
        params: Parameters of one player, or of the model.
        lr: Learning rate.
        betas: Decay of the first and second moment.
        eps: Added to the root of the second moment.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        for group in self.param_groups:
            group["fused"] = all(parameter.device.type in ("cpu", "cuda") for parameter in group["params"])


class GANAdam(OnePassAdam):
    """Adam as DCGAN set it: less momentum than usual.

    Radford et al. 2016, section 4.

    Args:
        params: Parameters of one player.
        lr: Learning rate.
        betas: Decay of the first and second moment.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay)


class HistoricalAdam(GANAdam):
    r"""Adam that holds parameters near the mean of their past values.

    The player's loss gets $w \|\theta - \frac1t \sum_{i \le t} \theta_i\|^2$, whose gradient is added here, after
    clipping. Salimans et al. 2016, section 3.3. The means are part of the optimiser's state.

    Args:
        params: Parameters of one player.
        lr: Learning rate.
        betas: Decay of the first and second moment.
        historical_weight: w.

    Raises:
        ValueError: For a negative weight.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        historical_weight: float = 1e-3,
    ) -> None:
        if historical_weight < 0:
            raise ValueError(f"historical_weight: got {historical_weight}, allowed is 0 or more")
        super().__init__(params, lr, betas)
        self.historical_weight = historical_weight
        for group in self.param_groups:  # on a GPU the number of steps would lie there, and each step wait for it
            group["fused"] = group["fused"] and not any(parameter.is_cuda for parameter in group["params"])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Add the gradient of the distance from the mean, step, and take the values into the mean."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moved: list[Tensor] = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        known = [p for p in moved if "historical_mean" in self.state[p]]
        first = {p: p.clone() for p in moved if not self.state[p]}  # Adam takes a state for its own if there is one
        if known:
            means = [self.state[p]["historical_mean"] for p in known]
            steps = int(self.state[known[0]]["step"]) + 1  # lies on the CPU
            torch._foreach_lerp_(means, known, 1 / steps)
            gradients = [p.grad for p in known if p.grad is not None]
            torch._foreach_add_(gradients, known, alpha=2 * self.historical_weight)
            torch._foreach_sub_(gradients, means, alpha=2 * self.historical_weight)
        super().step()
        for p, value in first.items():
            self.state[p]["historical_mean"] = value
        return loss


class CriticAdam(OnePassAdam):
    """Adam without momentum, as WGAN-GP set it.

    Gulrajani et al. 2017, algorithm 1.

    Args:
        params: Parameters of one player.
        lr: Learning rate.
        betas: Decay of the first and second moment.
    """

    def __init__(self, params: ParamsT, lr: float = 1e-4, betas: tuple[float, float] = (0.0, 0.9)) -> None:
        super().__init__(params, lr=lr, betas=betas)


class IcGANAdam(OnePassAdam):
    """Adam as the authors of IcGAN train encoders: hardly any momentum.

    Args:
        params: Parameters of the encoders.
        lr: Learning rate.
        betas: Decay of the first and second moment.
    """

    def __init__(self, params: ParamsT, lr: float = 1e-4, betas: tuple[float, float] = (0.1, 0.999)) -> None:
        super().__init__(params, lr=lr, betas=betas)


class PixelCNNPPAdam(OnePassAdam):
    """Adam with much momentum, as PixelCNN++ set it.

    Salimans et al. 2017, the authors' code; the rate falls by a factor of 0.999995 with every step there.

    Args:
        params: All parameters.
        lr: Learning rate.
        betas: Decay of the first and second moment.
    """

    def __init__(self, params: ParamsT, lr: float = 1e-3, betas: tuple[float, float] = (0.95, 0.9995)) -> None:
        super().__init__(params, lr=lr, betas=betas)


class R3GANAdam(OnePassAdam):
    """Adam without momentum and with a long memory of the second moment, as R3GAN set it.

    Huang et al. 2024, appendix D.

    Args:
        params: Parameters of one player.
        lr: Learning rate.
        betas: Decay of the first and second moment.
    """

    def __init__(self, params: ParamsT, lr: float = 2e-4, betas: tuple[float, float] = (0.0, 0.99)) -> None:
        super().__init__(params, lr=lr, betas=betas)


class WGANRMSprop(RMSprop):
    """RMSProp without momentum at WGAN's learning rate.

    Arjovsky et al. 2017, algorithm 1.

    Args:
        params: Parameters of one player.
        lr: Learning rate.
        alpha: Decay of the mean square.
    """

    def __init__(self, params: ParamsT, lr: float = 5e-5, alpha: float = 0.99) -> None:
        super().__init__(params, lr=lr, alpha=alpha)


class DiscoGANAdam(GANAdam):
    """DCGAN's Adam with a little weight decay, as in DiscoGAN's code (Kim et al. 2017).

    Args:
        params: Parameters of one player.
        lr: Learning rate.
        betas: Decay of the first and second moment.
        weight_decay: L2 penalty.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        weight_decay: float = 1e-5,
    ) -> None:
        super().__init__(params, lr, betas, weight_decay)


class DualGANRMSprop(WGANRMSprop):
    """WGAN's RMSProp with a shorter memory, as DualGAN set it (Yi et al. 2017).

    Args:
        params: Parameters of one player.
        lr: Learning rate.
        alpha: Decay of the mean square.
    """

    def __init__(self, params: ParamsT, lr: float = 5e-5, alpha: float = 0.9) -> None:
        super().__init__(params, lr, alpha)


class GeneGANRMSprop(WGANRMSprop):
    """WGAN's RMSProp with a still shorter memory, as in GeneGAN's code (Zhou et al. 2017).

    Args:
        params: Parameters of one player.
        lr: Learning rate.
        alpha: Decay of the mean square.
    """

    def __init__(self, params: ParamsT, lr: float = 5e-5, alpha: float = 0.8) -> None:
        super().__init__(params, lr, alpha)
