"""Introspective adversarial networks: terms written out, which of them reaches whom, and networks."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from pl_genmodels.losses import kl_normal, orthogonality
from pl_genmodels.models.inference_gan.ian import GENERATED, IAN, REAL, RECONSTRUCTED
from pl_genmodels.networks import ClassDiscriminator, IANDiscriminator, IANGenerator, MLPDiscriminator, MLPEncoder

SHAPE, COUNT, DIM = (1, 16, 16), 6, 3
NETWORKS = {
    "generator": partial(IANGenerator, latent_dim=DIM, widths=(4, 4, 4)),
    "encoder": partial(MLPEncoder, hidden_dim=8),
    "discriminator": partial(IANDiscriminator, widths=(4, 6), num_kernels=5),
}
PLAYERS = ("discriminator", "generator", "encoder")
W = {
    "reconstruction_weight": 3.0,
    "feature_weight": 5.0,
    "adversarial_weight": 7.0,
    "kl_weight": 11.0,
    "orthogonal_weight": 0.13,
}


def small(**arguments):
    torch.manual_seed(0)
    return IAN(SHAPE, **{**NETWORKS, **W, **arguments}).double()


def batch():
    return {"image": torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0)).double() * 2 - 1}


def played(model):
    drawn = model.draw(batch())
    return drawn, {player: getattr(model, f"{player}_terms")(drawn, {}) for player in model.players}


def named(model, images, kind):
    logits, features = model.discriminator.classify(images)
    three = torch.cat([logits, torch.zeros(len(logits), 1)], 1)
    return F.cross_entropy(three, torch.full((len(images),), kind), reduction="none"), features


def test_terms():
    model = small()
    drawn, found = played(model)
    image = drawn["image"]
    real, features = named(model, image, REAL)
    mean, log_deviation = model.encoder(features[-1].flatten(1)).chunk(2, 1)
    again, sample = model.generator(mean + log_deviation.exp() * drawn["noise"]), model.generator(drawn["latent"])
    fooled, found_features = named(model, again, REAL)
    errors = [(a - b).square().flatten(1).mean(1) for a, b in zip(features, found_features, strict=True)]
    assert len(errors) == 2
    shared = {
        "reconstruction": 3 * 2 * (again - image).abs().flatten(1).mean(1),
        "features": 5 * sum(errors) / 2,
        "adversarial_reconstruction": 7 * fooled,
    }
    expected = {
        "discriminator": {
            "real": real,
            "reconstruction": named(model, again, RECONSTRUCTED)[0],
            "generated": named(model, sample, GENERATED)[0],
            "orthogonality": 0.13 * orthogonality(model.discriminator).expand(COUNT),
        },
        "generator": {
            **shared,
            "adversarial": 7 * named(model, sample, REAL)[0],
            "orthogonality": 0.13 * orthogonality(model.generator).expand(COUNT),
        },
        "encoder": {**shared, "kl": 11 * kl_normal(mean, 2 * log_deviation) / DIM},
    }
    for player, terms in expected.items():
        assert found[player].keys() == terms.keys()
        for name, value in terms.items():
            torch.testing.assert_close(found[player][name], value, msg=f"{player} {name}")


def test_the_trunk_learns_from_the_discriminator_alone():
    """Gradients in each player's turn, of each term by itself."""
    model = small()
    drawn = model.draw(batch())
    for player in PLAYERS:
        with model.turn(player):
            terms = getattr(model, f"{player}_terms")(drawn, {})
            for name, term in terms.items():
                model.zero_grad()
                term.sum().backward(retain_graph=True)
                networks = {each: list(getattr(model, each).parameters()) for each in PLAYERS}
                reached = {each for each, weights in networks.items() if any(p.grad is not None for p in weights)}
                assert reached == {player}, name


def test_codes_pass_the_trunk_without_a_graph():
    """Whoever calls it: neither the divergence nor a reconstruction's code has a way into the trunk."""
    model = small()
    drawn = model.draw(batch())
    mean, log_deviation = model.law(drawn["image"])
    weights = list(model.discriminator.parameters())
    found = torch.autograd.grad((mean + log_deviation).sum(), weights, allow_unused=True)
    assert all(gradient is None for gradient in found)
    terms = model.discriminator_terms(drawn, {})
    for network in (model.generator, model.encoder):
        found = torch.autograd.grad(
            sum(term.sum() for term in terms.values()), list(network.parameters()), allow_unused=True, retain_graph=True
        )
        assert all(gradient is None for gradient in found)


def test_three_classes():
    model = small().eval()
    said, features = model.look(batch()["image"])
    torch.testing.assert_close(said.exp().sum(1), torch.ones(COUNT).double())
    assert [layer.shape[1:] for layer in features] == [(4, 8, 8), (6, 4, 4)]
    probability = said[:, REAL].exp()
    torch.testing.assert_close(model.judge(batch()["image"]).sigmoid(), probability)


def test_codes_there_and_back():
    model = small()
    image = batch()["image"]
    model.eval()
    assert torch.equal(model.encode(image), model.law(image)[0])
    model.train()
    assert torch.equal(model.reconstruct(image), model.decode(model.encode(image)))
    assert model.discriminator.training


def test_any_discriminator_with_features_will_do():
    judge = partial(ClassDiscriminator, num_classes=2, discriminator=partial(MLPDiscriminator, hidden_dim=8))
    model = small(discriminator=judge, orthogonal_weight=0.0)
    _, found = played(model)
    assert not any("orthogonality" in terms for terms in found.values())
    assert model.encode(batch()["image"]).shape == (COUNT, DIM)


# ---- networks and what is refused


@pytest.mark.parametrize("channels", [1, 3])
def test_values_are_means_of_beta_laws(channels):
    torch.manual_seed(0)
    generator = IANGenerator((channels, 16, 16), latent_dim=3, widths=(4, 4, 4))
    images = generator(torch.randn(5, 3))
    assert images.shape == (5, channels, 16, 16)
    assert images.abs().max() < 1
    assert len(generator.end.earlier) == channels - 1
    maps = torch.randn(2, 4, 8, 8, requires_grad=True)
    own = generator.end.own(maps)[:, :2].sigmoid()
    expected = 2 * own[:, :1] / own.sum(1, keepdim=True) - 1
    torch.testing.assert_close(generator.end(maps)[:, :1], expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(small, kl_weight=-1.0), "kl_weight: got -1.0, allowed is 0 or more"),
        (
            partial(small, discriminator=ClassDiscriminator),
            "num_classes: got 10, allowed for the discriminator of an IAN",
        ),
        (partial(IANGenerator, (1, 20, 20), widths=(4, 4, 4, 4)), "IANGenerator: got images of 20x20 .* 8 divides"),
    ],
)
def test_says_what_it_takes(make, message):
    with pytest.raises(ValueError, match=message):
        make()
