from functools import partial

import pytest
import torch
import torch.nn.functional as F

from pl_genmodels.losses import R1
from pl_genmodels.networks import (
    ClassDiscriminator,
    Classifier,
    ConvClassifier,
    DCGANDiscriminator,
    MLPClassifier,
    ResNetDiscriminator,
)

MAKERS = {
    "mlp": partial(MLPClassifier, num_classes=4, hidden_dims=(8, 6)),
    "weight_norm": partial(MLPClassifier, num_classes=4, hidden_dims=(8, 6), weight_norm=True),
    "convolutions": partial(ConvClassifier, num_classes=4, widths=(4, 6)),
    "dcgan": partial(
        ClassDiscriminator, num_classes=4, discriminator=partial(DCGANDiscriminator, channels=4, batch_norm=False)
    ),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_generated_samples_are_one_class_more(kind):
    """A softmax over the classes and a 0 is sigma(Z) times the classes' own softmax, and sigma(-Z) for the 0."""
    torch.manual_seed(0)
    network, images = MAKERS[kind]((1, 8, 8)).double().eval(), torch.randn(5, 1, 8, 8).double()
    assert isinstance(network, Classifier)
    logits, logit = network(images, with_classes=True), network(images)
    assert logits.shape == (5, 4)
    assert logit.shape == (5,)
    whole = torch.cat([logits, torch.zeros(5, 1).double()], 1).softmax(1)
    assert torch.allclose(whole[:, :4], logit.sigmoid()[:, None] * logits.softmax(1))
    assert torch.allclose(whole[:, 4], (-logit).sigmoid())
    same, features = network(images, with_features=True)
    assert torch.equal(same, logit)
    assert all(len(feature) == 5 for feature in features)
    again, _ = network(images, with_features=True, with_classes=True)
    assert torch.equal(again, logits)


@pytest.mark.parametrize("kind", MAKERS)
def test_every_parameter_learns_from_either_answer(kind):
    torch.manual_seed(0)
    network, images = MAKERS[kind]((1, 8, 8)), torch.randn(5, 1, 8, 8)
    (F.cross_entropy(network(images, with_classes=True), torch.arange(5) % 4) + network(images).mean()).backward()
    assert all(bool(parameter.grad.any()) for parameter in network.parameters())
    R1()(network, images, images).sum().backward()


def test_noise_is_for_training_and_lies_before_each_layer():
    network, images = MLPClassifier((3,), 4, (8, 6), input_noise=1.0, hidden_noise=2.0), torch.zeros(5, 3)
    layers = [type(layer).__name__ for layer in network.layers]
    assert layers == [*["GaussianNoise", "Linear", "ReLU"] * 2, "GaussianNoise", "Linear"]
    assert [layer.std for layer in network.layers if hasattr(layer, "std")] == [1, 2, 2]
    assert not torch.equal(network(images), network(images))
    assert torch.equal(network.eval()(images), network(images))
    wide = network.layers[0].train()(torch.zeros(100_000, 1))
    assert wide.std().item() == pytest.approx(1, abs=0.02)


def test_a_weight_of_another_length_is_the_same_layer():
    torch.manual_seed(0)
    layer, features = MLPClassifier((3,), 4, (8,), weight_norm=True).layers[1], torch.randn(5, 3)
    before = layer(features)
    assert torch.allclose(layer.weight().norm(dim=1), layer.gain)
    with torch.no_grad():
        layer.direction.mul_(7)
    assert torch.allclose(layer(features), before, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (partial(MLPClassifier, num_classes=1), "num_classes: got 1, allowed is 2 or more"),
        (partial(MLPClassifier, hidden_dims=()), r"hidden_dims: got \[\], allowed are one or more positive numbers"),
        (partial(ConvClassifier, widths=(4, 0)), r"widths: got \[4, 0\], allowed are one or more positive numbers"),
        (partial(MLPClassifier, hidden_noise=-1.0), "std: got -1.0, allowed is 0 or more"),
        (
            partial(ClassDiscriminator, discriminator=partial(ResNetDiscriminator, channels=8)),
            "discriminator: got ResNetDiscriminator, which does not give the features",
        ),
    ],
)
def test_what_no_classifier_is(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make((3, 32, 32))
