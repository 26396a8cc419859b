"""The generators of the authors' PyTorch project, restated: what their files of weights hold and compute.

As its `networks.py` builds them; its `test.py` runs them in training mode, so that batch normalisation has the
statistics of its batch of one picture.
"""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, norm, bias, dropout):
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width)]
        self.conv_block = nn.Sequential(*half, nn.ReLU(True), *([nn.Dropout(0.5)] if dropout else []), *other)

    def forward(self, x):
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    def __init__(self, inputs, outputs, width, blocks, norm, dropout=False):
        super().__init__()
        bias = norm is not nn.BatchNorm2d
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, width, 7, bias=bias), norm(width), nn.ReLU(True)]
        for factor in (1, 2):
            wide = width * factor * 2
            layers += [nn.Conv2d(width * factor, wide, 3, 2, 1, bias=bias), norm(wide), nn.ReLU(True)]
        layers += [Block(width * 4, norm, bias, dropout) for _ in range(blocks)]
        for factor in (4, 2):
            narrow = width * factor // 2
            up = nn.ConvTranspose2d(width * factor, narrow, 3, 2, 1, 1, bias=bias)
            layers += [up, norm(narrow), nn.ReLU(True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


class SkipBlock(nn.Module):
    def __init__(self, outer, inner, norm, inputs=None, below=None, outermost=False, dropout=False):
        super().__init__()
        self.outermost = outermost
        bias = norm is not nn.BatchNorm2d
        down = nn.Conv2d(inputs or outer, inner, 4, 2, 1, bias=bias)
        up = nn.ConvTranspose2d(inner if below is None else 2 * inner, outer, 4, 2, 1, bias=outermost or bias)
        if outermost:
            layers = [down, below, nn.ReLU(True), up, nn.Tanh()]
        elif below is None:
            layers = [nn.LeakyReLU(0.2, True), down, nn.ReLU(True), up, norm(outer)]
        else:
            layers = [nn.LeakyReLU(0.2, True), down, norm(inner), below, nn.ReLU(True), up, norm(outer)]
            layers += [nn.Dropout(0.5)] if dropout else []
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class UnetGenerator(nn.Module):
    def __init__(self, inputs, outputs, halvings, width, norm, dropout=False):
        super().__init__()
        block = SkipBlock(width * 8, width * 8, norm)
        for _ in range(halvings - 5):
            block = SkipBlock(width * 8, width * 8, norm, below=block, dropout=dropout)
        for factor in (4, 2, 1):
            block = SkipBlock(width * factor, width * factor * 2, norm, below=block)
        self.model = SkipBlock(outputs, width, norm, inputs=inputs, below=block, outermost=True)

    def forward(self, x):
        return self.model(x)


def instance(width):
    return nn.InstanceNorm2d(width)


def instance_with_statistics(width):
    """As the first releases of torch saved it."""
    return nn.InstanceNorm2d(width, track_running_stats=True)


def without_dropout(network):
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network
