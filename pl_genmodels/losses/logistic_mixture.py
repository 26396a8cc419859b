"""Discretised logistics: one for each value, and the mixture of PixelCNN++ with coupled channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.losses.likelihoods import LevelLikelihood

MIN_LOG_SCALE = -7.0  # narrower components would put all of their mass into one of 256 levels anyway
MAX_LOG_SCALE = 50.0  # beyond, exp(-log_scale) leaves single precision


class DiscretizedLogisticMixture(LevelLikelihood):
    r"""A pixel's channels are rounded draws from one of K components (Salimans et al. 2017, equations 1 to 3).

    In component k channel c is logistic with mean $m_{kc} = \mu_{kc} + \sum_{j<c} \tanh(\alpha_{kcj}) x_j$, where
    $x_j$ are the pixel's earlier channels, and scale $s_{kc}$. A level's probability is the mass within half a step
    of it, of the lowest and highest level all beyond; the component is one for the whole pixel:
    $\log p = \log\sum_k \pi_k \prod_c [\sigma((x_c + h - m_{kc})/s_{kc}) - \sigma((x_c - h - m_{kc})/s_{kc})]$.

    Departs from the paper's code: $\log(\sigma(a) - \sigma(b)) = \log\sigma(a) + \log\sigma(-b) + \log(1 - e^{b-a})$
    holds everywhere, so that no density has to stand in for masses below 1e-5; draws are rounded to levels, as what is
    drawn from this distribution is.

    A pixel's parameters are, K each, the logits of the components, the means of each channel, the logarithms of the
    scales of each channel, and $\alpha$ of each pair of channels: K (C + 1)(C + 2) / 2 in all.

    Args:
        num_components: K.
        levels: How many evenly spaced values there are; 256 are those of a byte, 2 black and white.

    Raises:
        ValueError: For no components, or fewer than two levels.
    """

    couples_channels = True

    def __init__(self, num_components: int = 10, levels: int = 256) -> None:
        super().__init__(levels)
        if num_components < 1:
            raise ValueError(f"num_components: got {num_components}, allowed is 1 or more")
        self.num_components = num_components
        self.num_parameters = self.parameters_per_pixel(1)

    def parameters_per_pixel(self, channels: int) -> int:  # noqa: D102
        return self.num_components * (channels + 1) * (channels + 2) // 2

    def uniforms_per_pixel(self, channels: int) -> int:
        """One for the component, and one for each channel."""
        return channels + 1

    def log_prob(self, parameters: Tensor, image: Tensor) -> Tensor:  # noqa: D102
        logits, means, log_scales, weights = self._split(parameters, image.shape[1])
        value = self.quantize(image).to(parameters.dtype)[:, :, None]  # (B, C, 1, ...)
        means = torch.stack(self._coupled(means, weights, value), 1)
        log_mass = log_mass_of_level(value, means, log_scales, self.levels)
        joint = log_mass.sum(1) + logits.log_softmax(1)  # (B, K, ...)
        return joint.logsumexp(1).flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Expected images of the mixture before it is rounded, cut to the data's range."""
        logits, means, _, weights = self._split(parameters, self._channels_of(parameters))
        expected: list[Tensor] = []
        for channel in range(means.shape[1]):
            expected.append(means[:, channel] + _sum_of_earlier(channel, weights, expected))
        share = logits.softmax(1)[:, None]
        return (torch.stack(expected, 1) * share).sum(2).clamp(-1, 1)

    def draw(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """The component by inverting its distribution function, then each channel by inverting the logistic's."""
        logits, means, log_scales, weights = self._split(parameters, uniform.shape[1] - 1)
        cumulative = logits.double().softmax(1).cumsum(1)
        component = (cumulative <= uniform[:, :1]).sum(1).clamp_max(self.num_components - 1)
        chosen = component[:, None, None].expand(-1, 1, 1)
        means, log_scales, weights = (
            part.gather(2, chosen.expand(-1, part.shape[1], 1)) for part in (means, log_scales, weights)
        )
        values: list[Tensor] = []
        for channel in range(means.shape[1]):
            mean = means[:, channel] + _sum_of_earlier(channel, weights, values)  # (B, 1)
            noise = uniform[:, channel + 1, None].to(mean.dtype).logit()  # infinite at the edges, which is cut below
            values.append(self.quantize((mean + log_scales[:, channel].exp() * noise).clamp(-1, 1)))
        return torch.cat(values, 1)

    def _split(self, parameters: Tensor, channels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (B, K, ...), means and log-scales (B, C, K, ...), weights of earlier channels (B, pairs, K, ...)."""
        if parameters.shape[1] != self.parameters_per_pixel(channels):
            raise ValueError(
                f"parameters: got {parameters.shape[1]} a pixel, allowed for {channels} channels and "
                f"{self.num_components} components are {self.parameters_per_pixel(channels)}"
            )
        parts = parameters.unflatten(1, (-1, self.num_components))  # (B, parts, K, ...)
        pairs = channels * (channels - 1) // 2
        logits, means, log_scales, weights = parts.split([1, channels, channels, pairs], 1)
        return logits[:, 0], means, log_scales.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE), weights.tanh()

    def _channels_of(self, parameters: Tensor) -> int:
        counts = range(1, parameters.shape[1] + 1)
        return next((c for c in counts if self.parameters_per_pixel(c) >= parameters.shape[1]), 1)

    @staticmethod
    def _coupled(means: Tensor, weights: Tensor, value: Tensor) -> list[Tensor]:
        """Means given the true earlier channels, (B, K, ...) of each channel."""
        values = list(value.unbind(1))
        return [mean + _sum_of_earlier(channel, weights, values) for channel, mean in enumerate(means.unbind(1))]


class DiscretizedLogistic(LevelLikelihood):
    r"""Each value is a rounded draw from a logistic around the decoder's mean; one scale for all values is learned.

    $p(x) = \sigma((x + h - m)/s) - \sigma((x - h - m)/s)$ with h half a step between levels, for the lowest and the
    highest level all beyond too, as for CIFAR-10 in Kingma et al. 2016.

    Args:
        levels: How many evenly spaced values there are.
        log_scale: Logarithm of s at the start.
    """

    def __init__(self, levels: int = 256, log_scale: float = 0.0) -> None:
        super().__init__(levels)
        self.log_scale = nn.Parameter(torch.tensor(float(log_scale)))

    def log_prob(self, parameters: Tensor, image: Tensor) -> Tensor:  # noqa: D102
        value = self.quantize(image).to(parameters.dtype)
        log_scale = self._log_scale(parameters)
        return log_mass_of_level(value, self.mean(parameters), log_scale, self.levels).flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The decoder's, cut to half a step from the data's edges."""
        edge = 1 - 1 / (self.levels - 1)
        return parameters.clamp(-edge, edge)

    def draw(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """By inverting the logistic's distribution function."""
        noise = uniform.to(parameters.dtype).logit()  # infinite at the edges, which is cut below
        return self.quantize((self.mean(parameters) + self._log_scale(parameters).exp() * noise).clamp(-1, 1))

    def _log_scale(self, parameters: Tensor) -> Tensor:
        return self.log_scale.to(parameters.dtype).clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)


def log_mass_of_level(value: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Log-probability of values that are rounded draws from logistics, of any shapes that broadcast.

    Args:
        value: One of the evenly spaced levels in [-1, 1].
        mean: Of the logistic.
        log_scale: Logarithm of its scale.
        levels: How many there are.
    """
    half, inverse = 1 / (levels - 1), torch.exp(-log_scale)
    upper, lower = (value - mean + half) * inverse, (value - mean - half) * inverse
    # masses of the values up to the bin's upper end, and from its lower end on
    below, above = F.logsigmoid(upper), F.logsigmoid(-lower)
    inside = below + above + torch.log(-torch.expm1(-2 * half * inverse))
    return torch.where(value > 1 - half, above, torch.where(value < half - 1, below, inside))


def _sum_of_earlier(channel: int, weights: Tensor, values: list[Tensor]) -> Tensor | float:
    """What the earlier channels add to a channel's mean; weights are ordered as pairs (1, 0), (2, 0), (2, 1), ..."""
    first = channel * (channel - 1) // 2
    return sum((weights[:, first + earlier] * values[earlier] for earlier in range(channel)), 0.0)
