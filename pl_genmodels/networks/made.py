"""Networks that predict the values of a vector from the earlier ones: MADE, NADE, and the fully visible belief net."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from itertools import pairwise
from typing import cast

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
        num_masks: Models that share the weights.
        mask: Index of the one in use.
    """

    num_masks, mask = 1, 0

    def __init__(self, image_shape: ImageShape, num_parameters: int, num_classes: int = 0) -> None:
        super().__init__(image_shape, num_parameters, num_classes)
        self.size, self.each = math.prod(self.image_shape), num_parameters // self.image_shape[0]

    def ordered(self, image: Tensor) -> Tensor:
        """Values in their order, (B, C, H, W) to (B, D)."""
        return image.permute(0, 2, 3, 1).flatten(1)

    def use_mask(self, index: int) -> None:
        """Be another of the models that share the weights, if there are several.

        Args:
            index: Of the model.
        """

    def each_mask(self) -> Iterator[int]:
        """Be each of these models in turn, and then the one from before again."""
        before = self.mask
        try:
            for index in range(self.num_masks):
                self.use_mask(index)
                yield index
        finally:
            self.use_mask(before)

    def laid_out(self, parameters: Tensor) -> Tensor:
        """Parameters of values in order as those of a picture, (B, D p) to (B, C p, H, W)."""
        channels, height, width = self.image_shape
        return parameters.view(-1, height, width, channels * self.each).permute(0, 3, 1, 2)


class MADENetwork(VectorNetwork):
    """Fully connected layers of which each unit sees values up to its degree (Germain et al. 2015, section 3).

    The first mask has the natural order of the values, and degrees that are spread evenly over the units instead of
    drawn. Further ones (section 4.2) draw degrees from the least of the layer before to D - 1, and with `any_order` the
    order too, from a seed of their own: the same in every run. All share the weights. Without hidden layers it is the
    fully visible belief net, a logistic regression of each value on the earlier ones (Frey 1998).

    Args:
        image_shape: (C, H, W).
        num_parameters: Of a pixel.
        num_classes: 0: it takes no labels.
        hidden_dim: Units of a hidden layer, rectified.
        num_layers: Hidden layers.
        direct: Whether values also reach the output without a hidden layer between.
        num_masks: How many there are, of which `use_mask` chooses one.
        any_order: Whether each mask after the first has an order of its own.

    Raises:
        ValueError: For counts below 1 or 0, neither hidden layers nor a direct way, or masks that are all the same.
    """

    degrees_0: Tensor  # (num_masks, D), of the values; `degrees_l` of hidden layer l

    def __init__(
        self,
        image_shape: ImageShape,
        num_parameters: int,
        num_classes: int = 0,
        *,
        hidden_dim: int = 500,
        num_layers: int = 1,
        direct: bool = True,
        num_masks: int = 1,
        any_order: bool = False,
    ) -> None:
        super().__init__(image_shape, num_parameters, num_classes)
        if hidden_dim < 1:
            raise ValueError(f"hidden_dim: got {hidden_dim}, allowed is 1 or more")
        if num_layers < 0 or not (num_layers or direct):
            raise ValueError(f"num_layers: got {num_layers}, allowed is {0 if direct else 1} or more")
        if num_masks < 1 or (num_masks > 1 and not (num_layers or any_order)):
            raise ValueError(
                f"num_masks: got {num_masks}, allowed is 1, and more with hidden layers or any_order to tell them apart"
            )
        if any_order and num_masks == 1:
            raise ValueError("any_order: got True, allowed with one mask, which has the natural order, is False")
        self.num_masks, self.mask = num_masks, 0
        sizes = [self.size, *[hidden_dim] * num_layers]
        drawn = [self._degrees(sizes, index, any_order) for index in range(num_masks)]
        for depth, degrees in enumerate(zip(*drawn, strict=True)):
            self.register_buffer(f"degrees_{depth}", torch.stack(degrees), persistent=False)
        inputs, *layers = drawn[0]
        outputs = inputs.repeat_interleave(self.each)
        self.hidden = nn.ModuleList(MaskedLinear(low, high) for low, high in pairwise([inputs, *layers]))
        self.output = MaskedLinear(drawn[0][-1], outputs, strict=True)
        self.direct = MaskedLinear(inputs, outputs, strict=True) if direct and num_layers else None

    @staticmethod
    def _degrees(sizes: list[int], index: int, any_order: bool) -> list[Tensor]:
        """Degrees of the values and of each hidden layer's units, with a mask of an index."""
        values, *hidden = sizes
        if index == 0:
            return [torch.arange(1, values + 1), *(spread_degrees(size, 1, values - 1) for size in hidden)]
        generator = torch.Generator().manual_seed(index)
        found = [torch.arange(1, values + 1)]
        if any_order:
            found = [torch.randperm(values, generator=generator) + 1]
        least = 1
        for size in hidden:
            found.append(torch.randint(least, max(values, least + 1), (size,), generator=generator))
            least = int(found[-1].min())
        return found

    def degrees(self) -> list[Tensor]:
        """Degrees of the values and of each hidden layer's units, with the mask in use."""
        return [getattr(self, f"degrees_{depth}")[self.mask] for depth in range(len(self.hidden) + 1)]

    def use_mask(self, index: int) -> None:
        """Connect the units as a mask says, if it is not in use.

        Args:
            index: Of the mask.
        """
        if index == self.mask:
            return
        self.mask = index
        inputs, *layers = self.degrees()
        outputs, last = inputs.repeat_interleave(self.each), layers[-1] if layers else inputs
        for layer, (low, high) in zip(self.hidden, pairwise([inputs, *layers]), strict=True):
            cast(MaskedLinear, layer).connect(low, high)
        self.output.connect(last, outputs)
        if self.direct is not None:
            self.direct.connect(inputs, outputs)

    def places(self) -> list[tuple[int, int, int]]:
        """Where values are, in the order of the mask in use."""
        natural = super().places()
        return [natural[index] for index in self.degrees_0[self.mask].argsort().tolist()]

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:  # noqa: D102
        features = values = self.ordered(image)
        for layer in self.hidden:
            features = layer(features).relu()
        parameters = self.output(features)
        return self.laid_out(parameters if self.direct is None else parameters + self.direct(values))

    def cache(self, batch_size: int, label: Tensor | None = None) -> PixelCache:  # noqa: D102
        return MADECache(self, batch_size)


class VectorCache(PixelCache):
    """Takes the values of pictures one by one in the network's order.

    Args:
        network: With the weights as they are now.
    """

    def __init__(self, network: VectorNetwork) -> None:
        self.each, self.taken = network.each, 0
        self.last = (0, 0, 0)

    def parameters(self, image: Tensor, row: int, column: int, channel: int) -> Tensor:  # noqa: D102
        last_row, last_column, last_channel = self.last
        value = image[:, last_channel, last_row, last_column] if self.taken else None
        self.last, self.taken = (row, column, channel), self.taken + 1
        return self.next(self.taken - 1, value)

    @abstractmethod
    def next(self, index: int, value: Tensor | None) -> Tensor:
        """Parameters of the value of an index in the order, (B, p), given the one before it, (B,), if there is one."""


class MADECache(VectorCache):
    """Each unit is computed once, as soon as it is known all that it sees.

    Units are put into the order of their degrees, so that those that are known come first in every layer.

    Args:
        network: With the weights and the mask as they are now.
        batch_size: Pictures at a time.
    """

    def __init__(self, network: MADENetwork, batch_size: int) -> None:
        super().__init__(network)
        degrees = network.degrees()
        orders = [each.argsort(stable=True) for each in degrees]
        last = (orders[0][:, None] * self.each + torch.arange(self.each, device=orders[0].device)).flatten()
        self.layers = [
            self._ordered(layer, low, high) for layer, (low, high) in zip(network.hidden, pairwise(orders), strict=True)
        ]
        self.output = self._ordered(network.output, orders[-1], last)
        self.direct = None if network.direct is None else self._ordered(network.direct, orders[0], last)
        self.units = [self.output[0].new_zeros(batch_size, len(order)) for order in orders]
        steps = torch.arange(network.size + 1, device=orders[0].device)
        # how many units of each layer are known when so many values are
        self.known = [
            torch.searchsorted(each[order], steps, right=True).tolist()
            for each, order in zip(degrees, orders, strict=True)
        ]

    @staticmethod
    def _ordered(layer: nn.Module, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias with units in their orders; what the mask leaves out is never read."""
        linear = cast(MaskedLinear, layer)
        return linear.weight.detach()[outputs[:, None], inputs], linear.bias.detach()[outputs]

    def next(self, index: int, value: Tensor | None) -> Tensor:  # noqa: D102
        if value is not None:
            self.units[0][:, index - 1] = value
        for depth, layer in enumerate(self.layers):
            start, end = self.known[depth + 1][max(index - 1, 0)], self.known[depth + 1][index]
            if index and end > start:
                self.units[depth + 1][:, start:end] = self._through(layer, slice(start, end), index, depth).relu_()
        rows = slice(index * self.each, (index + 1) * self.each)
        found = self._through(self.output, rows, index, len(self.layers))
        return found if self.direct is None else found.add_(self._through(self.direct, rows, index, 0))

    def _through(self, layer: tuple[Tensor, Tensor], rows: slice, index: int, depth: int) -> Tensor:
        """What some rows of a layer make of the units that are known when so many values are."""
        weight, bias = layer
        seen = self.known[depth][index]
        return torch.addmm(bias[rows], self.units[depth][:, :seen], weight[rows, :seen].t())


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
