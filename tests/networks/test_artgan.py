from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.networks import (
    ArtGANClassifier,
    ArtGANDecoder,
    ArtGANGenerator,
    AutoencodingClassifier,
    OverSampledGenerator,
)

SHAPE = (3, 8, 8)
CLASSIFIER = partial(ArtGANClassifier, widths=(4, 6), top_widths=(5, 7), input_noise=0.0, dropout=0.0)


def test_shapes_of_the_authors_at_another_size():
    torch.manual_seed(0)
    small = partial(ArtGANGenerator, channels=6, widths=(5, 4, 3))
    generator = OverSampledGenerator(SHAPE, 4, small)
    assert generator.make.image_shape == (3, 16, 16)
    image = generator(torch.randn(5, 4))
    assert image.shape == (5, *SHAPE)
    assert image.abs().max() <= 1
    network = AutoencodingClassifier(SHAPE, 4, CLASSIFIER, partial(ArtGANDecoder, widths=(6, 5, 4)))
    logits, again = network(image, with_reconstruction=True)
    assert logits.shape == (5, 4)
    assert again.shape == (5, *SHAPE)
    assert again.abs().max() <= 1
    code = network(image, with_features=True)[1][-1]
    assert code.shape == (5, 7, 2, 2)
    (logits.sum() + again.mean() + image.mean()).backward()
    assert all(bool(p.grad.any()) for each in (generator, network) for p in each.parameters())


def test_layers_are_the_authors():
    kinds = {nn.Conv2d: lambda layer: (layer.out_channels, layer.kernel_size[0], layer.stride[0]), nn.Upsample: "up"}
    named = lambda layers: [
        kinds[type(layer)](layer) if type(layer) is nn.Conv2d else "up" for layer in layers if type(layer) in kinds
    ]
    classifier, decoder = ArtGANClassifier((3, 32, 32)), ArtGANDecoder((3, 32, 32), 512 * 64)
    pairs = [(96, 3, 1), (96, 3, 2), (192, 3, 1), (192, 3, 2)]
    assert named(classifier.layers) == [*pairs, (256, 3, 1), (256, 1, 1), (512, 1, 1)]
    assert classifier.classes.in_features == 512 * 8 * 8
    doublings = ["up", (128, 3, 1), (128, 3, 1), "up", (64, 3, 1)]
    assert named(decoder.layers) == [(256, 3, 1), *doublings, (3, 3, 1)]
    made = named(ArtGANGenerator((3, 64, 64), 110).layers)
    assert made == ["up", (256, 3, 1), *doublings, (64, 3, 1), "up", (32, 3, 1), (3, 3, 1)]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (partial(ArtGANClassifier, widths=()), r"widths: got \[\], allowed are 1 or more positive numbers"),
        (partial(ArtGANClassifier, top_widths=(0,)), r"top_widths: got \[0\], allowed are 1 or more"),
        (partial(ArtGANClassifier, widths=(2, 2, 2, 2)), "ArtGANClassifier: got images of 8x8, allowed are multiples"),
        (partial(ArtGANDecoder, latent_dim=16, widths=(3,)), r"widths: got \[3\], allowed are 2 or more"),
        (partial(ArtGANDecoder, latent_dim=9, widths=(3, 3)), "got a code of 9 numbers, allowed are multiples of 16"),
        (partial(ArtGANGenerator, widths=(2,) * 4), "ArtGANGenerator: got images of 8x8, allowed are multiples of 16"),
    ],
)
def test_what_they_are_not_made_for(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(SHAPE)
