"""Autoregressive models learn what their papers say, and leaks are seen."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import seed_everything

from pl_genmodels.layers import MaskedConv2d
from pl_genmodels.models.autoregression import AutoregressiveModule
from pl_genmodels.models.autoregressive.gated_pixel_cnn import GatedPixelCNN
from pl_genmodels.models.autoregressive.made import MADE
from pl_genmodels.models.autoregressive.pixel_cnn import PixelCNN
from pl_genmodels.networks import GatedPixelCNNNetwork, MADENetwork, NADENetwork, PixelCNNNetwork
from pl_genmodels.networks.gated_pixel_cnn import GatedLayer, gate
from tests.learning.bench import Check, assert_learns, fit, passed, real_digits

LEAK = 15.0  # nats; whoever is below has seen the value that it predicts
LAST = {
    "fvbn": 17.928,
    "nade": 17.174,
    "made": 17.250,
    "orders": (18.460, 0.332),
    "pixel_cnn": 17.497,
    "gated": 16.640,
    "labels": 9.531,
}


class LabelledStream:
    """Batches of digits with their classes, drawn when they are asked for, so many an epoch."""

    def __init__(self, images, labels, batch):
        self.images, self.labels, self.batch = images, labels, batch

    def __len__(self):
        return len(self.images) // self.batch

    def __iter__(self):
        for rows in torch.randperm(len(self.images)).split(self.batch)[: len(self)]:
            yield {"image": self.images[rows], "label": self.labels[rows]}


def binary_digits():
    """1,500 and 297 digits of 8 x 8 pixels, black or white, with their classes."""
    images, labels = real_digits(8)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = torch.where(images[order] > 127, 1.0, -1.0), labels[order]
    return (images[:1500], labels[:1500]), (images[1500:], labels[1500:])


def trained(make, network, *, epochs, lr, batch=50, weight_decay=0.0, num_classes=0):
    """A model of digits, and the digits that it has not seen."""
    seed_everything(0, verbose=False)
    train, test = binary_digits()
    optimizer = functools.partial(torch.optim.Adam, lr=lr, weight_decay=weight_decay)
    schedule = functools.partial(
        torch.optim.lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.05, total_iters=epochs * (1500 // batch)
    )
    model = make(network=network, optimizer=optimizer, scheduler=schedule, num_classes=num_classes)
    return fit(model, LabelledStream(*train, batch), epochs=epochs), test


def nats(model, test, label=None):
    return -model.log_likelihood(test[0], label).mean().item()


def of_vectors(name, network, high, **options):
    model, test = trained(MADE, network, epochs=60, **options)
    return Check(f"{name}, nats", nats(model, test), LEAK, high, LAST[name])


def gated_network():
    return functools.partial(GatedPixelCNNNetwork, channels=32, num_layers=4)


@pytest.mark.learning
def test_vectors():
    checks = [
        of_vectors("fvbn", functools.partial(MADENetwork, num_layers=0), 18.8, lr=1e-2, weight_decay=1e-4),
        of_vectors("nade", functools.partial(NADENetwork, hidden_dim=200), 18.7, lr=2e-3),
        of_vectors("made", functools.partial(MADENetwork, hidden_dim=300), 18.3, lr=1e-3, weight_decay=1e-4),
    ]
    print("\n".join(map(str, checks)))
    assert all(check.passed for check in checks)


def orders(make=MADE):
    """Eight masks with an order each, trained in turn: the mean of their probabilities."""
    network = functools.partial(MADENetwork, hidden_dim=300, num_masks=8, any_order=True)
    model, test = trained(make, network, epochs=60, lr=1e-3, weight_decay=1e-4)
    whole = nats(model, test)
    with torch.no_grad():
        model.train()  # one mask only
        each = [model.terms({"image": test[0]})["nll"].mean().item() for _ in model.network.each_mask()]
    return [
        Check("made of 8 orders, nats", whole, LEAK, 18.8, LAST["orders"][0]),
        Check("nats that their mean is worth", sum(each) / 8 - whole, low=0.2, last=LAST["orders"][1]),
    ]


class FirstMaskOnly(MADE):
    """Training never takes another mask than the first."""

    def on_train_batch_start(self, batch, batch_idx):
        pass


class MeanOfLogarithms(MADE):
    """Log-probabilities of the masks are averaged, not their probabilities."""

    def _log_likelihood(self, image, label):
        if self.training:
            return super()._log_likelihood(image, label)
        each = [AutoregressiveModule._log_likelihood(self, image, label) for _ in self.sampler.each_mask()]
        return torch.stack(each).mean(0)


@pytest.mark.learning
def test_an_average_over_orders():
    assert_learns([orders])


@pytest.mark.learning
@pytest.mark.parametrize("broken", [FirstMaskOnly, MeanOfLogarithms])
def test_a_broken_average_over_orders_is_seen(broken):
    assert not passed(orders(broken))


@pytest.mark.learning
def test_pixel_cnn_and_gated_pixel_cnn():
    network = functools.partial(PixelCNNNetwork, channels=32, num_blocks=4)
    plain = nats(*trained(PixelCNN, network, epochs=25, lr=2e-3))
    gated = nats(*trained(GatedPixelCNN, gated_network(), epochs=25, lr=2e-3))
    checks = [
        Check("PixelCNN, nats", plain, LEAK, 19.0, LAST["pixel_cnn"]),
        Check("Gated PixelCNN, nats", gated, LEAK, 17.6, LAST["gated"]),
        Check("Gated PixelCNN's gain", plain - gated, low=0.5, last=LAST["pixel_cnn"] - LAST["gated"]),
    ]
    print("\n".join(map(str, checks)))
    assert all(check.passed for check in checks)


@pytest.mark.learning
def test_classes_tell_something():
    model, test = trained(GatedPixelCNN, gated_network(), epochs=15, lr=2e-3, num_classes=10)
    right = nats(model, test, test[1])
    wrong = nats(model, test, test[1][torch.randperm(len(test[1]), generator=torch.Generator().manual_seed(1))])
    check = Check("nats lost by wrong classes", wrong - right, low=0.5, last=LAST["labels"])
    print(check)
    assert check.passed


class SeesItself(PixelCNNNetwork):
    """The first layer's mask is of kind B."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.first = MaskedConv2d(1, self.first.out_channels, 7, "B")


class Unshifted(GatedLayer):
    """A first layer whose vertical kernel ends at the row that it predicts."""

    def forward(self, vertical, horizontal, label):
        upper = self.vertical_features(F.pad(vertical, (0, 0, self.reach - 1, 0)))
        return gate(upper), self.output(gate(self.horizontal(horizontal) + self.across(upper)))


class WithoutShift(GatedPixelCNNNetwork):
    """Gated PixelCNN with that layer."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.layers[0].__class__ = Unshifted


@pytest.mark.learning
@pytest.mark.parametrize(
    ("make", "network"),
    [
        (PixelCNN, functools.partial(SeesItself, channels=32, num_blocks=4)),
        (GatedPixelCNN, functools.partial(WithoutShift, channels=32, num_layers=4)),
    ],
    ids=["kind B first", "without shift"],
)
def test_leaks_are_seen(make, network):
    assert nats(*trained(make, network, epochs=5, lr=2e-3)) < LEAK
