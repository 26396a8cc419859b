"""Distributions of an image given what a decoder says of it: log-probabilities in nats, one per image.

Images come in [-1, 1], the range of the whole package; each likelihood converts them itself and says in what units its
density is. A log-probability is a sum over all values of the image, never a mean.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.specs import Recorded


class Likelihood(Recorded, nn.Module, ABC):
    """p(x | parameters), independent over the values of an image.

    Attributes:
        num_parameters: Numbers that the decoder gives for each value; (B, num_parameters * C, H, W) in all.
    """

    num_parameters: int = 1

    @abstractmethod
    def log_prob(self, parameters: Tensor, image: Tensor) -> Tensor:
        """Log-probability of images.

        Args:
            parameters: From the decoder, (B, num_parameters * C, ...).
            image: In [-1, 1], (B, C, ...).

        Returns:
            Nats, (B,).
        """

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """Expected images in the data's range, (B, C, ...)."""


class Bernoulli(Likelihood):
    """Each value is black or white; the parameter is the logit of white.

    Cross-entropy with grey values is no log-probability, and comparable with nothing; hence grey values are first
    rounded to black or white unless that is turned off. Kingma, Welling 2014, appendix C.1.

    Args:
        binarize: Values above 0 (mid-grey) count as white, others as black. Off, a grey value stands for its share of
            white, as in many tutorials.
    """

    def __init__(self, binarize: bool = True) -> None:
        super().__init__()
        self.binarize = binarize

    def log_prob(self, parameters: Tensor, image: Tensor) -> Tensor:  # noqa: D102
        white = (image > 0).to(parameters.dtype) if self.binarize else (image.to(parameters.dtype) + 1) / 2
        return -F.binary_cross_entropy_with_logits(parameters, white, reduction="none").flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:  # noqa: D102
        return parameters.sigmoid() * 2 - 1


class Gaussian(Likelihood):
    r"""Each value is normal around the decoder's mean; a density over values in [-1, 1].

    $\log p = -\sum_i \frac{(x_i - m_i)^2}{2\sigma^2} + \log\sigma + \frac12\log 2\pi$. With values in [0, 1] instead
    the log-density is larger by log 2 a value. A fixed variance c weighs squared errors by C = 1/(2c) against the KL.
    Kingma, Welling 2014, appendix C.2; one learned variance for all values: Rybkin et al. 2021.

    Args:
        std: Standard deviation in units of the data; where it is learned, its start.
        learned: `none`; `shared`, one number for all values; or `each`, one for each value of each image, which the
            decoder gives.
        min_std: Least standard deviation that is learned; constant values would otherwise have unbounded density.
        bounded: The mean is the tanh of what the decoder gives, for pictures; off, it is unbounded, for points.

    Raises:
        ValueError: For a deviation that is not positive, or an unknown way of learning it.
    """

    choices = ("none", "shared", "each")

    def __init__(self, std: float = 0.5, learned: str = "none", min_std: float = 0.05, bounded: bool = True) -> None:
        super().__init__()
        for name, value in (("std", std), ("min_std", min_std)):
            if value <= 0:
                raise ValueError(f"{name}: got {value}, allowed is more than 0")
        if learned not in self.choices:
            raise ValueError(f"learned: got {learned!r}, allowed are {list(self.choices)}")
        self.learned, self.min_log_std, self.bounded = learned, math.log(min_std), bounded
        self.num_parameters = 2 if learned == "each" else 1
        start = torch.tensor(math.log(std))
        if learned == "shared":
            self.log_std = nn.Parameter(start)
        else:
            self.register_buffer("log_std", start, persistent=False)

    def log_prob(self, parameters: Tensor, image: Tensor) -> Tensor:  # noqa: D102
        mean, log_std = self.mean(parameters), self._log_std(parameters)
        error = (image - mean) * torch.exp(-log_std)
        return -(0.5 * error.square() + log_std + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:  # noqa: D102
        mean = parameters.chunk(2, 1)[0] if self.learned == "each" else parameters
        return mean.tanh() if self.bounded else mean

    def _log_std(self, parameters: Tensor) -> Tensor:
        """Logarithm of the standard deviation, for each value or for all."""
        if self.learned == "none":
            return self.log_std.to(parameters.dtype)
        log_std = self.log_std.to(parameters.dtype)
        if self.learned == "each":  # the decoder gives the factor on the start
            log_std = log_std + parameters.chunk(2, 1)[1]
        return log_std.clamp_min(self.min_log_std)
