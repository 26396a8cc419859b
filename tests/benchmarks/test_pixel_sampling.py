"""Sampling pixel by pixel through a cache, against a pass of the whole network for every value."""

from __future__ import annotations

from functools import partial
from statistics import median

import pytest
import torch

from pl_genmodels.losses import Bernoulli, Categorical
from pl_genmodels.models.autoregressive.gated_pixel_cnn import GatedPixelCNN
from pl_genmodels.models.autoregressive.pixel_cnn import PixelCNN
from pl_genmodels.networks import GatedPixelCNNNetwork, PixelCNNNetwork
from tests.benchmarks.timing import seconds

LAYERS, CHANNELS, ROUNDS = 12, 32, 3
PASSES = 4  # of the naive way that are timed; its time is that of so many times the number of values


def pixel_cnn(shape, likelihood):
    network = partial(PixelCNNNetwork, channels=CHANNELS, num_blocks=LAYERS, head_channels=CHANNELS)
    return PixelCNN(shape, network=network, likelihood=likelihood)


def gated_pixel_cnn(shape, likelihood):
    network = partial(GatedPixelCNNNetwork, channels=CHANNELS, num_layers=LAYERS - 1, head_channels=CHANNELS)
    return GatedPixelCNN(shape, network=network, likelihood=likelihood)


def ratio_of(model, batch, device):
    """Time of all values of a batch through the cache, over that of one pass for each of them."""
    model = model.to(device).eval()
    channels, height, width = model.network.image_shape
    image = torch.zeros(batch, channels, height, width, device=device)
    uniforms = model.draw_uniforms(batch, seed=0)[:, 0, 0, :1]
    each = model.network.num_parameters // channels

    @torch.inference_mode()
    def one_value():
        parameters = model.network(image)[:, :each, 0, 0]
        image[:, :1, 0, 0] = model.likelihood.draw(parameters, uniforms)

    def ratio():
        naive = seconds(one_value, device, PASSES) * channels * height * width
        return seconds(lambda: model.sample(batch, seed=0), device) / naive

    return median([ratio() for _ in range(ROUNDS + 1)][1:])


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("make", "likelihood", "shape", "batch", "bound"),
    [
        (pixel_cnn, Bernoulli(), (1, 32, 32), 16, "<= 0.02"),
        (pixel_cnn, Bernoulli(), (1, 32, 32), 64, "<= 0.01"),
        (pixel_cnn, Categorical(), (3, 32, 32), 16, "<= 0.02"),
        (pixel_cnn, Bernoulli(), (1, 16, 16), 16, ""),
        (pixel_cnn, Bernoulli(), (1, 64, 64), 16, ""),
        (gated_pixel_cnn, Bernoulli(), (1, 28, 28), 1, "<= 0.2"),
        (gated_pixel_cnn, Bernoulli(), (1, 28, 28), 16, "<= 0.05"),
    ],
)
def test_a_cache_makes_sampling_fast(make, likelihood, shape, batch, bound, device, measured):
    ratio = ratio_of(make(shape, likelihood), batch, device)
    size = "x".join(map(str, shape))
    setting = f"{make.__name__}, {LAYERS} layers of {CHANNELS}, {size}, batch {batch}; naive: {PASSES} passes, scaled"
    assert measured("sampling pixels", "cached", "naive", ratio, bound, unit="time", setting=setting).holds
