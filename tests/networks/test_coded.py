"""Translators that are told numbers about their picture, and encoders as classifiers."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pl_genmodels.networks import CodedTranslator, EncoderClassifier, MLPEncoder
from pl_genmodels.specs import to_spec


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_every_pixel_depends_on_the_coefficients_and_on_its_own_picture(norm):
    torch.manual_seed(0)
    network = CodedTranslator((3, 16, 24), (1, 16, 24), 4, channels=4, num_halvings=3, norm=norm).eval()
    image, told = torch.randn(2, 3, 16, 24), torch.randn(2, 4, requires_grad=True)
    made = network(image, told)
    assert made.shape == (2, 1, 16, 24)
    assert made.abs().max() <= 1
    (gradient,) = torch.autograd.grad(made[0].sum(), told)
    assert gradient[0].all()
    assert not gradient[1].any()
    assert ((network(image, told + 1) - made).abs() > 0).float().mean() > 0.9
    other = image.clone()
    other[1] = 0
    assert torch.allclose(network(other, told)[0], made[0], atol=1e-6)


def test_a_residual_one_starts_with_the_picture_itself():
    torch.manual_seed(0)
    network = CodedTranslator((3, 16, 16), (3, 16, 16), 4, channels=4, num_halvings=1, norm="none", residual=True)
    image, told = torch.rand(2, 3, 16, 16) * 2 - 1, torch.randn(2, 4)
    assert torch.equal(network(image, told), image)
    torch.nn.init.normal_(network.last[0].weight)
    change = network(image, told) - image
    assert 0 < change.abs().max() <= 2
    with pytest.raises(ValueError, match="residual: got true, allowed is false from 3 to 1 channels"):
        CodedTranslator((3, 16, 16), (1, 16, 16), 4, residual=True)


def test_what_does_not_fit_is_told():
    for arguments, sentence in (
        ({"num_halvings": 0}, "num_halvings: got 0"),
        ({"norm": "layer"}, "norm: got 'layer', allowed are batch and none"),
        ({"num_halvings": 5}, "got pictures of 16x16, allowed are multiples of 32"),
    ):
        with pytest.raises(ValueError, match=sentence):
            CodedTranslator((3, 16, 16), (3, 16, 16), 4, **arguments)


def test_an_encoder_as_a_classifier():
    torch.manual_seed(0)
    make = partial(EncoderClassifier, encoder=partial(MLPEncoder, hidden_dim=4), num_features=5)
    network, image = make((1, 4, 4), 3), torch.randn(2, 1, 4, 4)
    logits, features = network(image, with_features=True, with_classes=True)
    assert torch.equal(features[0], network.encoder(image))
    assert torch.equal(logits, network.classes(features[0]))
    assert torch.equal(network(image), logits.logsumexp(1))
    assert "num_features" not in to_spec(network)["init_args"]["encoder"]["init_args"]
