"""AEGAN: an encoder that inverts a generator which has learnt and stays as it is."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.models.inference_gan.aegan import AEGAN
from pl_genmodels.networks import Encoder, Generator, MLPDiscriminator, MLPEncoder, MLPGenerator
from tests.small import Batches, fit

SHAPE, COUNT = (1, 8, 8), 6


def small(**arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(MLPGenerator, latent_dim=4, hidden_dim=8, batch_norm=True),
        "discriminator": partial(MLPDiscriminator, hidden_dim=8),
        "encoder": partial(MLPEncoder, hidden_dim=8, batch_norm=True),
    }
    return AEGAN(SHAPE, **{**networks, **arguments})


def batch():
    return {"image": torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1}


def test_the_error_is_between_generated_images():
    model = small()
    drawn = model.draw(batch())
    buffers = {key: value.clone() for key, value in model.generator.named_buffers()}
    (term,) = model.encoder_terms(drawn, {}).values()
    assert all(torch.equal(value, buffers[key]) for key, value in model.generator.named_buffers())
    assert model.generator.training
    model.generator.eval()
    image = model.generator(drawn["latent"])
    again = model.generator(model.encoder(image))
    assert torch.allclose(term, (again - image).square().flatten(1).mean(1))
    other = {**drawn, "image": -drawn["image"]}
    assert torch.equal(term, model.encoder_terms(other, {})["reconstruction"]), "real images do not matter"


def test_features_of_the_discriminator_are_compared_too():
    judge = partial(MLPDiscriminator, hidden_dim=8, num_layers=2)
    model = small(discriminator=judge, feature_weight=0.5, feature_layer=0)
    drawn = model.draw(batch())
    terms = model.encoder_terms(drawn, {})
    assert torch.equal(terms["reconstruction"], small(discriminator=judge).encoder_terms(drawn, {})["reconstruction"])
    model.generator.eval()
    image = model.generator(drawn["latent"])
    again = model.generator(model.encoder(image))
    first, second = (model.discriminator(each, with_features=True)[1][0] for each in (image, again))
    assert torch.allclose(terms["features"], 0.5 * (first - second).square().mean(1))
    for arguments, message in (
        ({"feature_weight": -1}, "feature_weight: got -1, allowed is 0 or more"),
        ({"feature_weight": 1.0, "feature_layer": 2}, "feature_layer: got 2, allowed are -2 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            small(discriminator=judge, **arguments)


@pytest.mark.parametrize("feature_weight", [0.0, 1.0])
def test_only_the_encoder_learns_from_it(feature_weight):
    model = small(feature_weight=feature_weight)
    with model.turn("encoder"):
        sum(model.encoder_terms(model.draw(batch()), {}).values()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())
    assert all(p.grad is None for network in (model.generator, model.discriminator) for p in network.parameters())


def test_the_generator_stays_bit_for_bit_while_the_encoder_goes_on(tmp_path):
    model = small(gan_updates=2)
    fit(model, Batches([batch()] * 2), tmp_path)
    assert model.frozen
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fit(model, Batches([batch()] * 4), tmp_path)
    changed = {key.split(".")[0] for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"encoder"}


def test_averaged_weights_are_what_is_inverted():
    model = small()
    model.add_average()
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.mul_(2)
    drawn = model.draw(batch())
    (term,) = model.encoder_terms(drawn, {}).values()
    image = model.generator_ema(drawn["latent"])
    again = model.generator_ema(model.encoder(image))
    assert torch.allclose(term, (again - image).square().flatten(1).mean(1))
    assert torch.allclose(model.reconstruct(image), model.generator_ema(model.encoder.eval()(image)))


# ---- a generator that can be inverted

MATRIX = torch.tensor([[2.0, 1.0], [0.0, 1.0]])


class Turned(Generator):
    def __init__(self, image_shape):
        super().__init__(image_shape, 2)
        self.layer = nn.Linear(2, 2, bias=False)
        self.layer.weight.data = MATRIX.clone()

    def forward(self, latent):
        return self.layer(latent)


class Inverse(Encoder):
    def __init__(self, image_shape, num_features):
        super().__init__(image_shape, num_features)
        self.layer = nn.Linear(2, 2, bias=False)
        self.layer.weight.data = MATRIX.inverse()

    def forward(self, image):
        return self.layer(image)


def test_errors_between_images_and_between_latents_share_the_inverse():
    model = AEGAN((2,), generator=Turned, encoder=Inverse, gan_updates=0)
    drawn = model.draw({"image": torch.zeros(64, 2)})
    between_images = model.encoder_terms(drawn, {})["reconstruction"]
    between_latents = (model.encoder(model.generator(drawn["latent"])) - drawn["latent"]).square()
    for error in (between_images, between_latents):
        assert error.max() < 1e-10
        (gradient,) = torch.autograd.grad(error.mean(), model.encoder.layer.weight, retain_graph=True)
        assert gradient.abs().max() < 1e-5
    model.encoder.layer.weight.data += 0.1
    assert model.encoder_terms(drawn, {})["reconstruction"].mean() > 1e-3
