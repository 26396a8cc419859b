"""CVAE-GAN: terms written out, and which of them reaches whom."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from pl_genmodels.layers import Labels
from pl_genmodels.losses import kl_normal
from pl_genmodels.models.inference_gan.cvae_gan import CVAEGAN
from pl_genmodels.networks import (
    ConcatGenerator,
    ConvDiscriminator,
    MLPClassifier,
    MLPDiscriminator,
    MLPEncoder,
    MLPGenerator,
)

SHAPE, COUNT, DIM, CLASSES = (1, 8, 8), 6, 3, 4
QUIET = {"hidden_dims": (8, 5), "input_noise": 0.0, "hidden_noise": 0.0}
NETWORKS = {
    "generator": partial(ConcatGenerator, latent_dim=DIM, generator=partial(MLPGenerator, hidden_dim=8)),
    "encoder": partial(MLPEncoder, hidden_dim=8),
    "discriminator": partial(MLPDiscriminator, hidden_dim=8),
    "classifier": partial(MLPClassifier, num_classes=CLASSES, **QUIET),
}
PLAYERS = ("encoder", "classifier", "discriminator", "generator")
L1, L2, L3, L4 = 3.0, 5.0, 7.0, 11.0


def small(**arguments):
    torch.manual_seed(0)
    weights = {"kl_weight": L1, "reconstruction_weight": L2, "mean_weight": L3, "class_mean_weight": L4}
    return CVAEGAN(SHAPE, condition=Labels(CLASSES), **{**NETWORKS, **weights, **arguments}).double()


def batch():
    image = torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    return {"image": image, "label": torch.tensor([0, 1, 1, 3, 0, 1])}  # nobody is of class 2


def squares(difference):
    return difference.square().flatten(1).sum(1)


def features(network, images):
    return network(images, with_features=True)[1][-1]


def terms(model, player, drawn):
    return getattr(model, f"{player}_terms")(drawn, model.generate(drawn))


def test_terms():
    model = small()
    drawn = model.draw(batch())
    image, label, condition = drawn["image"], drawn["label"], drawn["condition"]
    assert torch.equal(condition, F.one_hot(label, CLASSES).to(condition))
    told = torch.cat([image, (condition.double() @ model.plane.weight).reshape(COUNT, 1, 8, 8)], 1)
    mean, log_deviation = model.encoder(told).chunk(2, 1)
    again = model.generator(mean + log_deviation.exp() * drawn["noise"], condition)
    fake = model.generator(drawn["latent"], condition)
    d_real, d_again, d_fake = (features(model.discriminator, images) for images in (image, again, fake))
    c_real, c_again, c_fake = (features(model.classifier, images) for images in (image, again, fake))
    pairwise = {
        "pixels": L2 / 2 * squares(image - again),
        "discriminator_features": L2 / 2 * squares(d_real - d_again),
        "classifier_features": L2 / 2 * squares(c_real - c_again),
    }
    classes = [c_real[label == one].mean(0) - c_fake[label == one].mean(0) for one in (0, 1, 3)]
    judge = model.discriminator
    expected = {
        "encoder": {"kl": L1 * kl_normal(mean, 2 * log_deviation), **pairwise},
        "classifier": {"class": F.cross_entropy(model.classifier(image, with_classes=True), label, reduction="none")},
        "discriminator": {
            "real": F.softplus(-judge(image)),
            "reconstruction": F.softplus(judge(again)),
            "sample": F.softplus(judge(fake)),
        },
        "generator": {
            **pairwise,
            "means": (L3 / 2 * (d_real.mean(0) - d_fake.mean(0)).square().sum()).expand(COUNT),
            "class_means": (L4 / 2 * sum(each.square().sum() for each in classes)).expand(COUNT),
        },
    }
    for player, named in expected.items():
        found = terms(model, player, drawn)
        assert found.keys() == named.keys()
        for name, value in named.items():
            torch.testing.assert_close(found[name], value, msg=f"{player} {name}")


def test_each_term_reaches_its_player_alone():
    """In its turn: the encoder hears of no means, the generator of no classes and no divergence."""
    model = small()
    drawn = model.draw(batch())
    for player in PLAYERS:
        with model.turn(player):
            for name, term in terms(model, player, drawn).items():
                model.zero_grad()
                term.sum().backward(retain_graph=True)
                networks = {each: model.parameters_of(each) for each in PLAYERS}
                reached = {each for each, weights in networks.items() if any(p.grad is not None for p in weights)}
                assert reached == {player}, name
                if name != "kl":  # which the encoder's last layer alone need not move
                    assert any(p.grad.abs().max() > 0 for p in networks[player] if p.grad is not None)


def test_no_term_of_the_generator_reaches_the_encoder_by_itself():
    model = small()
    drawn = model.draw(batch())
    weights = model.parameters_of("encoder")
    for term in terms(model, "generator", drawn).values():
        found = torch.autograd.grad(term.sum(), weights, allow_unused=True, retain_graph=True)
        assert all(gradient is None for gradient in found)


def test_codes_there_and_back():
    model = small()
    given = batch()
    image, label = given["image"], given["label"]
    codes = model.encode(image, label)
    assert torch.equal(codes, model.law(image, model.condition.vectors(label))[0])
    assert torch.equal(model.reconstruct(image, label), model.decode(codes, label))
    assert not torch.allclose(codes, model.encode(image, 2))
    guessed = model.classify(image)
    assert torch.equal(guessed, model.classifier(image, with_classes=True).argmax(1))
    assert torch.equal(model.encode(image), model.encode(image, guessed))
    assert torch.equal(model.reconstruct(image), model.reconstruct(image, guessed))
    assert model.sample(5, label=3, seed=0).shape == (5, *SHAPE)


def test_points_have_labels_too():
    torch.manual_seed(0)
    model = CVAEGAN((2,), condition=Labels(CLASSES), **NETWORKS)
    assert model.encode(torch.randn(COUNT, 2), batch()["label"]).shape == (COUNT, DIM)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(small, kl_weight=-1.0), "kl_weight: got -1.0, allowed is 0 or more"),
        (partial(small, classifier=MLPClassifier), "num_classes: got 10, allowed for the classifier is 4"),
        (partial(small, discriminator=ConvDiscriminator), "discriminator: got ConvDiscriminator, which does not give"),
    ],
)
def test_says_what_it_takes(make, message):
    with pytest.raises(ValueError, match=message):
        make()
