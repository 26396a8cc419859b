"""The network of PixelCNN++ and its layers: what they see, how they start, and that the cache says the same."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from pl_genmodels.layers.weight_norm import PointwiseConv, ShiftedConv, ShiftedDeconv, WeightNormalized, start_from_data
from pl_genmodels.losses import Bernoulli, Categorical, DiscretizedLogisticMixture
from pl_genmodels.models.autoregressive.pixel_cnn_pp import PixelCNNPP
from pl_genmodels.networks import PixelCNNPPNetwork
from tests.small_pixels import all_images, dependence, draw_cached, draw_naively, with_random_weights

SMALL = functools.partial(PixelCNNPPNetwork, channels=6, num_blocks=1)


def pixels_of(seen, channels):
    """Whether any value of a pixel depends on any of another one, out of the same for values."""
    count = len(seen) // channels
    return seen.view(count, channels, count, channels).any(3).any(1)


@pytest.mark.parametrize("channels", [1, 3])
def test_no_pixel_sees_itself_or_what_comes_later(channels):
    torch.manual_seed(0)
    seen = dependence(SMALL((channels, 8, 8), 2 * channels))
    assert not pixels_of(seen, channels).triu().any()
    blocks = seen.view(64, channels, 64, channels).permute(0, 2, 1, 3)
    assert torch.equal(blocks.any(3).any(2), blocks.all(3).all(2)), "some channels are left out"


def test_small_networks_miss_pixels_at_the_far_end_of_odd_rows_and_deep_ones_none():
    """Rows 2 r and 2 r + 1 share the coarse features, which know rows up to 2 r - 1 only.

    So an odd row learns of the row above it, and of itself, through the 3 full-resolution blocks alone: 6 columns far.
    """
    torch.manual_seed(0)
    seen = dependence(SMALL((1, 8, 8), 1))
    missing = {(row * 8, row * 8 - 1) for row in (1, 3, 5, 7)} | {(row * 8 + 7, row * 8) for row in (1, 3, 5, 7)}
    assert set(map(tuple, (~seen).tril(-1).nonzero().tolist())) == missing
    deep = dependence(PixelCNNPPNetwork((1, 8, 8), 1, channels=2), draws=2)
    assert torch.equal(deep, torch.ones(64, 64, dtype=torch.bool).tril(-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("shape", "likelihood", "num_resolutions"),
    [
        ((1, 4, 8), Bernoulli(), 3),
        ((1, 3, 5), Categorical(4), 1),
        ((3, 8, 4), DiscretizedLogisticMixture(2), 3),
        ((3, 2, 4), Categorical(3), 2),
    ],
)
def test_cached_samples_are_the_naive_ones(dtype, shape, likelihood, num_resolutions):
    torch.manual_seed(0)
    network = functools.partial(SMALL, num_resolutions=num_resolutions)
    model = PixelCNNPP(shape, network=network, likelihood=likelihood, num_classes=3)
    with_random_weights(model.network, 1.1)
    model.to(dtype).eval()
    label = torch.tensor([2, 0, 1, 1])
    samples, seen = draw_cached(model, 4, label=label)
    naive, wanted = draw_naively(model, model.draw_uniforms(4, seed=0), label)
    assert wanted.std() > 0.2, "parameters that hardly matter"
    assert torch.allclose(samples, naive, rtol=0, atol=1e-6), "not the same levels"
    assert torch.allclose(seen, wanted.double(), rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-10)


def test_probabilities_of_all_images_sum_to_one():
    torch.manual_seed(0)
    for shape, levels in (((1, 2, 4), 2), ((3, 1, 2), 3)):
        network = functools.partial(SMALL, num_resolutions=1)
        model = PixelCNNPP(shape, network=network, likelihood=DiscretizedLogisticMixture(2, levels))
        with_random_weights(model.network, 1.1)
        total = model.float().log_likelihood(all_images(levels, *shape).float()).exp().sum()
        assert total == pytest.approx(1, abs=1e-5)


def test_labels_shift_the_gates_everywhere():
    torch.manual_seed(0)
    network = with_random_weights(SMALL((1, 4, 4), 1, 2)).eval()
    image = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    first, second = network(image, torch.tensor([0, 1]))
    assert (first != second).all()


# ---- layers


def windows(layer, size=6):
    """Which inputs each output of a layer over pictures of one channel sees, (out, out, in, in)."""
    image = torch.rand(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    given = layer.double()(image)[0].sum(0)
    rows = [[torch.autograd.grad(value, image, retain_graph=True)[0][0, 0] for value in row] for row in given]
    return torch.stack([torch.stack(row) for row in rows]) != 0


def test_windows_of_the_shifted_convolutions():
    torch.manual_seed(0)
    seen = windows(ShiftedConv(1, 4, (2, 3), "down"))[3, 2]
    assert set(map(tuple, seen.nonzero().tolist())) == {(r, c) for r in (2, 3) for c in (1, 2, 3)}
    seen = windows(ShiftedConv(1, 4, (2, 2), "down_right"))[3, 2]
    assert set(map(tuple, seen.nonzero().tolist())) == {(r, c) for r in (2, 3) for c in (1, 2)}
    coarse = windows(ShiftedConv(1, 4, (2, 2), "down_right", stride=2))
    assert coarse.shape[:2] == (3, 3)
    assert set(map(tuple, coarse[2, 1].nonzero().tolist())) == {(r, c) for r in (3, 4) for c in (1, 2)}


def test_windows_of_the_transposed_convolutions():
    torch.manual_seed(0)
    seen = windows(ShiftedDeconv(1, 4, 2), 3)
    assert seen.shape[:2] == (6, 6)
    for row in range(6):
        for column in range(6):
            assert seen[row, column].nonzero().tolist() == [[row // 2, column // 2]]
    seen = windows(ShiftedDeconv(1, 4, 3), 3)
    assert seen[3, 2].nonzero().tolist() == [[1, 1]]
    assert seen[3, 3].nonzero().tolist() == [[1, 1], [1, 2]]
    assert seen[3, 5].nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "layer", [ShiftedConv(3, 5, (2, 3), "down"), ShiftedDeconv(3, 5, 3), PointwiseConv(3, 5)], ids=lambda x: type(x)
)
def test_the_gain_is_the_norm_of_what_leads_to_an_output(layer):
    assert torch.allclose(layer.weight(), layer.direction), "the weight is the direction before anything has set it"
    with torch.no_grad():
        layer.gain.copy_(torch.arange(1.0, 6.0))
    weight = layer.weight().transpose(0, layer.output_dim).flatten(1)
    assert torch.allclose(weight.norm(dim=1), torch.arange(1.0, 6.0))
    direction = layer.direction.transpose(0, layer.output_dim).flatten(1)
    assert torch.allclose(torch.cosine_similarity(weight, direction), torch.ones(5))


def test_layers_start_from_the_statistics_that_they_are_given():
    torch.manual_seed(0)
    network = SMALL((3, 8, 8), 12).eval()
    image = torch.rand(20, 3, 8, 8) * 2 - 1
    before = {name: value.clone() for name, value in network.named_parameters()}
    values = start_from_data(network, lambda: network(image))
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters()), "something was changed"
    normalized = {name for name, part in network.named_modules() if isinstance(part, WeightNormalized)}
    assert values.keys() == {f"{name}.{part}" for name in normalized for part in ("gain", "bias")}
    network.load_state_dict(values, strict=False)
    outputs = {}
    for name in normalized:
        part = network.get_submodule(name)
        part.register_forward_hook(lambda part, _, given, name=name: outputs.update({name: given}))
    network(image)
    for name, given in outputs.items():
        scale = network.get_submodule(name).init_scale
        assert scale == (0.1 if name.endswith(".second") else 1.0)
        assert given.mean((0, 2, 3)).abs().max() < 1e-3
        assert torch.allclose(given.std((0, 2, 3), correction=0), torch.tensor(scale), rtol=1e-3)


def test_a_start_from_parts_of_the_data_is_that_from_all_of_it():
    """Two ranks' statistics, averaged layer by layer, as ranks would exchange them."""
    torch.manual_seed(0)
    network = nn.Sequential(PointwiseConv(2, 4), nn.Tanh(), PointwiseConv(4, 3)).double()
    image = torch.randn(8, 2, 4, 4, dtype=torch.float64)
    whole = start_from_data(network, lambda: network(image))
    shared = []  # what a rank's first part would have sent, found with the averages so far
    for _ in range(4):
        sent = []
        for part in image.chunk(2):
            values = iter(shared)

            def average(value, values=values, mine=sent):
                known = next(values, None)
                if known is None:
                    mine.append(value)
                    raise StopIteration
                return known

            with pytest.raises(StopIteration):
                start_from_data(network, lambda part=part: network(part), average)
        shared.append(torch.stack(sent).mean(0))
    values = iter(shared)
    found = start_from_data(network, lambda: network(image[:4]), lambda _: next(values))
    assert all(torch.allclose(found[name], whole[name], rtol=1e-9) for name in whole)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"image_shape": (1, 6, 8)}, "num_resolutions: got 3 for images of 6x8, allowed are sides that are multiples"),
        ({"num_blocks": 0}, "num_blocks: got 0, allowed is 1 or more"),
        ({"dropout": 1.0}, "dropout: got 1.0, allowed is 0 or more and less than 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        PixelCNNPPNetwork(**{"image_shape": (1, 8, 8), "num_parameters": 1, "channels": 2, **arguments})
    with pytest.raises(ValueError, match="shift: got 'up'"):
        ShiftedConv(1, 1, (2, 3), "up")
