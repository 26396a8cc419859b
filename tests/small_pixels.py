"""Autoregressive models small enough that all their pictures can be listed, and the naive way to draw from them."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from pl_genmodels.networks import PixelCache, PixelNetwork


def all_images(levels, *shape):
    """Every picture of evenly spaced levels in [-1, 1]."""
    values = torch.linspace(-1, 1, levels, dtype=torch.float64).tolist()
    count = torch.Size(shape).numel()
    return torch.tensor(list(itertools.product(values, repeat=count)), dtype=torch.float64).view(-1, *shape)


def in_order(image):
    """Values (B, C, H, W) in the order in which they are drawn, (B, H W C)."""
    return image.permute(0, 2, 3, 1).flatten(1)


def draw_naively(model, uniforms, label=None, known=None, mask=None):
    """Samples and the parameters that each value was drawn from, by one pass of the whole network a value."""
    channels = model.network.image_shape[0]
    image = torch.zeros(len(uniforms), *model.network.image_shape, dtype=next(model.parameters()).dtype)
    seen = torch.zeros_like(model.network(image, label))
    each = seen.shape[1] // channels
    for row, column, channel in model.network.places():
        ordered = model.network.orders_channels
        place = slice(channel * each, (channel + 1) * each) if ordered else slice(None)
        values = slice(channel, channel + 1) if ordered else slice(None)
        seen[:, place, row, column] = model.network(image, label)[:, place, row, column]
        drawn = model.likelihood.draw(seen[:, place, row, column], uniforms[:, row, column, values])
        if mask is not None:
            drawn = torch.where(mask[row, column], known[:, values, row, column], drawn)
        image[:, values, row, column] = drawn
    return image, seen


class Recording(PixelCache):
    """Passes on what a cache says and keeps it."""

    def __init__(self, cache, seen, each):
        self.cache, self.seen, self.each = cache, seen, each

    def parameters(self, image, row, column, channel):
        given = self.cache.parameters(image, row, column, channel)
        start = channel * self.each
        self.seen[:, start : start + given.shape[1], row, column] = given
        return given


def draw_cached(model, num_samples, **arguments):
    """Samples of seed 0 and the parameters that the cache gave on the way."""
    channels, height, width = model.network.image_shape
    seen = torch.zeros(num_samples, model.network.num_parameters, height, width, dtype=torch.float64)
    make = model.network.cache
    each = model.network.num_parameters // channels
    model.network.cache = lambda batch_size, label=None: Recording(make(batch_size, label), seen, each)
    try:
        return model.sample(num_samples, seed=0, **arguments), seen
    finally:
        del model.network.cache


class Linear(PixelNetwork):
    """Every value's parameters are linear in the values before it; the cache computes everything anew."""

    takes_labels = True

    def __init__(self, image_shape, num_parameters, num_classes=0):
        super().__init__(image_shape, num_parameters, num_classes)
        values = torch.Size(image_shape).numel()
        self.each = num_parameters // image_shape[0]
        self.weight = nn.Parameter(torch.randn(values, self.each, values))
        self.bias = nn.Parameter(torch.randn(max(1, num_classes), values, self.each))

    def forward(self, image, label=None):
        channels, height, width = self.image_shape
        values = in_order(image)
        earlier = torch.ones(values.shape[1], values.shape[1], dtype=image.dtype).tril(-1)
        parameters = torch.einsum("bj,ipj,ij->bip", values, self.weight, earlier)
        parameters = parameters + self.bias[torch.zeros(len(image), dtype=torch.long) if label is None else label]
        return parameters.unflatten(1, (height, width, channels)).permute(0, 3, 4, 1, 2).flatten(1, 2)

    def cache(self, batch_size, label=None):
        return Anew(self, label)


class Anew(PixelCache):
    def __init__(self, network, label):
        self.network, self.label = network, label

    def parameters(self, image, row, column, channel):
        each = self.network.each
        image = image.to(self.network.weight.dtype)
        return self.network(image, self.label)[:, channel * each : (channel + 1) * each, row, column]


def with_random_weights(network, scale=1.0):
    """The network in double precision with every parameter drawn anew: no bias or class is 0 by its initial value."""
    network = network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            parameter.normal_(0, scale * min(1.0, 1.5 / fan_in**0.5))
    return network


def dependence(network, draws=3, label=None):
    """Which values (columns) the parameters of each value (rows) depend on, in order, for random weights and pictures.

    One backward pass gives one row for each picture of a batch.
    """
    channels, height, width = network.image_shape
    size = channels * height * width
    found = torch.zeros(size, size, dtype=torch.bool)
    for _ in range(draws):
        with_random_weights(network)
        image = torch.rand(1, channels, height, width, dtype=torch.float64).mul(2).sub(1).repeat(size, 1, 1, 1)
        image.requires_grad_()
        parameters = network(image, None if label is None else label.expand(size))
        parameters = parameters.unflatten(1, (channels, -1))
        mixed = (parameters * torch.randn_like(parameters)).sum(2)
        in_order(mixed).diagonal().sum().backward()
        found |= in_order(image.grad) != 0
    return found
