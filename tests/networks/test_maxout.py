"""Maxout layers, and what else multi-layer networks are made of."""

import pytest
import torch
from torch import nn

from pl_genmodels.networks import MaxoutDiscriminator, MLPDiscriminator, MLPGenerator
from pl_genmodels.networks.maxout import Maxout


def test_a_unit_is_the_largest_of_its_pieces():
    torch.manual_seed(0)
    layer, x = Maxout(3, 4, 5), torch.randn(6, 3)
    weight, bias = layer.linear.weight.view(4, 5, 3), layer.linear.bias.view(4, 5)
    wanted = (torch.einsum("upi,bi->bup", weight, x) + bias).max(2).values
    torch.testing.assert_close(layer(x), wanted)


def test_two_pieces_are_a_rectifier():
    layer = Maxout(1, 1, 2)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0], [0.2]]))
        layer.linear.bias.zero_()
    x = torch.linspace(-2, 2, 9)[:, None]
    torch.testing.assert_close(layer(x), nn.functional.leaky_relu(x, 0.2))


def test_dropout_is_for_training_alone():
    torch.manual_seed(0)
    critic, x = MaxoutDiscriminator((1, 4, 4), hidden_dim=8), torch.randn(5, 1, 4, 4)
    assert critic(x).shape == (5,)
    assert not torch.equal(critic(x), critic(x))
    critic.eval()
    assert torch.equal(critic(x), critic(x))
    assert sum(p.numel() for p in critic.parameters()) == (16 + 1) * 40 + (8 + 1) * 40 + 9


@pytest.mark.parametrize(("name", "kind"), [("elu", nn.ELU), ("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid)])
def test_a_discriminator_of_another_activation_gives_its_features(name, kind):
    critic, x = MLPDiscriminator((2,), hidden_dim=4, activation=name), torch.randn(3, 2)
    assert sum(isinstance(layer, kind) for layer in critic.layers) == 2
    logits, features = critic(x, with_features=True)
    assert [tuple(each.shape) for each in features] == [(3, 4), (3, 4)]
    assert torch.equal(logits, critic(x))


def test_the_slope_of_a_leaky_one():
    slopes = {layer.negative_slope for layer in MLPDiscriminator((2,), negative_slope=0.05).layers[1::2]}
    assert slopes == {0.05}
    with pytest.raises(ValueError, match="MLPDiscriminator: got activation 'gelu'"):
        MLPDiscriminator((2,), activation="gelu")


def test_layers_of_different_widths():
    generator = MLPGenerator((2,), latent_dim=3, hidden_dims=[4, 8])
    assert [layer.out_features for layer in generator.layers if isinstance(layer, nn.Linear)] == [4, 8, 2]
