from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.layers import BatchSimilarity, VirtualBatchNorm, minibatch
from pl_genmodels.losses import R1
from pl_genmodels.losses.penalties import input_gradient
from pl_genmodels.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    MinibatchDiscriminator,
    MLPDiscriminator,
    MLPGenerator,
    PackedDiscriminator,
    ResNetDiscriminator,
    VirtualBatchNormGenerator,
)


def similarity(**arguments):
    torch.manual_seed(0)
    layer = BatchSimilarity(6, num_kernels=4, kernel_dim=3, **arguments).double()
    nn.init.normal_(layer.project.weight)
    return layer


def test_identical_rows_count_each_other_and_not_themselves():
    layer = similarity()
    assert layer.bias.eq(-1).all()
    for dtype in (torch.float32, torch.float64):
        rows = torch.randn(1, 6, dtype=dtype).expand(8, 6)
        assert torch.equal(layer.to(dtype)(rows) - layer.bias, torch.full((8, 4), 7.0, dtype=dtype))


def test_similarity_is_the_papers_sum():
    layer, features = similarity(), torch.randn(5, 6, dtype=torch.float64)
    matrix = (features @ layer.project.weight.T).view(5, 4, 3)
    expected = torch.zeros(5, 4, dtype=torch.float64)
    for i in range(5):
        for j in range(5):
            if i != j:
                expected[i] += torch.exp(-(matrix[i] - matrix[j]).abs().sum(1))
    assert torch.allclose(layer(features), expected - 1, rtol=0, atol=1e-12)
    far = layer(1000 * torch.randn(5, 6, dtype=torch.float64))
    assert torch.allclose(far, torch.full_like(far, -1.0))


@pytest.mark.parametrize("pairs", [1, 40, 10**6])
def test_similarity_has_derivatives_however_many_pairs_are_worked_on_at_once(pairs, monkeypatch):
    """First and second ones, also where rows coincide in a coordinate; sums of a batch pass it in several parts."""
    monkeypatch.setattr(minibatch, "CACHED", pairs)
    layer, features = similarity(), torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, features)
    assert torch.autograd.gradgradcheck(layer, features)
    (gradient,) = torch.autograd.grad(layer(features[:1].expand(4, 6)).square().sum(), features)
    assert not gradient.any(), "equal rows have nothing to part them"


def test_similarities_join_the_last_layer():
    """As if the last linear layer saw features and similarities side by side."""
    torch.manual_seed(0)
    network = MinibatchDiscriminator((2,), partial(MLPDiscriminator, hidden_dim=7), num_kernels=4, kernel_dim=3)
    points = torch.randn(6, 2)
    features = network.judge(points, with_features=True)[1][-1]
    last = network.judge.layers[-1]
    joined = torch.cat([features, network.similarity(features)], 1)
    weight = torch.cat([last.weight, network.last.weight], 1)
    assert torch.allclose(network(points), (joined @ weight.T + last.bias).squeeze(1), atol=1e-6)
    R1()(network, points, points).sum().backward()
    assert all(parameter.grad is not None for parameter in (network.last.weight, network.similarity.project.weight))


def test_a_discriminator_without_features_cannot_compare():
    with pytest.raises(ValueError, match="discriminator: got ResNetDiscriminator, which does not give the features"):
        MinibatchDiscriminator((3, 32, 32), partial(ResNetDiscriminator, channels=8))


def test_packs_are_samples_in_a_row():
    torch.manual_seed(0)
    network = PackedDiscriminator((1, 8, 8), partial(DCGANDiscriminator, channels=4, batch_norm=False), 2)
    images = torch.randn(6, 1, 8, 8)
    pairs = torch.stack([torch.cat([images[2 * i], images[2 * i + 1]]) for i in range(3)])
    assert torch.allclose(network(images), network.judge(pairs), atol=1e-6)
    gradient = input_gradient(network, images)
    assert torch.allclose(gradient, input_gradient(network.judge, pairs), atol=1e-6), "one gradient a pack"
    with pytest.raises(ValueError, match="num_packed: got 2 with a batch of 5 samples, allowed are divisors of it"):
        network(images[:5])
    with pytest.raises(ValueError, match="num_packed: got 1, allowed is 2 or more"):
        PackedDiscriminator((2,), num_packed=1)


# ---- virtual batch normalisation


def test_samples_are_normalised_by_reference_and_themselves():
    torch.manual_seed(0)
    layer = VirtualBatchNorm(3, num_reference=4).double()
    rows = torch.randn(6, 3, 5, 5, dtype=torch.float64) * 2 + 1
    normal = layer(rows)
    reference = rows[:4]
    assert torch.allclose(normal[:4], nn.functional.batch_norm(reference, None, None, training=True), atol=1e-9)
    mean = 0.2 * rows[4].mean((1, 2)) + 0.8 * reference.mean((0, 2, 3))
    square = 0.2 * rows[4].square().mean((1, 2)) + 0.8 * reference.square().mean((0, 2, 3))
    scale = (square - mean**2 + 1e-5).sqrt()
    assert torch.allclose(normal[4], (rows[4] - mean[:, None, None]) / scale[:, None, None], atol=1e-9)


@pytest.mark.parametrize(
    ("image_shape", "make"),
    [
        ((2,), partial(MLPGenerator, latent_dim=5, hidden_dim=8, batch_norm=True)),
        ((1, 8, 8), partial(DCGANGenerator, latent_dim=5, channels=4)),
    ],
)
def test_no_sample_depends_on_another(image_shape, make):
    """In training mode, where batch normalisation would mix them."""
    torch.manual_seed(0)
    latent = torch.randn(6, 5)
    other = torch.cat([latent[:1], torch.randn(5, 5)])
    plain, virtual = make(image_shape), VirtualBatchNormGenerator(image_shape, make, num_reference=4)
    assert virtual(latent).shape == (6, *image_shape)
    assert torch.allclose(virtual(latent)[0], virtual(other)[0], atol=1e-6)
    assert (plain(latent)[0] - plain(other)[0]).abs().max() > 1e-4
    again = VirtualBatchNormGenerator(image_shape, make, num_reference=4)
    again.load_state_dict(virtual.state_dict())
    assert torch.equal(again(latent), virtual(latent)), "the reference batch is part of the state"


def test_there_must_be_something_to_replace():
    with pytest.raises(ValueError, match="generator: got MLPGenerator without batch normalisation to replace"):
        VirtualBatchNormGenerator((2,), MLPGenerator)
    with pytest.raises(ValueError, match="num_reference: got 0"):
        VirtualBatchNormGenerator((2,), partial(MLPGenerator, batch_norm=True), num_reference=0)
