"""Optimisers with the papers' settings as defaults, so that a config shows them and a checkpoint can name them."""

from __future__ import annotations

from torch.optim import Adam, RMSprop
from torch.optim.optimizer import ParamsT


class GANAdam(Adam):
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


class CriticAdam(Adam):
    """Adam without momentum, as WGAN-GP set it.

    Gulrajani et al. 2017, algorithm 1.

    Args:
        params: Parameters of one player.
        lr: Learning rate.
        betas: Decay of the first and second moment.
    """

    def __init__(self, params: ParamsT, lr: float = 1e-4, betas: tuple[float, float] = (0.0, 0.9)) -> None:
        super().__init__(params, lr=lr, betas=betas)


class R3GANAdam(Adam):
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
