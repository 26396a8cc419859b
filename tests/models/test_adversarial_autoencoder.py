"""Adversarial autoencoders: three phases, who learns in each, and priors."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from pl_genmodels.losses import Relativistic
from pl_genmodels.models.inference_gan.aae import AAE
from pl_genmodels.networks import (
    MLPDiscriminator,
    MLPEncoder,
    MLPGenerator,
    NormalEncoder,
    RingPrior,
    SwissRollPrior,
)

SHAPE, COUNT, DIM = (1, 8, 8), 6, 2


def small(**arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(MLPGenerator, latent_dim=DIM, hidden_dim=8),
        "encoder": partial(MLPEncoder, hidden_dim=8),
        "discriminator": partial(MLPDiscriminator, hidden_dim=8),
    }
    return AAE(SHAPE, **{**networks, **arguments})


def batch():
    return {"image": torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1}


def test_the_three_phases():
    model = small(reconstruction_weight=3.0)
    drawn = model.draw(batch())
    codes = model.encoder(drawn["image"])
    real, fake = model.discriminator(drawn["latent"]), model.discriminator(codes)
    error = (model.generator(codes) - drawn["image"]).square().flatten(1).mean(1)
    terms = {player: getattr(model, f"{player}_terms")(drawn, model.generate(drawn)) for player in model.players}
    assert torch.allclose(terms["autoencoder"]["reconstruction"], 3 * error)
    assert torch.allclose(terms["discriminator"]["adversarial"], F.softplus(-real) + F.softplus(fake))
    assert torch.allclose(terms["encoder"]["adversarial"], F.softplus(-fake))
    assert all(len(each) == 1 for each in terms.values())


def test_who_learns_in_each_phase():
    model = small()
    networks = {"encoder": model.encoder, "generator": model.generator, "discriminator": model.discriminator}
    learners = {"autoencoder": {"encoder", "generator"}, "discriminator": {"discriminator"}, "encoder": {"encoder"}}
    drawn = model.draw(batch())
    for player, expected in learners.items():
        model.zero_grad()
        with model.turn(player):
            (term,) = getattr(model, f"{player}_terms")(drawn, model.generate(drawn)).values()
            term.sum().backward()
        reached = {name for name, network in networks.items() if all(p.grad is not None for p in network.parameters())}
        touched = {name for name, network in networks.items() if any(p.grad is not None for p in network.parameters())}
        assert reached == touched == expected


def test_a_loss_that_compares_sees_the_priors_draws():
    model = small(loss=Relativistic())
    drawn = model.draw(batch())
    (term,) = model.encoder_terms(drawn, {}).values()
    real, fake = model.discriminator(drawn["latent"]), model.discriminator(model.encoder(drawn["image"]))
    assert torch.allclose(term, model.loss.generator(fake, real))


def test_codes_there_and_back():
    model = small(encoder=partial(NormalEncoder, encoder=partial(MLPEncoder, hidden_dim=8)))
    image = batch()["image"]
    assert torch.equal(model.encode(image), model.encoder.centre(image))
    assert torch.equal(model.reconstruct(image), model.decode(model.encode(image)))
    with pytest.raises(ValueError, match="reconstruction_weight: got 0, allowed is more than 0"):
        small(reconstruction_weight=0)


# ---- priors


def points(prior, number=20_000):
    return prior.sample(number, 2, torch.Generator().manual_seed(0), torch.device("cpu"))


def test_modes_lie_on_a_ring_and_along_its_radii():
    found = points(RingPrior(5, 10.0, 0.5, 0.1))
    angle = torch.atan2(found[:, 1], found[:, 0])
    mode = (angle / math.tau * 5).round()
    assert torch.allclose(torch.bincount(mode.long() % 5) / len(found), torch.tensor(0.2), atol=0.015)
    turned = angle - mode * math.tau / 5
    along, across = found.norm(dim=1) * turned.cos(), found.norm(dim=1) * turned.sin()
    assert along.mean().item() == pytest.approx(10, abs=0.02)
    assert along.std().item() == pytest.approx(0.5, rel=0.03)
    assert across.std().item() == pytest.approx(0.1, rel=0.03)


def test_a_roll_has_two_turns_and_an_even_density_along_squared_radii():
    found = points(SwissRollPrior(3.0))
    root = found.norm(dim=1) / 3
    expected = 3 * root[:, None] * torch.stack([(4 * math.pi * root).cos(), (4 * math.pi * root).sin()], 1)
    assert torch.allclose(found, expected, atol=1e-4)
    shares = torch.histc(root.square(), 10, 0, 1) / len(found)
    assert torch.allclose(shares, torch.tensor(0.1), atol=0.01)


def test_priors_of_the_plane_say_what_they_take():
    with pytest.raises(ValueError, match="latent_dim: got 3, allowed with RingPrior is 2"):
        RingPrior().sample(4, 3, None, torch.device("cpu"))
    for arguments, message in (
        ({"num_modes": 0}, "num_modes: got 0, allowed is 1 or more"),
        ({"deviation_across": 0.0}, "deviation_across: got 0.0, allowed is more than 0"),
    ):
        with pytest.raises(ValueError, match=message):
            RingPrior(**arguments)
    with pytest.raises(ValueError, match="radius: got -1, allowed is more than 0"):
        SwissRollPrior(-1)
