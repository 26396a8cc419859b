"""VAE-GAN: its terms written out, which of them reaches whom, and who waits."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from pl_genmodels.layers.balance import who_trains
from pl_genmodels.losses import Minimax, kl_normal
from pl_genmodels.models.inference_gan.vae_gan import VAEGAN
from pl_genmodels.networks import (
    ConvDiscriminator,
    MLPDiscriminator,
    MLPEncoder,
    MLPGenerator,
    VAEGANDiscriminator,
    VAEGANEncoder,
    VAEGANGenerator,
)
from tests.small import Batches, fit

SHAPE, COUNT, DIM, GAMMA = (1, 8, 8), 6, 3, 0.3
NETWORKS = {
    "generator": partial(MLPGenerator, latent_dim=DIM, hidden_dim=8),
    "encoder": partial(MLPEncoder, hidden_dim=8),
    "discriminator": partial(MLPDiscriminator, hidden_dim=8),
}
PLAYERS = ("discriminator", "generator", "encoder")


def small(**arguments):
    torch.manual_seed(0)
    return VAEGAN(SHAPE, **{**NETWORKS, "likelihood_weight": GAMMA, **arguments}).double()


def batch():
    return {"image": torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0)).double() * 2 - 1}


def terms(model, player, drawn):
    return getattr(model, f"{player}_terms")(drawn, {})


def gradients(model, player, drawn, names):
    """Of the sum of some terms' means in a player's turn, by network."""
    model.zero_grad()
    with model.turn(player):
        found = terms(model, player, drawn)
        sum(found[name].mean() for name in names).backward()
    return {
        name: [None if p.grad is None else p.grad.clone() for p in getattr(model, name).parameters()]
        for name in PLAYERS
    }


def written_out(model, drawn):
    """Everything that the objectives are made of, with one graph through all three networks."""
    image = drawn["image"]
    mean, log_deviation = model.encoder(image).chunk(2, 1)
    again = model.generator(mean + log_deviation.exp() * drawn["noise"])
    sample = model.generator(drawn["latent"])
    judged = {name: model.discriminator(x) for name, x in (("real", image), ("again", again), ("sample", sample))}
    layers = [model.discriminator(x, with_features=True)[1][-1] for x in (image, again)]
    likelihood = 0.5 * (layers[0].detach() - layers[1]).square().sum(1)
    return judged, likelihood, kl_normal(mean, 2 * log_deviation)


def test_terms():
    model = small()
    drawn = model.draw(batch())
    judged, likelihood, kl = written_out(model, drawn)
    expected = {
        "discriminator": {
            "real": F.softplus(-judged["real"]),
            "reconstruction": F.softplus(judged["again"]) / 2,
            "sample": F.softplus(judged["sample"]) / 2,
        },
        "generator": {
            "likelihood": GAMMA * likelihood,
            "adversarial_reconstruction": F.softplus(-judged["again"]),
            "adversarial": F.softplus(-judged["sample"]),
        },
        "encoder": {"kl": kl, "likelihood": likelihood},
    }
    for player, named in expected.items():
        found = terms(model, player, drawn)
        assert found.keys() == named.keys()
        for name, value in named.items():
            torch.testing.assert_close(found[name], value)


def test_saturating_loss_and_no_reconstructions():
    model = small(loss=Minimax(), judges_reconstructions=False)
    drawn = model.draw(batch())
    judged, _, _ = written_out(model, drawn)
    found = terms(model, "generator", drawn)
    assert found.keys() == {"likelihood", "adversarial"}
    torch.testing.assert_close(found["adversarial"], -F.softplus(judged["sample"]))
    torch.testing.assert_close(terms(model, "discriminator", drawn)["sample"], F.softplus(judged["sample"]))


def test_each_term_reaches_whom_the_paper_says():
    model = small()
    drawn = model.draw(batch())
    routes = {
        "discriminator": ({"real", "reconstruction", "sample"}, {"discriminator"}),
        "generator": ({"likelihood", "adversarial_reconstruction", "adversarial"}, {"generator"}),
        "encoder": ({"kl", "likelihood"}, {"encoder"}),
    }
    for player, (names, learners) in routes.items():
        found = gradients(model, player, drawn, names)
        reached = {name for name, values in found.items() if any(v is not None for v in values)}
        assert reached == learners
        # all of its parameters, but for biases of the last layer, which cancel in a difference of features
        assert all(v is not None and v.abs().max() > 0 for name in learners for v in found[name])


def test_without_a_turn_nothing_leaks_either():
    """No GAN gradient comes to the encoder, whoever calls the terms and however."""
    model = small()
    drawn = model.draw(batch())
    for player in ("discriminator", "generator"):
        for term in terms(model, player, drawn).values():
            found = torch.autograd.grad(
                term.sum(), list(model.encoder.parameters()), allow_unused=True, retain_graph=True
            )
            assert not any(value is not None for value in found)


def test_gradient_of_the_decoder():
    """Gamma times the likelihood's and the adversarial one's, as one graph through all networks has them."""
    model = small()
    drawn = model.draw(batch())
    found = gradients(model, "generator", drawn, ("likelihood", "adversarial_reconstruction", "adversarial"))
    judged, likelihood, kl = written_out(model, drawn)
    weights = list(model.generator.parameters())
    of_likelihood = torch.autograd.grad(likelihood.mean(), weights, retain_graph=True)
    adversarial = F.softplus(-judged["again"]) + F.softplus(-judged["sample"])
    of_game = torch.autograd.grad(adversarial.mean(), weights, retain_graph=True)
    for mine, a, b in zip(found["generator"], of_likelihood, of_game, strict=True):
        torch.testing.assert_close(mine, GAMMA * a + b, rtol=0, atol=1e-6)
    found = gradients(model, "encoder", drawn, ("kl", "likelihood"))
    expected = torch.autograd.grad((kl + likelihood).mean(), list(model.encoder.parameters()))
    for mine, theirs in zip(found["encoder"], expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


def test_codes_there_and_back():
    model = small()
    image = batch()["image"]
    assert torch.equal(model.encode(image), model.encoder(image)[:, :DIM])
    assert torch.equal(model.reconstruct(image), model.decode(model.encode(image)))
    drawn = model.draw(batch())
    assert drawn["latent"].shape == drawn["noise"].shape == (COUNT, DIM)
    assert not torch.equal(drawn["latent"], drawn["noise"])


# ---- who waits


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        (0.69, 0.69, (True, True)),
        (0.2, 0.69, (False, True)),
        (0.69, 0.2, (False, True)),
        (1.2, 0.69, (True, False)),
        (0.69, 1.2, (True, False)),
        (0.2, 1.2, (True, True)),  # both would wait
        (0.3301, 1.0299, (True, True)),
        (0.3299, 0.5, (False, True)),
        (1.0301, 0.5, (True, False)),
    ],
)
def test_who_waits(real, fake, expected):
    assert who_trains(torch.tensor(real), torch.tensor(fake), 0.35) == expected


@pytest.mark.parametrize(
    ("bias", "margin", "still"),
    [
        (5.0, 0.35, set()),  # the costs of generated samples are high, those of real ones low: nobody waits
        (0.0, 1e-9, {"generator"}),  # log 2 is above .68
        (0.0, 0.35, set()),
        (5.0, None, set()),
    ],
)
def test_nothing_of_who_waits_moves(bias, margin, still, tmp_path):
    model = small(balance_margin=margin).float()
    with torch.no_grad():
        model.discriminator.layers[-1].weight.zero_()
        model.discriminator.layers[-1].bias.fill_(bias)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = Batches([{"image": batch()["image"].float()}])
    runner = fit(model, data, tmp_path)
    moved = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == set(PLAYERS) - still
    assert model.trains == {player: player not in still for player in ("discriminator", "generator")}
    assert runner.global_step == model.generator_updates == 1


def test_a_discriminator_that_wins_waits_and_is_judged_again(tmp_path):
    model = small().float()
    data = Batches([{"image": batch()["image"].float()}] * 3)
    seen = []

    def costs(value):
        def discriminator_terms(drawn, generated):
            found = VAEGAN.discriminator_terms(model, drawn, generated)
            seen.append(model.trains["discriminator"])
            return {name: 0 * term + value for name, term in found.items()}

        return discriminator_terms

    model.discriminator_terms = costs(0.1)
    before = [p.clone() for p in model.discriminator.parameters()]
    runner = fit(model, data, tmp_path)
    assert seen == [True, False, False]  # asked on every batch
    assert all(torch.equal(a, b) for a, b in zip(before, model.discriminator.parameters(), strict=True))
    assert not runner.optimizers[0].state
    assert runner.optimizers[1].state
    assert runner.optimizers[2].state


# ---- networks and what is refused


def test_official_networks():
    encoder, generator, judge = (
        VAEGANEncoder((3, 64, 64), 256),
        VAEGANGenerator((3, 64, 64)),
        VAEGANDiscriminator((3, 64, 64)),
    )
    assert encoder(torch.rand(2, 3, 64, 64)).shape == (2, 256)
    assert generator(torch.rand(2, 128)).shape == (2, 3, 64, 64)
    logits, (features,) = judge(torch.rand(2, 3, 64, 64), with_features=True)
    assert logits.shape == (2,)
    assert features.shape == (2, 256, 8, 8)
    kinds = [type(layer).__name__ for layer in judge.layers]
    assert kinds.count("Conv2d") == 4
    assert kinds[-1] == "Conv2d", "the features are of the ninth module, before its normalisation"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(small, likelihood_weight=0.0), "likelihood_weight: got 0.0, allowed is more than 0"),
        (partial(small, balance_margin=-1.0), "balance_margin: got -1.0, allowed is more than 0"),
        (partial(small, feature_layer=2), "feature_layer: got 2, allowed are -2 to 1"),
        (partial(small, discriminator=ConvDiscriminator), "discriminator: got ConvDiscriminator, which does not give"),
        (
            partial(VAEGANEncoder, (3, 20, 20), 4),
            "VAEGANEncoder: got images of 20x20, allowed are sides that 8 divides",
        ),
        (
            partial(VAEGANGenerator, (3, 16, 16), widths=(4, 4)),
            r"widths: got \[4, 4\], allowed for VAEGANGenerator are 4 positive numbers",
        ),
    ],
)
def test_says_what_it_takes(make, message):
    with pytest.raises(ValueError, match=message):
        make()
