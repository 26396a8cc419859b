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


class PixelLikelihood(Likelihood):
    """Values of a pixel that are drawn one after the other, each given the earlier ones: what autoregression needs.

    A likelihood of one value each, such as `Bernoulli`, is asked for the channels of a pixel in turn when the network
    orders them. One that couples the channels itself overrides `couples_channels` and the two counts.

    Attributes:
        couples_channels: Whether it models a pixel's channels jointly, from parameters of the whole pixel.
    """

    couples_channels: bool = False

    def parameters_per_pixel(self, channels: int) -> int:
        """Numbers that a network gives for a pixel, channel by channel: all of the first, then of the second, ..."""
        return self.num_parameters * channels

    def uniforms_per_pixel(self, channels: int) -> int:
        """Uniform numbers that it takes to draw a pixel."""
        return channels

    @abstractmethod
    def draw(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """Values of one pixel, or of one of its channels, from given uniform numbers.

        Args:
            parameters: Of c channels, (B, parameters_per_pixel(c)).
            uniform: In [0, 1), (B, uniforms_per_pixel(c)).

        Returns:
            In [-1, 1], (B, c).
        """

    @abstractmethod
    def quantize(self, image: Tensor) -> Tensor:
        """The nearest values that can be drawn, of images in [-1, 1]."""


class Bernoulli(PixelLikelihood):
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

    def draw(self, parameters: Tensor, uniform: Tensor) -> Tensor:  # noqa: D102
        return torch.where(uniform < parameters.sigmoid(), 1.0, -1.0).to(parameters.dtype)

    def quantize(self, image: Tensor) -> Tensor:
        """Values above 0 become white, others black."""
        return torch.where(image > 0, 1.0, -1.0).to(image.dtype)


class LevelLikelihood(PixelLikelihood):
    """Each value is one of evenly spaced levels; images are rounded to the nearest one first.

    Args:
        levels: How many; level k stands for the value 2 k / (levels - 1) - 1. 256 are those of a byte.

    Raises:
        ValueError: For fewer than two levels.
    """

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        if levels < 2:
            raise ValueError(f"levels: got {levels}, allowed is 2 or more")
        self.levels = levels

    def quantize(self, image: Tensor) -> Tensor:
        """Values of the nearest levels."""
        return self._value_of(self._level_of(image).to(image.dtype))

    def _level_of(self, image: Tensor) -> Tensor:
        # at least in single precision, which tells 256 levels apart
        return ((image.float() + 1) * ((self.levels - 1) / 2)).round().long()

    def _value_of(self, level: Tensor) -> Tensor:
        return level * (2 / (self.levels - 1)) - 1


class Categorical(LevelLikelihood):
    """Each value is one of evenly spaced levels; the parameters are their logits (van den Oord et al. 2016a, 3.1).

    Images are rounded to the nearest level first. The softmax knows nothing of the order of levels; it learns it.

    Args:
        levels: How many; level k stands for the value 2 k / (levels - 1) - 1. 256 are those of a byte.

    Raises:
        ValueError: For fewer than two levels.
    """

    def __init__(self, levels: int = 256) -> None:
        super().__init__(levels)
        self.num_parameters = self.levels

    def log_prob(self, parameters: Tensor, image: Tensor) -> Tensor:  # noqa: D102
        logits = parameters.unflatten(1, (-1, self.levels)).transpose(1, 2)  # (B, levels, C, ...)
        return -F.cross_entropy(logits, self._level_of(image), reduction="none").flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:  # noqa: D102
        share = parameters.unflatten(1, (-1, self.levels)).softmax(2)  # (B, C, levels, ...)
        level = torch.arange(self.levels, device=share.device).to(share.dtype)
        return self._value_of(torch.einsum("bcl...,l->bc...", share, level))

    def draw(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """Inverts the distribution function, in double precision: a level of probability 0 is never drawn."""
        cumulative = parameters.double().unflatten(1, (-1, self.levels)).softmax(2).cumsum(2)
        level = (cumulative <= uniform[..., None]).sum(2).clamp_max(self.levels - 1)
        return self._value_of(level.to(parameters.dtype))


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
