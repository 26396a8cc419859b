from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    InstanceNormDiscriminator,
    MLPDiscriminator,
    MLPGenerator,
    NoisyGenerator,
    PixelShuffleGenerator,
)

SMALL = partial(MLPGenerator, latent_dim=3, hidden_dim=5, num_layers=2)
GENERATORS = {
    "mlp": SMALL,
    "softplus": partial(SMALL, activation="softplus", batch_norm=True),
    "dcgan": partial(DCGANGenerator, latent_dim=3, channels=2),
    "shuffle": partial(PixelShuffleGenerator, latent_dim=3, channels=2),
}


def noisy(**arguments):
    torch.manual_seed(0)
    return NoisyGenerator((2,), SMALL, **arguments).double()


def test_the_latent_says_what_is_dropped_and_added():
    """By hand: half of each hidden layer at 0 where its number is negative, the rest doubled, then the noise."""
    network = noisy(dropout=0.5, std=0.1)
    latent = torch.randn(7, network.latent_dim).double()
    assert network.latent_dim == 3 + 2 * (5 + 5)
    free, *noise = latent.split([3, 5, 5, 5, 5], 1)
    first, _, second, _, last = network.make.layers
    hidden = first(free).relu() * (noise[0] >= 0) * 2 + 0.1 * noise[1]
    hidden = second(hidden).relu() * (noise[2] >= 0) * 2 + 0.1 * noise[3]
    assert torch.allclose(network(latent), last(hidden))
    assert not network.handed_in, "nothing is left of a pass"


def test_noise_is_on_when_sampling_and_of_the_wanted_size():
    network = noisy(dropout=0.2).eval()
    latent = torch.randn(2, network.latent_dim).double()
    again = torch.cat([latent[:, :3], torch.randn(2, 10).double()], 1)
    assert not torch.allclose(network(latent), network(again))
    assert torch.equal(network(latent), network(latent))
    layer = network.make.layers[1]
    network.handed_in[:] = [torch.randn(100_000)]
    kept = layer(torch.ones(100_000))
    assert (kept == 0).double().mean().item() == pytest.approx(0.2, abs=0.01)
    assert kept.mean().item() == pytest.approx(1, abs=0.01)
    only = noisy(dropout=0.0, std=0.5)
    assert only.latent_dim == 3 + 10
    zero = torch.cat([latent[:, :3], torch.zeros(2, 10)], 1)
    torch.manual_seed(0)
    assert torch.allclose(only(zero), SMALL((2,)).double()(latent[:, :3])), "noise of 0 leaves the generator as it is"


@pytest.mark.parametrize("kind", GENERATORS)
def test_any_generator_can_be_noisy(kind):
    torch.manual_seed(0)
    network = NoisyGenerator((1, 16, 16), GENERATORS[kind], dropout=0.5, std=0.1)
    latent = torch.randn(4, network.latent_dim)
    image = network(latent)
    assert image.shape == (4, 1, 16, 16)
    image.square().sum().backward()
    assert all(bool(parameter.grad.any()) for parameter in network.parameters() if parameter.ndim > 1)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (partial(NoisyGenerator, dropout=1.0), "dropout: got 1.0, allowed is 0 up to but not including 1"),
        (partial(NoisyGenerator, dropout=0.0), "std: got 0.0 with dropout 0.0, allowed is 0 or more, and one"),
        (
            partial(NoisyGenerator, generator=partial(MLPGenerator, num_layers=0)),
            "generator: got MLPGenerator, which has no rectifier",
        ),
        (
            partial(InstanceNormDiscriminator, discriminator=MLPDiscriminator),
            "discriminator: got MLPDiscriminator without batch normalisation to replace",
        ),
    ],
)
def test_networks_that_cannot_be_changed(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make((1, 8, 8))


def test_pixels_come_from_channels():
    torch.manual_seed(0)
    network = PixelShuffleGenerator((3, 32, 32), latent_dim=5, channels=4)
    assert network(torch.randn(2, 5)).shape == (2, 3, 32, 32)
    kinds = [type(layer) for layer in network.layers]
    assert kinds.count(nn.PixelShuffle) == 3
    assert nn.ReLU not in kinds
    with pytest.raises(ValueError, match="PixelShuffleGenerator: got images of 12x12"):
        PixelShuffleGenerator((1, 12, 12))


def test_each_picture_by_itself():
    torch.manual_seed(0)
    base = partial(DCGANDiscriminator, channels=4)
    network, mixed = InstanceNormDiscriminator((1, 16, 16), base), base((1, 16, 16))
    images = torch.randn(6, 1, 16, 16)
    assert torch.allclose(network(images)[:2], network(images[:2]), atol=1e-5)
    assert not torch.allclose(mixed(images)[:2], mixed(images[:2]), atol=1e-3)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    logits, features = network(images, with_features=True)
    assert torch.equal(logits, network(images))
    assert len(features) == 2
