"""The recurrent networks of PixelRNN: what they see, and that the caches say the same."""

from __future__ import annotations

import functools

import pytest
import torch

from pl_genmodels.layers.pixel_lstm import DiagonalLSTM, RowLSTM, skew, unskew
from pl_genmodels.losses import Bernoulli, Categorical
from pl_genmodels.models.autoregressive.pixel_rnn import PixelRNN
from pl_genmodels.networks import DiagonalBiLSTMNetwork, RowLSTMNetwork
from tests.small_pixels import all_images, dependence, draw_cached, draw_naively, with_random_weights

SMALL = {
    "row": functools.partial(RowLSTMNetwork, channels=4, num_layers=2, head_channels=5),
    "diagonal": functools.partial(DiagonalBiLSTMNetwork, channels=4, num_layers=2, head_channels=5),
}
networks = pytest.mark.parametrize("network", SMALL.values(), ids=SMALL)


def missing(seen):
    """Pairs of a value and an earlier one that it does not depend on."""
    return set(map(tuple, (~seen).tril(-1).nonzero().tolist()))


@networks
def test_no_value_sees_itself_or_what_comes_later(network):
    torch.manual_seed(0)
    assert not dependence(network((1, 5, 6), 2)).triu().any()
    seen = dependence(network((3, 3, 3), 6))
    assert not seen.triu().any()
    blocks = seen.view(9, 3, 9, 3)  # blue sees red and green of its own pixel, green sees red
    assert all(blocks[pixel, channel, pixel, :channel].all() for pixel in range(9) for channel in range(3))


@pytest.mark.parametrize(("num_layers", "share"), [(2, 0.923), (8, 0.938)])
def test_row_lstm_sees_a_triangle(num_layers, share):
    torch.manual_seed(0)
    seen = dependence(RowLSTMNetwork((1, 8, 8), 1, channels=4, num_layers=num_layers, head_channels=4), draws=2)
    assert 1 - len(missing(seen)) / (64 * 63 / 2) == pytest.approx(share, abs=5e-4)


def test_diagonal_bilstm_misses_exactly_the_last_pixels_of_the_rows_above():
    """The first convolution reaches 3 columns to the right; from further left a row's last pixel is not in sight."""
    torch.manual_seed(0)
    found = missing(dependence(SMALL["diagonal"]((1, 8, 8), 1)))
    assert found == {(row * 8 + column, row * 8 - 1) for row in range(1, 8) for column in range(4)}
    assert len(found) == 28


@networks
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("shape", "likelihood"), [((1, 4, 5), Bernoulli()), ((3, 3, 2), Categorical(6))])
def test_cached_samples_are_the_naive_ones(network, dtype, shape, likelihood):
    torch.manual_seed(0)
    model = PixelRNN(shape, network=network, likelihood=likelihood)
    with_random_weights(model.network, 0.8)
    model.to(dtype)
    samples, seen = draw_cached(model, 4)
    naive, wanted = draw_naively(model, model.draw_uniforms(4, seed=0))
    assert wanted.std() > 0.2, "logits that hardly matter"
    assert torch.equal(samples, naive)
    assert torch.allclose(seen, wanted.double(), rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-10)


@networks
def test_probabilities_of_all_images_sum_to_one(network):
    torch.manual_seed(0)
    for shape, likelihood, levels in (((1, 3, 3), Bernoulli(), 2), ((3, 1, 2), Categorical(3), 3)):
        model = PixelRNN(shape, network=network, likelihood=likelihood)
        with_random_weights(model.network, 0.8)
        total = model.float().log_likelihood(all_images(levels, *shape).float()).exp().sum()
        assert total == pytest.approx(1, abs=1e-5)


def test_skewing_moves_each_row_one_further_and_back():
    features = torch.randn(2, 3, 4, 5)
    skewed = skew(features)
    assert skewed.shape == (2, 3, 4, 8)
    for row in range(4):
        assert torch.equal(skewed[:, :, row, row : row + 5], features[:, :, row])
        assert not skewed[:, :, row, :row].any()
        assert not skewed[:, :, row, row + 5 :].any()
    assert torch.equal(unskew(skewed), features)


def plain_step(layer, gates, cell):
    """One pixel's LSTM step, its units' four numbers side by side."""
    output, keep, write, content = gates.view(-1, 4).T
    cell = keep.sigmoid() * cell + write.sigmoid() * content.tanh()
    return output.sigmoid() * cell.tanh(), cell


def test_diagonals_are_the_recursion_over_left_and_upper_neighbours():
    torch.manual_seed(0)
    layer = with_random_weights(DiagonalLSTM(3, 2, 1))
    features = torch.randn(1, 3, 4, 5, dtype=torch.float64)
    given, gates = layer(features)[0], layer.from_input(features)[0]
    states = {}
    for row in range(4):
        for column in range(5):
            left, cell = states.get((row, column - 1), tuple(layer.start))
            above, _ = states.get((row - 1, column), tuple(layer.start))
            total = gates[:, row, column] + layer.from_left(left) + layer.from_above(above)
            states[row, column] = plain_step(layer, total, cell)
            assert torch.allclose(given[:, row, column], states[row, column][0], atol=1e-12)


def test_rows_are_the_recursion_over_the_row_above():
    torch.manual_seed(0)
    layer = with_random_weights(RowLSTM(3, 2, 1))
    features = torch.randn(1, 3, 4, 5, dtype=torch.float64)
    given, gates = layer(features)[0], layer.from_input(features)[0]
    zero = torch.zeros(2, dtype=torch.float64)
    states = {(-1, column): tuple(layer.start) for column in range(5)}
    for row in range(4):
        for column in range(5):
            total = gates[:, row, column]
            for tap in range(3):
                above, _ = states.get((row - 1, column + tap - 1), (zero, zero))
                total = total + layer.from_above.weight[:, :, tap] @ above
            states[row, column] = plain_step(layer, total, states[row - 1, column][1])
            assert torch.allclose(given[:, row, column], states[row, column][0], atol=1e-12)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="num_layers: got 0, allowed is 1 or more"):
        RowLSTMNetwork((1, 8, 8), 1, num_layers=0)
    with pytest.raises(ValueError, match="channels: got 8, allowed are multiples of 4 from 12 on"):
        DiagonalBiLSTMNetwork((3, 8, 8), 3, channels=2)
