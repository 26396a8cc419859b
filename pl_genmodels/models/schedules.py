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
