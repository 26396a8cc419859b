"""PixelCNN++ learns small digits in colours."""

from __future__ import annotations

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import seed_everything

from pl_genmodels.callbacks import GeneratorEMA
from pl_genmodels.data import TintedDigits
from pl_genmodels.losses import DiscretizedLogisticMixture
from pl_genmodels.models.autoregressive.pixel_cnn_pp import PixelCNNPP
from pl_genmodels.networks import PixelCNNPPNetwork
from pl_genmodels.networks.pixel_cnn_pp import with_ones
from tests.learning.bench import Check, Stream, fit, passed

EPOCHS, BATCH = 5, 50
LAST = (2.889, 2.075)  # measured last, in the order of the checks


def pictures(split):
    return TintedDigits(8).load(split).tensors["image"] / 127.5 - 1


def histogram(train, test):
    """Bits a value of a model that knows the frequencies of the 256 levels alone."""
    levels = [((images + 1) * 127.5).round().long().flatten() for images in (train, test)]
    count = levels[0].bincount(minlength=256) + 1.0
    return -(count / count.sum()).log2()[levels[1]].mean().item()


def tinted(network=PixelCNNPPNetwork):
    seed_everything(0, verbose=False)
    train, test = pictures("train"), torch.cat([pictures("val"), pictures("test")])
    make = functools.partial(network, channels=24, num_blocks=1)
    optimizer = functools.partial(torch.optim.Adam, lr=2e-3)
    model = PixelCNNPP((3, 8, 8), network=make, likelihood=DiscretizedLogisticMixture(5), optimizer=optimizer)
    draw = iter(lambda: train[torch.randint(len(train), (BATCH,))], None)
    stream = Stream(lambda: next(draw), len(train) // BATCH)
    fit(model, stream, epochs=EPOCHS, callbacks=[GeneratorEMA(half_life=1500)])
    found = -model.log_likelihood(test).mean().item() / (192 * math.log(2))
    # one that sees what it predicts gets down to 2.2 in as many steps
    return [
        Check("bits per dimension, tinted digits", found, 2.5, 3.3, LAST[0]),
        Check("below those of the histogram by", histogram(train, test) - found, low=1.5, last=LAST[1]),
    ]


class Leaky(PixelCNNPPNetwork):
    """The pixels of the row are not moved to the right: each is predicted from itself."""

    def forward(self, image, label=None):
        image = with_ones(image)
        above = F.pad(self.above_first(image), (0, 0, 1, -1))
        left = F.pad(self.left_above(image), (0, 0, 1, -1)) + self.left_beside(image)
        return self.last(F.elu(self.resolution(above, left, label)[1]))


@pytest.mark.learning
def test_pixel_cnn_pp():
    checks = tinted()
    print("\n".join(map(str, checks)))
    assert passed(checks)


@pytest.mark.learning
def test_a_leak_is_seen():
    checks = tinted(Leaky)
    print("\n".join(map(str, checks)))
    assert not passed(checks)
