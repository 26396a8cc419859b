"""Learning-rate schedules that torch does not have."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class ConstantThenLinear(LRScheduler):
    """The rate stays as it is and then falls on a line that would reach 0 one step after the last.

    Step e, counted from 0, has lr (1 - max(0, e + 1 - constant_epochs) / (decay_epochs + 1)), as in the CycleGAN and
    pix2pix authors' PyTorch code; a longer run goes on with 0.

    Args:
        optimizer: Of one player.
        constant_epochs: Epochs (with `scheduler_interval: step`, updates) before the rate begins to fall.
        decay_epochs: Epochs in which it falls.

    Raises:
        ValueError: For negative numbers of epochs.
    """

    def __init__(self, optimizer: Optimizer, constant_epochs: int = 100, decay_epochs: int = 100) -> None:
        for name, value in (("constant_epochs", constant_epochs), ("decay_epochs", decay_epochs)):
            if value < 0:
                raise ValueError(f"{name}: got {value}, allowed is 0 or more")
        self.constant_epochs, self.decay_epochs = constant_epochs, decay_epochs
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Rates of the parameter groups."""
        fallen = max(0, self.last_epoch + 1 - self.constant_epochs) / (self.decay_epochs + 1)
        return [rate * max(0.0, 1 - fallen) for rate in self.base_lrs]


class ConstantThenExponential(LRScheduler):
    """The rate stays as it is and then falls by the same factor with every step, as in BiGAN's code.

    Step e, counted from 0, has lr final_factor ^ (max(0, e - constant_epochs) / decay_epochs), also in a longer run.

    Args:
        optimizer: Of one player.
        constant_epochs: Epochs (with `scheduler_interval: step`, updates) before the rate begins to fall.
        decay_epochs: Epochs in which it falls to the final factor.
        final_factor: Of the first rate, in (0, 1].

    Raises:
        ValueError: For numbers of epochs or factors out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        constant_epochs: int = 200,
        decay_epochs: int = 200,
        final_factor: float = 0.01,
    ) -> None:
        if constant_epochs < 0 or decay_epochs < 1:
            raise ValueError(
                f"constant_epochs, decay_epochs: got {constant_epochs}, {decay_epochs}, allowed are 0 or more and "
                "1 or more"
            )
        if not 0 < final_factor <= 1:
            raise ValueError(f"final_factor: got {final_factor}, allowed is more than 0 and at most 1")
        self.constant_epochs, self.decay_epochs, self.final_factor = constant_epochs, decay_epochs, final_factor
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Rates of the parameter groups."""
        fallen = max(0, self.last_epoch - self.constant_epochs) / self.decay_epochs
        return [rate * self.final_factor**fallen for rate in self.base_lrs]


def steps_with_warmup(update: int, usual: int, warmup_updates: int, warmup_steps: int) -> int:
    """Critic steps before a generator update, as in WGAN's code: many for the first updates and every 500th.

    Args:
        update: Of the generator, counted from 0.
        usual: Steps of all others.
        warmup_updates: How many of the first updates get more; 0 turns the schedule off.
        warmup_steps: Steps of those.

    Raises:
        ValueError: For counts out of range.
    """
    if warmup_updates < 0 or warmup_steps < 1:
        raise ValueError(
            f"warmup_updates, warmup_steps: got {warmup_updates}, {warmup_steps}, allowed are 0 or more and 1 or more"
        )
    return warmup_steps if warmup_updates and (update < warmup_updates or update % 500 == 0) else usual
