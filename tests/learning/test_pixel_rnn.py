"""PixelRNN's two kinds of layers learn small digits in black and white."""

from __future__ import annotations

import functools

import pytest
import torch
from lightning.pytorch import seed_everything

from pl_genmodels.layers.pixel_lstm import DiagonalBiLSTM
from pl_genmodels.models.autoregressive.pixel_rnn import PixelRNN
from pl_genmodels.models.autoregressive.pixel_rnn_row import PixelRNNRow
from pl_genmodels.networks import DiagonalBiLSTMNetwork, RowLSTMNetwork
from tests.learning.bench import Check, Stream, fit, passed
from tests.learning.test_vae import binary_digits

BATCH = 50
LAST = {"row": 17.373, "diagonal": 17.410}  # measured last


def nats(model, network, epochs):
    """Of the test digits, after some epochs."""
    seed_everything(0, verbose=False)
    train, test = binary_digits()
    make = functools.partial(network, channels=16, num_layers=2)
    model = model((1, 8, 8), network=make, optimizer=functools.partial(torch.optim.Adam, lr=2e-3))
    draw = iter(lambda: train[torch.randint(len(train), (BATCH,))], None)
    fit(model, Stream(lambda: next(draw), len(train) // BATCH), epochs=epochs)
    return -model.log_likelihood(test).mean().item()


def row():
    # no correct model comes near 12 nats; one that sees what it predicts does
    return [Check("nats, Row LSTM", nats(PixelRNNRow, RowLSTMNetwork, 25), 12, 18.6, LAST["row"])]


def diagonal(network=DiagonalBiLSTMNetwork):
    return [Check("nats, Diagonal BiLSTM", nats(PixelRNN, network, 15), 12, 19.8, LAST["diagonal"])]


class Unmoved(DiagonalBiLSTM):
    """The states from the right are not moved down: they know the pixels to the right, and thus the pixel itself."""

    def forward(self, features):
        return self.left(features) + self.right(features.flip(3)).flip(3)


class Leaky(DiagonalBiLSTMNetwork):
    def layer(self, in_channels, channels, colours):
        return Unmoved(in_channels, channels, colours)


@pytest.mark.learning
@pytest.mark.parametrize("experiment", [row, diagonal])
def test_pixel_rnn(experiment):
    checks = experiment()
    print("\n".join(map(str, checks)))
    assert passed(checks)


@pytest.mark.learning
def test_a_leak_is_seen():
    checks = diagonal(Leaky)
    print("\n".join(map(str, checks)))
    assert not passed(checks)
