"""The VAE family against closed forms, and its terms by hand."""

from __future__ import annotations

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal

from pl_genmodels.layers import GaussianCorruption
from pl_genmodels.losses import Bernoulli, EvidenceLowerBound, FreeBits, Gaussian, ImportanceWeightedBound
from pl_genmodels.models import posteriors
from pl_genmodels.models.vae.autoencoder import Autoencoder
from pl_genmodels.models.vae.beta_vae import BetaVAE
from pl_genmodels.models.vae.cvae import CVAE
from pl_genmodels.models.vae.cvae_structured import CVAEStructured
from pl_genmodels.models.vae.iaf_vae import IAFVAE
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import MLPDecoder, MLPEncoder
from tests.models.test_vae import STD, exact, linear_vae

SMALL = {
    "encoder": functools.partial(MLPEncoder, hidden_dim=8),
    "decoder": functools.partial(MLPDecoder, hidden_dim=8),
}


def binary(*shape):
    return torch.where(torch.rand(shape, generator=torch.Generator().manual_seed(0)) > 0.5, 1.0, -1.0)


# ---- the bound in a linear-Gaussian model


def at_the_optimum(**arguments):
    """A linear model with orthogonal columns, whose true posterior is diagonal, and the encoder that gives it."""
    model = linear_vae(**arguments)
    decoder, encoder = model.decoder.layers[0], model.encoder.layers[0]
    with torch.no_grad():
        decoder.weight.copy_(torch.linalg.qr(decoder.weight)[0] * torch.tensor([1.5, 0.5]))
        _, _, covariance = exact(model, torch.zeros(1, 4, dtype=torch.float64))
        rows = covariance @ decoder.weight.T / STD**2
        encoder.weight.copy_(torch.cat([rows, torch.zeros(2, 4)]))
        encoder.bias.copy_(torch.cat([-rows @ decoder.bias, covariance.diagonal().log()]))
    return model


def test_bound_equals_the_likelihood_at_the_optimum_and_lies_below_it_elsewhere(monkeypatch):
    """Means over the latent are exact by 2 n points with the moments of a normal: the log-likelihood is quadratic."""
    points = math.sqrt(2) * torch.cat([torch.eye(2), -torch.eye(2)]).double()[:, None]  # (4, 1, 2)

    def at_points(mean, log_variance, count):
        noise = points.expand(count, *mean.shape)
        return mean + (0.5 * log_variance).exp() * noise, noise

    monkeypatch.setattr(posteriors, "reparametrised", at_points)
    image = torch.randn(16, 4, dtype=torch.float64)
    model = at_the_optimum(objective=EvidenceLowerBound(num_latents=4))
    for step in range(4):
        terms = model.terms({"image": image})
        gap = exact(model, image)[0] + terms["reconstruction"] + terms["kl"]
        assert (gap > 0.01 * step - 1e-4).all()
        if step == 0:
            assert (gap.abs() < 1e-4).all()
        with torch.no_grad():
            model.encoder.layers[0].bias.add_(0.2)


def test_every_weight_is_the_likelihood_at_the_optimum():
    model, image = at_the_optimum(objective=ImportanceWeightedBound(1)), torch.randn(16, 4, dtype=torch.float64)
    likelihood = exact(model, image)[0]
    assert torch.allclose(-model.terms({"image": image})["bound"], likelihood, atol=1e-10)
    assert torch.allclose(model.log_likelihood(image, 3), likelihood, atol=1e-10)


def test_more_latents_train_on_a_tighter_bound():
    image = torch.randn(1, 4, dtype=torch.float64).expand(4000, 4)
    bounds = []
    for count in (1, 5, 50):
        model = linear_vae(objective=ImportanceWeightedBound(count))
        with torch.no_grad():
            bounds.append(-model.terms({"image": image})["bound"].mean())
    likelihood = exact(model, image[:1])[0]
    assert bounds[0] + 0.02 < bounds[1] < bounds[2] + 0.02 < likelihood + 0.03


# ---- validation


def test_validation_measures_the_bound_whatever_training_weighs():
    image = torch.randn(5, 4, dtype=torch.float64)
    found = []
    for objective in (EvidenceLowerBound(), EvidenceLowerBound(3.0, 5.0, 1000), FreeBits(free_nats=9.0)):
        model = linear_vae(objective=objective)
        torch.manual_seed(1)
        found.append(model.evaluation_terms({"image": image}))
    torch.manual_seed(1)
    plain = linear_vae().evaluation_terms({"image": image})
    for terms in found:
        assert terms.keys() == plain.keys() == {"reconstruction", "kl"}
    # linear_vae seeds its weights, so that only what was drawn since differs
    assert all(torch.equal(terms["kl"], found[0]["kl"]) for terms in found)


def test_beta_weighs_the_kl_and_grows():
    image = binary(6, 1, 4, 4)
    model = BetaVAE((1, 4, 4), beta=4.0, warm_up_images=100, latent_dim=2, **SMALL)
    plain = kl_of(model, image)
    for images_seen, share in ((25, 0.25), (100, 1.0)):
        model.images_seen = images_seen
        assert torch.allclose(model.terms({"image": image})["kl"], 4 * share * plain)
    with pytest.raises(ValueError, match=r"beta: got 0\.0"):
        BetaVAE((1, 4, 4), beta=0.0)


def kl_of(model, image):
    mean, log_variance = model.encoder(image).chunk(2, 1)
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)


# ---- flow


def test_flow_posterior_bounds_the_likelihood_and_closes_in():
    torch.manual_seed(0)
    linear = {
        "encoder": functools.partial(MLPEncoder, num_layers=0),
        "decoder": functools.partial(MLPDecoder, num_layers=0),
    }
    likelihood = Gaussian(STD, bounded=False)
    model = IAFVAE((4,), latent_dim=2, flow_dim=8, context_dim=2, likelihood=likelihood, **linear).double()
    layer = model.encoder.layers[0]
    with torch.no_grad():  # wide, so that no weight is huge
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]))
    image = torch.randn(64, 4, dtype=torch.float64)
    truth = exact(model, image)[0].mean()
    bounds = [model.log_likelihood(image, count).mean() for count in (1, 30, 20_000)]
    assert bounds[0] < bounds[1] < bounds[2]
    assert abs(bounds[2] - truth) < 0.03


# ---- labels


def cvae(shape=(1, 4, 4), **arguments):
    torch.manual_seed(0)
    return CVAE(shape, num_classes=3, latent_dim=2, **SMALL, **arguments)


def test_terms_of_labels_by_hand():
    model, image, label = cvae(), binary(6, 1, 4, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.manual_seed(1)
    terms = model.terms({"image": image, "label": label})
    torch.manual_seed(1)
    seen = torch.cat([image, model.plane(model.condition.vectors(label)).view(6, 1, 4, 4)], 1)
    mean, log_variance = model.encoder(seen).chunk(2, 1)
    latent = mean + (0.5 * log_variance).exp() * torch.randn(1, 6, 2)[0]
    logits = model.decoder(torch.cat([latent, F.one_hot(label, 3).float()], 1))
    cross_entropy = F.binary_cross_entropy_with_logits(logits, (image > 0).float(), reduction="none")
    assert torch.allclose(terms["reconstruction"], cross_entropy.flatten(1).sum(1))
    assert torch.allclose(terms["kl"], 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1))


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 4), (5,)])
def test_labels_reach_encoder_decoder_and_samples(shape):
    model = cvae(shape, likelihood=Gaussian(bounded=len(shape) == 3))
    image = torch.rand(4, *shape)
    codes = [model.encode(image, label) for label in range(3)]
    pictures = [model.decode(torch.zeros(4, 2), label) for label in range(3)]
    for found in (codes, pictures, [model.reconstruct(image, k) for k in range(3)]):
        assert not torch.allclose(found[0], found[1])
        assert not torch.allclose(found[1], found[2])
    mixed = model.decode(torch.zeros(3, 2), torch.tensor([2, 0, 1]))
    assert torch.allclose(mixed, torch.stack([pictures[2][0], pictures[0][0], pictures[1][0]]), atol=1e-6)


def test_samples_take_turns_or_have_the_label_asked_for():
    model = cvae()
    turns = model.sample(7, seed=3)
    assert torch.allclose(model.sample(3, seed=3, first=4), turns[4:], atol=1e-6)
    for label in range(3):
        alike = model.sample(7, label=label, seed=3)
        same = [bool(torch.allclose(*pair, atol=1e-6)) for pair in zip(alike, turns, strict=True)]
        assert same == [index % 3 == label for index in range(7)]
    assert torch.allclose(model.sample(7, label=torch.arange(7) % 3, seed=3), turns, atol=1e-6)


def test_likelihood_without_label_averages_over_labels():
    model, image = cvae(), binary(2, 1, 4, 4)
    each = torch.stack([model.log_likelihood(image, 3000, label) for label in range(3)])
    torch.manual_seed(0)
    assert torch.allclose(model.log_likelihood(image, 3000), each.exp().mean(0).log(), atol=0.05)


@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        (lambda model: model.sample(2, label=3), r"label: got \[3\], allowed are 0 to 2"),
        (lambda model: model.sample(2, label=torch.zeros(3)), r"label: got shape \(3,\)"),
        (lambda model: model.encode(torch.zeros(2, 1, 4, 4)), "label: not given"),
        (lambda model: CVAE((4,), num_classes=0), "num_classes: got 0"),
    ],
)
def test_bad_labels_are_refused(use, sentence):
    with pytest.raises(ValueError, match=sentence):
        use(cvae())


# ---- quadrants


def structured(**arguments):
    torch.manual_seed(0)
    networks = {**SMALL, "prior_encoder": functools.partial(MLPEncoder, hidden_dim=8)}
    return CVAEStructured((1, 4, 4), latent_dim=2, **networks, **arguments)


@pytest.mark.parametrize("share", [1.0, 0.25, 0.0])
def test_terms_of_quadrants_by_hand(share):
    model, image = structured(recognition_share=share), binary(6, 1, 4, 4)
    torch.manual_seed(1)
    terms = model.terms({"image": image})
    torch.manual_seed(1)
    seen = torch.zeros(4, 4)
    seen[2:, :2] = 1
    networks = {"p": (model.prior_encoder, image * seen), **({"q": (model.encoder, image)} if share else {})}
    features = {name: network(given).chunk(2, 1) for name, (network, given) in networks.items()}
    of = {name: Normal(mean, (0.5 * log_variance).exp()) for name, (mean, log_variance) in features.items()}

    def reconstruction(normal):
        latent = normal.mean + normal.stddev * torch.randn(1, 6, 2)[0]
        logits = model.decoder(torch.cat([latent, image[:, 0, 2:, :2].flatten(1)], 1))
        each = F.binary_cross_entropy_with_logits(logits, (image > 0).float(), reduction="none")
        return (each * (1 - seen)).flatten(1).sum(1)

    wanted = {}
    if share > 0:
        wanted["reconstruction"] = share * reconstruction(of["q"])
        wanted["kl"] = share * torch.distributions.kl_divergence(of["q"], of["p"]).sum(1)
    if share < 1:
        wanted["prior_reconstruction"] = (1 - share) * reconstruction(of["p"])
    assert terms.keys() == wanted.keys()
    assert all(torch.allclose(terms[name], wanted[name], atol=1e-5) for name in wanted)


def test_completions_depend_on_what_is_seen_alone_and_keep_it():
    model, image = structured(quadrants=["top_left", "top_right"]), binary(5, 1, 4, 4)
    other = torch.cat([image[:, :, :2], -image[:, :, 2:]], 2)
    completed = model.translate(image, seed=0)
    assert torch.equal(completed, model.translate(other, seed=0))
    assert torch.equal(completed[:, :, :2], image[:, :, :2])
    assert completed[:, :, 2:].abs().max() < 1
    assert not torch.equal(completed, model.translate(image, seed=1))
    assert not torch.equal(completed, model.translate(-image, seed=0))
    panels = model.panels({"image": image}, seed=0)
    assert torch.equal(panels["translation"], completed)
    assert torch.equal(panels["another"], model.translate(image, seed=1))
    with pytest.raises(ValueError, match="direction: got 'BtoA'"):
        model.translate(image, "BtoA")


def test_both_proposals_estimate_one_likelihood_of_the_unseen():
    model, image = structured(), binary(20, 1, 4, 4)
    by_prior, by_posterior = (model.log_likelihood(image, 20_000, from_prior=of) for of in (True, False))
    assert torch.allclose(by_prior, by_posterior, atol=0.1)
    assert (by_prior < 0).all()
    with pytest.raises(ValueError, match="num_importance_samples: got 0"):
        model.log_likelihood(image, 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"recognition_share": 1.5}, "recognition_share: got 1.5"),
        ({"quadrants": ["middle"]}, "quadrants: got"),
        ({"latent_dim": 0}, "latent_dim: got 0"),
    ],
)
def test_bad_arguments_of_quadrants_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        CVAEStructured((1, 4, 4), **arguments)


# ---- codes


def autoencoder(**arguments):
    torch.manual_seed(0)
    return Autoencoder((1, 4, 4), latent_dim=2, **SMALL, **arguments)


def test_an_autoencoders_term_is_the_squared_error_and_a_constant():
    model, image = autoencoder().eval(), binary(6, 1, 4, 4)
    error = (image - model.reconstruct(image)).square().flatten(1).sum(1)
    assert torch.allclose(model.terms({"image": image})["reconstruction"], error + 8 * math.log(math.pi), atol=1e-4)
    crossed = autoencoder(likelihood=Bernoulli()).eval()
    logits = crossed.decoder(crossed.encoder(image))
    entropy = F.binary_cross_entropy_with_logits(logits, (image > 0).float(), reduction="none").flatten(1).sum(1)
    assert torch.allclose(crossed.terms({"image": image})["reconstruction"], entropy)


def test_corruption_changes_the_input_and_not_the_target():
    model, image = autoencoder(corruption=GaussianCorruption(10.0)), binary(6, 1, 4, 4)
    torch.manual_seed(1)
    noisy = model.terms({"image": image})["reconstruction"]
    torch.manual_seed(1)
    decoded = model.likelihood.mean(model.decoder(model.encoder(image + 10 * torch.randn_like(image))))
    assert torch.allclose(noisy, (image - decoded).square().flatten(1).sum(1) + 8 * math.log(math.pi), atol=1e-4)
    assert torch.equal(model.encode(image), autoencoder().encode(image))


def test_samples_come_from_a_normal_that_follows_the_codes():
    model, image = autoencoder(), binary(500, 1, 4, 4)
    model.terms({"image": image})
    codes = model.encode(image)
    assert torch.allclose(model.codes_ema.mean, codes.mean(0), atol=1e-5)
    assert torch.allclose(model.codes_ema.covariance, codes.T.cov(correction=0), atol=1e-5)
    drawn = model.draw_latents(20_000, seed=0)
    assert torch.allclose(drawn.T.cov(), codes.T.cov(), atol=0.1 * float(codes.var(0).max()))
    assert torch.equal(model.sample(4, seed=0), model.decode(drawn[:4]))
    before = model.codes_ema.mean.clone()
    model.eval().terms({"image": image[:5]})
    assert torch.equal(model.codes_ema.mean, before), "evaluation moved it"


def test_a_default_likelihood_is_not_shared():
    first, second = autoencoder(), autoencoder()
    first.double()
    assert second.likelihood.log_std.dtype == torch.float32
    assert VAE((4,)).likelihood is not VAE((4,)).likelihood
