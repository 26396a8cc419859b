"""Networks that predict the values of a vector from the earlier ones: MADE, NADE, and the fully visible belief net."""

from __future__ import annotations

import math
from abc import abstractmethod
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.layers.masked import MaskedLinear, spread_degrees
from pl_genmodels.networks.base import PixelCache, PixelNetwork
from pl_genmodels.types import ImageShape


class VectorNetwork(PixelNetwork):
    """A network that takes a picture for a vector of its values, pixel by pixel and in it channel by channel.

    Args:
        image_shape: (C, H, W).
        num_parameters: Of a pixel.
        num_classes: 0: it takes no labels.

    Attributes:
        size: Number of values, D.
        each: Parameters of a value, p.
    """

    def __init__(self, image_shape: ImageShape, num_parameters: int, num_classes: int = 0) -> None:
        super().__init__(image_shape, num_parameters, num_classes)
        self.size, self.each = math.prod(self.image_shape), num_parameters // self.image_shape[0]

    def ordered(self, image: Tensor) -> Tensor:
        """Values in their order, (B, C, H, W) to (B, D)."""
        return image.permute(0, 2, 3, 1).flatten(1)

    def laid_out(self, parameters: Tensor) -> Tensor:
        """Parameters of values in order as those of a picture, (B, D p) to (B, C p, H, W)."""
        channels, height, width = self.image_shape
        return parameters.view(-1, height, width, channels * self.each).permute(0, 3, 1, 2)


class MADENetwork(VectorNetwork):
    """Fully connected layers of which each unit sees values up to its degree (Germain et al. 2015, section 3).

    Degrees are spread evenly over the units instead of drawn, in the one natural order of the values. Without hidden
    layers it is the fully visible belief net, a logistic regression of each value on the earlier ones (Frey 1998).

    Args:
        image_shape: (C, H, W).
        num_parameters: Of a pixel.
        num_classes: 0: it takes no labels.
        hidden_dim: Units of a hidden layer, rectified.
        num_layers: Hidden layers.
        direct: Whether values also reach the output without a hidden layer between.

    Raises:
        ValueError: For counts below 1 or 0, or neither hidden layers nor a direct way.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_parameters: int,
        num_classes: int = 0,
        *,
        hidden_dim: int = 500,
        num_layers: int = 1,
        direct: bool = True,
    ) -> None:
        super().__init__(image_shape, num_parameters, num_classes)
        if hidden_dim < 1:
            raise ValueError(f"hidden_dim: got {hidden_dim}, allowed is 1 or more")
        if num_layers < 0 or not (num_layers or direct):
            raise ValueError(f"num_layers: got {num_layers}, allowed is {0 if direct else 1} or more")
        inputs = torch.arange(1, self.size + 1)
        outputs = inputs.repeat_interleave(self.each)
        degrees = [inputs, *[spread_degrees(hidden_dim, 1, self.size - 1)] * num_layers]
        self.hidden = nn.ModuleList(MaskedLinear(low, high) for low, high in pairwise(degrees))
        self.output = MaskedLinear(degrees[-1], outputs, strict=True)
        self.direct = MaskedLinear(inputs, outputs, strict=True) if direct and num_layers else None

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:  # noqa: D102
        features = values = self.ordered(image)
        for layer in self.hidden:
            features = layer(features).relu()
        parameters = self.output(features)
        return self.laid_out(parameters if self.direct is None else parameters + self.direct(values))

    def cache(self, batch_size: int, label: Tensor | None = None) -> PixelCache:  # noqa: D102
        return MADECache(self, batch_size)


class VectorCache(PixelCache):
    """Takes the values of pictures one by one in their order.

    Args:
        network: With the weights as they are now.
    """

    def __init__(self, network: VectorNetwork) -> None:
        self.colours, _, self.width = network.image_shape
        self.each = network.each

    def parameters(self, image: Tensor, row: int, column: int, channel: int) -> Tensor:  # noqa: D102
        index = (row * self.width + column) * self.colours + channel
        if index == 0:
            return self.next(0, None)
        pixel, last = divmod(index - 1, self.colours)
        return self.next(index, image[:, last, pixel // self.width, pixel % self.width])

    @abstractmethod
    def next(self, index: int, value: Tensor | None) -> Tensor:
        """Parameters of a value by its index, (B, p), given the value before it, (B,), if there is one."""


class MADECache(VectorCache):
    """Each unit is computed once, as soon as it is known all that it sees.

    Units are in the order of their degrees, so that those that are known come first in every layer.

    Args:
        network: With the weights as they are now.
        batch_size: Pictures at a time.
    """

    def __init__(self, network: MADENetwork, batch_size: int) -> None:
        super().__init__(network)
        hidden: Any = network.hidden
        self.output, self.direct = network.output, network.direct
        self.layers: list[Any] = list(hidden)
        sizes = [network.size, *(layer.out_features for layer in self.layers)]
        weight = network.output.weight
        self.units = [weight.new_zeros(batch_size, size) for size in sizes]
        steps = torch.arange(network.size + 1)
        degrees = [spread_degrees(size, 1, network.size - 1) for size in sizes[1:]]
        # how many units of each layer are known when so many values are
        self.known = [steps.tolist(), *(torch.searchsorted(each, steps, right=True).tolist() for each in degrees)]

    def next(self, index: int, value: Tensor | None) -> Tensor:  # noqa: D102
        if value is not None:
            self.units[0][:, index - 1] = value
        for depth, layer in enumerate(self.layers):
            start, end = self.known[depth + 1][max(index - 1, 0)], self.known[depth + 1][index]
            if index and end > start:
                seen = self.known[depth][index]
                self.units[depth + 1][:, start:end] = torch.addmm(
                    layer.bias[start:end], self.units[depth][:, :seen], layer.weight[start:end, :seen].t()
                ).relu_()
        found = self._outputs(self.output, index, len(self.layers))
        return found if self.direct is None else found.add_(self._outputs(self.direct, index, 0))

    def _outputs(self, layer: MaskedLinear, index: int, depth: int) -> Tensor:
        rows, seen = slice(index * self.each, (index + 1) * self.each), self.known[depth][index]
        return torch.addmm(layer.bias[rows], self.units[depth][:, :seen], layer.weight[rows, :seen].t())


class NADENetwork(VectorNetwork):
    r"""One hidden layer that the conditionals share (Larochelle, Murray 2011, equations 10 and 11).

    $h_i = \mathrm{sigmoid}(c + W_{\cdot,<i} x_{<i})$, and the parameters of $x_i$ are $b_i + V_i h_i$.

    Args:
        image_shape: (C, H, W).
        num_parameters: Of a pixel.
        num_classes: 0: it takes no labels.
        hidden_dim: Hidden units.

    Raises:
        ValueError: For fewer than one hidden unit.
    """

    def __init__(
        self, image_shape: ImageShape, num_parameters: int, num_classes: int = 0, *, hidden_dim: int = 500
    ) -> None:
        super().__init__(image_shape, num_parameters, num_classes)
        if hidden_dim < 1:
            raise ValueError(f"hidden_dim: got {hidden_dim}, allowed is 1 or more")
        self.input_weight = nn.Parameter(torch.empty(self.size, hidden_dim).uniform_(-1, 1) / math.sqrt(self.size))
        self.input_bias = nn.Parameter(torch.zeros(hidden_dim))
        self.output_weight = nn.Parameter(
            torch.empty(self.size, hidden_dim, self.each).uniform_(-1, 1) / math.sqrt(hidden_dim)
        )
        self.output_bias = nn.Parameter(torch.zeros(self.size, self.each))

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:  # noqa: D102
        values = self.ordered(image)
        added = values[:, :-1, None] * self.input_weight[:-1]  # (B, D - 1, hidden)
        first = self.input_bias.expand(len(values), 1, -1)
        hidden = torch.cat([first, added], 1).cumsum(1).sigmoid()
        parameters = torch.einsum("bdh,dhp->bdp", hidden, self.output_weight) + self.output_bias
        return self.laid_out(parameters.flatten(1))

    def cache(self, batch_size: int, label: Tensor | None = None) -> PixelCache:  # noqa: D102
        return NADECache(self, batch_size)


class NADECache(VectorCache):
    """The sum that the hidden units are functions of grows by one value at a time.

    Args:
        network: With the weights as they are now.
        batch_size: Pictures at a time.
    """

    def __init__(self, network: NADENetwork, batch_size: int) -> None:
        super().__init__(network)
        self.network = network
        self.sum = network.input_bias.detach().repeat(batch_size, 1)

    def next(self, index: int, value: Tensor | None) -> Tensor:  # noqa: D102
        if value is not None:
            self.sum.addcmul_(value.to(self.sum.dtype)[:, None], self.network.input_weight[index - 1])
        return torch.addmm(self.network.output_bias[index], self.sum.sigmoid(), self.network.output_weight[index])
