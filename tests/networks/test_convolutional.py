"""Convolutional encoders and decoders: shapes, reach, sizes they refuse, and their way into a model."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.losses import Gaussian
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import BEGANDecoder, BEGANEncoder, ConvDecoder, ConvEncoder, DecoderGenerator

SIDES = [8, 14, 16, 28, 32, 56, 64]


@pytest.mark.parametrize("side", SIDES)
def test_round_trip_and_every_pixel_counts(side):
    torch.manual_seed(0)
    encoder = ConvEncoder((3, side, side), 5, channels=4, hidden_dim=32)
    decoder = ConvDecoder((6, side, side), 5, channels=4, hidden_dim=32)
    image = torch.randn(16, 3, side, side, requires_grad=True)  # in a single one a corner may meet dead units only
    features = encoder(image)
    assert features.shape == (16, 5)
    gradient = torch.autograd.grad(features.sum(), image)[0]
    assert (gradient != 0).any(0).all(), "pixels that no feature sees"
    assert decoder(features).shape == (16, 6, side, side)
    latents = torch.randn(64, 5)
    assert (decoder(latents).std(0) > 0).all(), "values that no latent changes"


def test_rows_do_not_see_each_other():
    encoder, decoder = ConvEncoder((1, 8, 8), 5, channels=4), ConvDecoder((1, 8, 8), 5, channels=4)
    image = torch.randn(6, 1, 8, 8)
    together = decoder(encoder(image))
    assert torch.allclose(together[2:3], decoder(encoder(image[2:3])), atol=1e-5)


@pytest.mark.parametrize(("side", "widths"), [(28, [32, 64]), (32, [32, 64, 128])])
def test_feature_maps_mirror_each_other(side, widths):
    convolutions = [m for m in ConvEncoder((1, side, side), 40).modules() if isinstance(m, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == widths
    transposed = [m for m in ConvDecoder((1, side, side), 20).modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert [layer.in_channels for layer in transposed] == widths[::-1]


@pytest.mark.parametrize("network", [ConvEncoder, ConvDecoder])
@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 7, 7), (1, 12, 12), (1, 30, 30), (1, 16, 32), (2,)])
def test_other_sizes_are_refused(network, shape):
    with pytest.raises(ValueError, match=f"{network.__name__}: got im"):
        network(shape, 3)


def test_a_variational_autoencoder_takes_them():
    networks = {"encoder": ConvEncoder, "decoder": ConvDecoder}
    model = VAE((3, 8, 8), latent_dim=4, likelihood=Gaussian(learned="each"), **networks)
    terms = model.terms({"image": torch.rand(8, 3, 8, 8) * 2 - 1})
    sum(term.mean() for term in terms.values()).backward()
    assert all((p.grad != 0).any() for p in model.parameters() if p.requires_grad)
    assert model.sample(3, seed=0).shape == (3, 3, 8, 8)


@pytest.mark.parametrize("side", [8, 16, 32])
def test_began_networks_mirror_each_other(side):
    """Twice as many feature maps at the second size, three times at the third; the decoder keeps as many everywhere."""
    shape = (2, side, side)
    encoder, decoder = BEGANEncoder(shape, 5, channels=4), BEGANDecoder(shape, 6, channels=4)
    assert encoder(torch.randn(3, *shape)).shape == (3, 5)
    assert decoder(torch.randn(3, 6)).shape == (3, *shape)
    assert DecoderGenerator(shape, 6, partial(BEGANDecoder, channels=4))(torch.randn(3, 6)).shape == (3, *shape)
    widths = [layer.out_channels for layer in encoder.layers if isinstance(layer, nn.Conv2d)]
    assert widths == {8: [4, 4, 4], 16: [4, 4, 8, 8, 8], 32: [4, 4, 8, 8, 12, 12, 12]}[side]
    assert {layer.out_channels for layer in decoder.layers if isinstance(layer, nn.Conv2d)} == {4, 2}
    assert not [layer for layer in (*encoder.layers, *decoder.layers) if isinstance(layer, nn.BatchNorm2d)]


@pytest.mark.parametrize("shape", [(1, 12, 12), (1, 8, 16), (1, 4, 4)])
def test_began_networks_refuse_other_sizes(shape):
    for build in (lambda: BEGANEncoder(shape, 5), lambda: BEGANDecoder(shape, 5)):
        with pytest.raises(ValueError, match=f"got images of {shape[1]}x{shape[2]}, allowed are squares of side 8"):
            build()
