"""Networks that predict each value from the ones before it: what they see, and that their caches say the same."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch

from pl_genmodels.layers import MaskedConv2d
from pl_genmodels.losses import Bernoulli, Categorical
from pl_genmodels.models.autoregressive.pixel_cnn import PixelCNN
from pl_genmodels.networks import GatedPixelCNNNetwork, MADENetwork, NADENetwork, PixelCNNNetwork
from tests.small_pixels import all_images, dependence, draw_cached, draw_naively, with_random_weights

SMALL = {
    "fvbn": functools.partial(MADENetwork, num_layers=0),
    "made": functools.partial(MADENetwork, hidden_dim=11, num_layers=2),
    "made_wide": functools.partial(MADENetwork, hidden_dim=90, num_layers=1, direct=False),
    "nade": functools.partial(NADENetwork, hidden_dim=9),
    "pixel_cnn": functools.partial(PixelCNNNetwork, channels=7, num_blocks=3, head_channels=5),
    "gated_pixel_cnn": functools.partial(GatedPixelCNNNetwork, channels=7, num_layers=3, head_channels=5),
}
networks = pytest.mark.parametrize("network", SMALL.values(), ids=SMALL)


def share_of_past(seen):
    """Share of the earlier values that parameters depend on."""
    size = len(seen)
    return int(seen.tril(-1).sum()) / (size * (size - 1) / 2)


@networks
@pytest.mark.parametrize("colours", [1, 3])
def test_no_value_sees_itself_or_what_comes_later(network, colours):
    torch.manual_seed(0)
    size = 5 if colours == 1 else 3
    seen = dependence(network((colours, size, size), 2 * colours))
    assert not seen.triu().any()
    if colours == 3:  # blue sees red and green of its own pixel, green sees red
        blocks = seen.view(9, 3, 9, 3)
        assert all(blocks[pixel, channel, pixel, :channel].all() for pixel in range(9) for channel in range(3))
    assert seen.any(1)[1:].all(), "a value depends on nothing"


def reached(height, width, num_blocks):
    """Which pixels a 7x7 kernel of kind A and then 3x3 ones of kind B connect, counted from the kernels alone."""

    def taps(reach, itself):
        above = list(itertools.product(range(-reach, 0), range(-reach, reach + 1)))
        return above + [(0, shift) for shift in range(-reach, itself)]

    size = height * width
    links = {}
    for reach, itself in ((3, 0), (1, 1)):
        links[reach] = torch.zeros(size, size)
        for row, column in itertools.product(range(height), range(width)):
            for down, right in taps(reach, itself):
                if 0 <= row + down < height and 0 <= column + right < width:
                    links[reach][row * width + column, (row + down) * width + column + right] = 1
    whole = links[3]
    for _ in range(num_blocks):
        whole = (links[1] @ whole).clamp(max=1)
    return whole > 0


def test_pixel_cnn_has_the_blind_spot_of_its_kernels_and_no_other():
    torch.manual_seed(0)
    seen = dependence(PixelCNNNetwork((1, 8, 8), 1, channels=8, num_blocks=4, head_channels=8))
    assert torch.equal(seen, reached(8, 8, 4))
    assert share_of_past(seen) == pytest.approx(0.938, abs=5e-4)
    assert torch.equal(reached(8, 8, 4), reached(8, 8, 12)), "more layers see more"


@pytest.mark.parametrize("name", ["fvbn", "made", "nade"])
def test_networks_of_vectors_see_all_of_the_past(name):
    torch.manual_seed(0)
    for shape in ((1, 8, 8), (3, 3, 3)):
        assert share_of_past(dependence(SMALL[name](shape, 2 * shape[0]))) == 1


def ranks(network):
    """Which value comes how late, values being counted pixel by pixel."""
    channels, _, width = network.image_shape
    order = torch.tensor([(row * width + column) * channels + channel for row, column, channel in network.places()])
    return order.argsort()


@pytest.mark.parametrize("options", [{}, {"any_order": True}, {"any_order": True, "direct": False}], ids=str)
@pytest.mark.parametrize("shape", [(1, 3, 4), (3, 2, 2)])
def test_every_mask_has_its_order_in_which_no_value_sees_itself_or_what_comes_later(shape, options):
    torch.manual_seed(0)
    network = MADENetwork(shape, 2 * shape[0], hidden_dim=70, num_layers=2, num_masks=4, **options)
    orders, connected = set(), set()
    for _ in network.each_mask():
        seen, rank = dependence(network), ranks(network)
        earlier = rank[:, None] > rank
        assert not (seen & ~earlier).any()
        assert torch.equal(seen, earlier) or not options.get("direct", True)
        orders.add(tuple(rank.tolist()))
        connected.add(tuple(network.output.mask.flatten().tolist()))
    assert len(orders) == (4 if options else 1)
    assert len(connected) == 4
    assert network.mask == 0
    assert torch.equal(ranks(network), torch.arange(12))


def test_gated_pixel_cnn_sees_all_of_the_past():
    torch.manual_seed(0)
    network = GatedPixelCNNNetwork((1, 8, 8), 1, 2, channels=8, num_layers=4, head_channels=8)
    assert share_of_past(dependence(network, label=torch.tensor([1]))) == 1
    network = GatedPixelCNNNetwork((3, 3, 3), 6, channels=8, num_layers=4, head_channels=8)
    assert share_of_past(dependence(network)) == 1


@networks
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("shape", "likelihood"), [((1, 5, 7), Bernoulli()), ((3, 4, 3), Categorical(6))])
def test_cached_samples_are_the_naive_ones(network, dtype, shape, likelihood):
    torch.manual_seed(0)
    takes_labels = network.func.takes_labels
    model = PixelCNN(shape, network=network, likelihood=likelihood, num_classes=3 if takes_labels else 0)
    with_random_weights(model.network, 0.8)
    model.to(dtype)
    label = torch.tensor([2, 0, 1, 1]) if takes_labels else None
    samples, seen = draw_cached(model, 4, label=label)
    naive, wanted = draw_naively(model, model.draw_uniforms(4, seed=0), label)
    assert wanted.std() > 0.2, "logits that hardly matter"
    assert torch.equal(samples, naive)
    assert torch.allclose(seen, wanted.double(), rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-10)


@networks
@pytest.mark.parametrize(
    ("shape", "likelihood", "levels"), [((1, 3, 3), Bernoulli(), 2), ((3, 1, 2), Categorical(3), 3)]
)
def test_probabilities_of_all_images_sum_to_one(network, shape, likelihood, levels):
    torch.manual_seed(0)
    model = PixelCNN(shape, network=network, likelihood=likelihood)
    with_random_weights(model.network, 0.8)
    total = model.float().log_likelihood(all_images(levels, *shape).float()).exp().sum()
    assert total == pytest.approx(1, abs=1e-5)


def test_masks_are_applied_in_every_pass():
    """An optimiser fills weights back in that were masked once."""
    conv = MaskedConv2d(6, 6, 3, "A", 3)
    with torch.no_grad():
        conv.weight.fill_(1.0)
        conv.bias.zero_()
        image = torch.zeros(1, 6, 3, 3)
        image[0, :, 1, 1] = 1
        seen = conv(image)[0]
    # two features a colour: of the pixel itself red sees 0, green 2 and blue 4 features
    assert seen[:, 1, 1].tolist() == [0, 0, 2, 2, 4, 4]
    assert seen[:, 1, 2].tolist() == [6] * 6
    assert seen[:, 2].flatten().tolist() == [6] * 18
    assert not seen[:, 0].any()
    assert not seen[:, 1, 0].any()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: MaskedConv2d(3, 2, 3, "B", 3), "channels: got 2, allowed are multiples of 1 from 3 on"),
        (lambda: MaskedConv2d(3, 7, 3, "B", 3, multiple=2), "channels: got 7, allowed are multiples of 2 from 6 on"),
        (lambda: MaskedConv2d(3, 3, 4), "kernel_size: got 4, allowed are odd numbers"),
        (lambda: MaskedConv2d(3, 3, 3, "C"), "kind: got 'C', allowed are 'A' and 'B'"),
        (lambda: PixelCNNNetwork((1, 8, 8), 1, 10), "num_classes: got 10, allowed is 0 with PixelCNNNetwork"),
        (lambda: PixelCNNNetwork((3, 8, 8), 10), "num_parameters: got 10, allowed for PixelCNNNetwork is the same"),
        (lambda: PixelCNNNetwork((1, 8, 8), 1, num_blocks=-1), "num_blocks: got -1"),
        (lambda: GatedPixelCNNNetwork((1, 8, 8), 1, num_layers=-1), "num_layers: got -1"),
        (
            lambda: GatedPixelCNNNetwork((1, 8, 8), 1, kernel_size=1),
            "kernel_size: got 1, allowed are odd numbers from 3",
        ),
        (lambda: MADENetwork((1, 8, 8), 1, hidden_dim=0), "hidden_dim: got 0"),
        (lambda: MADENetwork((1, 8, 8), 1, num_layers=-1), "num_layers: got -1, allowed is 0 or more"),
        (lambda: MADENetwork((1, 8, 8), 1, num_layers=0, direct=False), "num_layers: got 0, allowed is 1 or more"),
        (lambda: MADENetwork((1, 8, 8), 1, num_masks=0), "num_masks: got 0, allowed is 1, and more with"),
        (lambda: MADENetwork((1, 8, 8), 1, num_layers=0, num_masks=2), "num_masks: got 2, allowed is 1, and more with"),
        (lambda: MADENetwork((1, 8, 8), 1, any_order=True), "any_order: got True, allowed with one mask"),
        (lambda: NADENetwork((1, 8, 8), 1, hidden_dim=0), "hidden_dim: got 0"),
        (lambda: PixelCNNNetwork((64,), 1), r"PixelCNNNetwork: got image_shape \(64,\), allowed are pictures"),
    ],
)
def test_bad_arguments_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
