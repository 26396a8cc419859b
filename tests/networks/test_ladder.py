"""The ResNet VAE's network: densities of its latents, and the two ways down."""

from __future__ import annotations

import pytest
import torch
from torch.autograd.functional import jacobian

from pl_genmodels.layers import ConvInverseAutoregressiveStep
from pl_genmodels.layers.weight_norm import NormalizedConv, NormalizedDeconv, NormalizedMaskedConv, start_from_data
from pl_genmodels.networks import LadderNetwork

SMALL = {"channels": 6, "latent_channels": 2, "num_resolutions": 2, "num_blocks": 2}


def with_random_weights(network):
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_(0.3 * torch.randn_like(parameter)) if not name.endswith("direction") else None
    return network.double()


def ladder(shape=(1, 8, 8), **options):
    torch.manual_seed(0)
    return with_random_weights(LadderNetwork(shape, 2, **{**SMALL, **options}))


def noise_of(network, number, scale=1.0):
    return [scale * torch.randn(number, *shape, dtype=torch.float64) for shape in network.latent_shapes]


def images(*shape):
    return torch.rand(shape, dtype=torch.float64) * 2 - 1


def test_a_step_is_triangular_row_by_row_and_map_by_map():
    step = with_random_weights(ConvInverseAutoregressiveStep(2, 5))
    latent, context = torch.randn(1, 2, 3, 4).double(), torch.randn(1, 5, 3, 4).double()

    def in_order(z):
        return z.permute(0, 2, 3, 1).flatten()

    def flat(values):
        return in_order(step(values.view(1, 3, 4, 2).permute(0, 3, 1, 2), context)[0])

    found = jacobian(flat, in_order(latent))
    assert not found.triu(1).any()
    log_scale = in_order(step(latent, context)[1])
    assert torch.allclose(found.diagonal().log(), log_scale, rtol=0, atol=1e-10)
    assert log_scale.std() > 1e-3, "scales that say nothing"
    # a value sees the row above to both sides, and of its own place the maps before
    assert found[2 * 5 + 1, 2 * 5]
    assert found[2 * 5, 2 * 2]


@pytest.mark.parametrize("flow", [True, False])
def test_each_layers_log_scale_is_the_log_determinant_of_what_noise_becomes(flow):
    network = ladder((1, 4, 4), num_resolutions=1, flow=flow)
    image, noise = images(1, 1, 4, 4), noise_of(network, 1)
    _, rungs = network(image, noise)
    for layer, rung in enumerate(rungs):

        def value_of(numbers, layer=layer):
            changed = [numbers.view_as(each) if index == layer else each for index, each in enumerate(noise)]
            return network(image, changed)[1][layer].value.flatten()

        found = jacobian(value_of, noise[layer].flatten())
        assert torch.allclose(found.det().abs().log(), rung.log_scale.sum(), rtol=0, atol=1e-9)
        assert torch.equal(rung.noise, noise[layer])


@pytest.mark.parametrize("flow", [True, False])
def test_the_same_latents_give_the_same_image_from_above_alone(flow):
    """The way up changes what the latents are, never what they mean."""
    network = ladder(flow=flow)
    parameters, rungs = network(images(3, 1, 8, 8), noise_of(network, 3))
    units = [(rung.value - rung.prior_mean) * torch.exp(-rung.prior_log_std) for rung in rungs]
    again, prior = network(None, units)
    assert torch.allclose(again, parameters, rtol=0, atol=1e-10)
    for rung, drawn in zip(rungs, prior, strict=True):
        assert torch.allclose(drawn.value, rung.value, rtol=0, atol=1e-10)
        assert torch.allclose(drawn.prior_mean, rung.prior_mean, rtol=0, atol=1e-10)


def test_latents_of_a_layer_depend_on_those_above_and_the_image_and_not_on_those_below():
    network = ladder()
    image, noise = images(1, 1, 8, 8), noise_of(network, 1)
    _, rungs = network(image, noise)
    for changed in range(len(noise)):
        others = [each + (index == changed) for index, each in enumerate(noise)]
        differ = [not torch.equal(a.value, b.value) for a, b in zip(network(image, others)[1], rungs, strict=True)]
        assert differ == [index >= changed for index in range(len(noise))]
    assert all(not torch.equal(a.value, b.value) for a, b in zip(network(-image, noise)[1], rungs, strict=True)), (
        "a layer is told nothing of the image"
    )


def test_copies_of_the_images_go_with_their_numbers():
    network, image = ladder(), images(2, 1, 8, 8)
    noise = noise_of(network, 6)
    whole = network(image, noise)[0].unflatten(0, (3, 2))
    for copy in range(3):
        part = [each[2 * copy : 2 * copy + 2] for each in noise]
        assert torch.allclose(network(image, part)[0], whole[copy], rtol=0, atol=1e-10)


def test_shapes():
    network = LadderNetwork((3, 16, 8), 1, **SMALL)
    assert network.latent_shapes == [(2, 4, 2), (2, 4, 2), (2, 8, 4), (2, 8, 4)]
    assert network.latent_dim == 2 * (2 * 8 + 2 * 32)
    assert network(None, [torch.zeros(5, *shape) for shape in network.latent_shapes])[0].shape == (5, 3, 16, 8)


def test_layers_start_from_data_with_a_tenth_of_deviation_but_for_the_one_without_any():
    network, image = ladder(), images(16, 1, 8, 8)
    noise = noise_of(network, 16)
    values = start_from_data(network, lambda: network(image, noise))
    assert {"downs.0.first.gain", "downs.0.first.bias"}.isdisjoint(values)
    with torch.no_grad():
        for name, value in values.items():
            network.get_parameter(name).copy_(value)
    found = network(image, noise)[0]
    assert torch.allclose(found.mean((0, 2, 3)), torch.zeros(2).double(), atol=1e-6)
    assert torch.allclose(found.std((0, 2, 3)), torch.full((2,), 0.1).double(), rtol=1e-2)


@pytest.mark.parametrize("layer", [NormalizedConv(2, 3, 5, 2), NormalizedDeconv(2, 3, 5), NormalizedConv(2, 3, 3)])
def test_normalised_layers_have_weights_of_their_gains_length(layer):
    with torch.no_grad():
        layer.gain.uniform_(0.5, 2)
    dims = [0, 2, 3] if isinstance(layer, NormalizedDeconv) else [1, 2, 3]
    assert torch.allclose(layer.weight().square().sum(dims).sqrt(), layer.gain)
    size = {5: 8 if isinstance(layer, NormalizedDeconv) else 2, 3: 4}[layer.direction.shape[-1]]
    assert layer(torch.randn(1, 2, 4, 4)).shape == (1, 3, size, size)


def test_the_norm_of_a_masked_weight_is_of_what_the_mask_leaves():
    layer = NormalizedMaskedConv(2, 4, 3, "A", 2)
    with torch.no_grad():
        layer.direction.mul_(torch.where(layer.mask > 0, 1.0, 100.0))
        layer.gain.uniform_(0.5, 2)
    assert torch.allclose(layer.weight().square().sum((1, 2, 3)).sqrt(), layer.gain)
    assert not layer.weight()[layer.mask == 0].any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_blocks": 0}, "num_blocks: got 0"),
        ({"latent_channels": 0}, "latent_channels: got 0"),
        ({"channels": 1}, r"channels: got 1, allowed is latent_channels \(2\) or more"),
        ({"num_resolutions": 4}, r"image_shape: got \(1, 8, 8\), allowed with 4 resolutions are .* multiples of 16"),
    ],
)
def test_bad_arguments_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        LadderNetwork((1, 8, 8), 1, **{**SMALL, **options})
