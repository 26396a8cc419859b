"""Adversarial autoencoders that know labels, find clusters, or both: who compares what, and who learns from it."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from pl_genmodels.editing.latent_space import LatentSpace
from pl_genmodels.models.inference_gan.aae import AAE
from pl_genmodels.models.inference_gan.aae_clustering import AAEClustering
from pl_genmodels.models.inference_gan.aae_informed import AAEInformed
from pl_genmodels.models.inference_gan.aae_reduction import AAEReduction
from pl_genmodels.models.inference_gan.aae_semi_supervised import AAESemiSupervised
from pl_genmodels.models.inference_gan.aae_supervised import AAESupervised
from pl_genmodels.networks import (
    CategoricalPrior,
    ConcatDiscriminator,
    ConcatGenerator,
    MLPDiscriminator,
    MLPEncoder,
    MLPGenerator,
    RingPrior,
    SwissRollPrior,
)
from tests.small import Batches, fit

SHAPE, COUNT, CLASSES, STYLE = (1, 8, 8), 6, 3, 2
JUDGE = partial(MLPDiscriminator, hidden_dim=8)


def small(model, latent_dim, **arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(MLPGenerator, latent_dim=latent_dim, hidden_dim=8),
        "encoder": partial(MLPEncoder, hidden_dim=8),
        "discriminator": JUDGE,
    }
    return model(SHAPE, **{**networks, **arguments})


def informed():
    told = partial(ConcatDiscriminator, discriminator=JUDGE)
    return small(AAEInformed, 2, discriminator=told, prior=RingPrior(CLASSES, 10.0, 0.1, 0.1))


def supervised():
    of_latents = partial(MLPGenerator, hidden_dim=8)
    return small(AAESupervised, 0, generator=partial(ConcatGenerator, latent_dim=4, generator=of_latents))


def categorical(model=AAEClustering, **arguments):
    return small(model, CLASSES + STYLE, prior=CategoricalPrior(CLASSES), **arguments)


def batch(**entries):
    image = torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {"image": image, "label": torch.arange(COUNT) % CLASSES, **entries}


def terms_of(model, drawn):
    generated = model.generate(drawn)
    return {player: getattr(model, f"{player}_terms")(drawn, generated) for player in model.players}


# ---- priors with modes


def noise_of(prior, number, latent_dim):
    return prior.noise(number, latent_dim, torch.Generator().manual_seed(0), torch.device("cpu"))


def test_modes_are_where_they_were_asked_for():
    mode = torch.arange(400) % 4
    ring = RingPrior(4, 10.0, 0.1, 0.1)
    found = ring.of_modes(noise_of(ring, 400, 2), mode)
    assert torch.equal((torch.atan2(found[:, 1], found[:, 0]) / (math.pi / 2)).round().long() % 4, mode)
    roll = SwissRollPrior(3.0, 4)
    found = roll.of_modes(noise_of(roll, 400, 2), mode)
    assert torch.equal(((found.norm(dim=1) / 3).square() * 4).long(), mode)


def test_a_category_and_a_style_that_knows_nothing_of_it():
    prior = CategoricalPrior(4)
    found = prior.sample(8000, 7, torch.Generator().manual_seed(0), torch.device("cpu"))
    category, style = found.split([4, 3], 1)
    assert torch.equal(category.sum(1), torch.ones(8000))
    assert torch.equal(category, category.round())
    assert torch.allclose(category.mean(0), torch.full((4,), 0.25), atol=0.02)
    assert torch.allclose(style.std(0), torch.ones(3), atol=0.03)
    assert (category.T @ style / 8000).abs().max() < 0.02
    with pytest.raises(ValueError, match="latent_dim: got 4, allowed with 4 categories is more than 4"):
        prior.sample(2, 4, None, torch.device("cpu"))
    with pytest.raises(ValueError, match="num_modes: got 1, allowed is 2 or more"):
        CategoricalPrior(1)
    with pytest.raises(ValueError, match="num_modes: got 0, allowed is 1 or more"):
        SwissRollPrior(num_modes=0)


# ---- a mode for each label


def test_draws_and_codes_are_compared_under_the_same_label():
    model = informed()
    label = torch.tensor([0, 1, 2, -1, -1, 1])
    drawn = model.draw(batch(label=label))
    modes = (torch.atan2(drawn["latent"][:, 1], drawn["latent"][:, 0]) / (math.tau / CLASSES)).round().long() % CLASSES
    assert torch.equal(modes[label >= 0], label[label >= 0])
    assert torch.equal(drawn["told"].argmax(1), torch.tensor([0, 1, 2, 3, 3, 1]))
    assert torch.equal(drawn["told"].sum(1), torch.ones(COUNT))
    codes = model.encoder(drawn["image"])
    real, fake = (model.discriminator(each, drawn["told"]) for each in (drawn["latent"], codes))
    terms = terms_of(model, drawn)
    assert torch.allclose(terms["discriminator"]["adversarial"], F.softplus(-real) + F.softplus(fake))
    assert torch.allclose(terms["encoder"]["adversarial"], F.softplus(-fake))


def test_unknown_labels_are_compared_with_the_whole_prior():
    drawn = informed().draw({"image": torch.zeros(300, *SHAPE), "label": torch.full((300,), -1)})
    modes = (torch.atan2(drawn["latent"][:, 1], drawn["latent"][:, 0]) / (math.tau / CLASSES)).round().long() % CLASSES
    assert torch.bincount(modes, minlength=CLASSES).min() > 70


def test_labels_without_a_mode_are_refused(tmp_path):
    with pytest.raises(ValueError, match="needs 'label' too"):
        fit(informed(), Batches([{"image": batch()["image"]}]), tmp_path)
    with pytest.raises(ValueError, match="prior: got one of 3 modes, but there are labels from 0 to 3"):
        fit(informed(), Batches([batch(label=torch.tensor([0, 1, 2, 3, 0, 0]))]), tmp_path)


# ---- the label in the decoder


def test_the_decoder_is_told_and_the_encoder_is_not():
    model = supervised()
    drawn = model.draw(batch())
    one_hot = F.one_hot(drawn["label"], 10).float()
    again = model.generator(model.encoder(drawn["image"]), one_hot)
    (term,) = model.autoencoder_terms(drawn, {}).values()
    assert torch.allclose(term, (again - drawn["image"]).square().flatten(1).mean(1))
    image = drawn["image"]
    assert torch.equal(model.encode(image, 3), model.encode(image))
    assert torch.equal(model.reconstruct(image, drawn["label"]), again.detach())
    assert not torch.allclose(model.reconstruct(image, 4), model.reconstruct(image, 5))
    column = model.sample(2, label=torch.tensor([1, 2]), seed=3)
    latent = model.draw_latents(2, seed=3)
    assert torch.allclose(column, model.decode(latent, torch.tensor([1, 2])))


# ---- categories


def test_categories_and_styles_are_compared_apart():
    model = categorical()
    drawn = model.draw(batch())
    features = model.encoder(drawn["image"])
    share, style = features[:, :CLASSES].softmax(1), features[:, CLASSES:]
    codes = torch.cat([share, style], 1)
    assert torch.allclose(model.codes_of(drawn["image"]), codes)
    model.discriminator.eval()  # without noise
    of_category, of_style = model.discriminator.of_category, model.discriminator.of_style
    terms = terms_of(model, drawn)
    real = drawn["latent"].split([CLASSES, STYLE], 1)
    for name, judge, draws, fake in (("category", of_category, real[0], share), ("style", of_style, real[1], style)):
        wanted = F.softplus(-judge(draws)) + F.softplus(judge(fake))
        assert torch.allclose(terms["discriminator"][name], wanted)
        assert torch.allclose(terms["encoder"][name], F.softplus(-judge(fake)))
    error = (model.generator(codes) - drawn["image"]).square().flatten(1).mean(1)
    assert torch.allclose(terms["autoencoder"]["reconstruction"], error)


def test_noise_is_on_categories_alone_and_in_training_alone():
    model = categorical(category_noise=0.5)
    codes = model.codes_of(batch()["image"]).detach()
    first, second = (model.discriminator(codes) for _ in range(2))
    assert not torch.allclose(first[0], second[0])
    assert torch.equal(first[1], second[1])
    model.discriminator.eval()
    first, second = (model.discriminator(codes) for _ in range(2))
    assert torch.equal(first[0], second[0])


def test_the_wish_to_be_of_one_category_reaches_the_encoder_through_the_softmax():
    model = categorical()
    drawn = model.draw(batch())
    with model.turn("encoder"):
        model.encoder_terms(drawn, {})["category"].sum().backward()
    last = model.encoder.layers[-1].weight.grad
    assert last[:CLASSES].abs().min(1).values.gt(0).all()
    assert torch.equal(last[CLASSES:], torch.zeros_like(last[CLASSES:]))
    assert all(parameter.grad is None for parameter in model.discriminator.parameters())


def test_samples_of_a_category_share_their_styles():
    model = categorical().eval()
    first, second = (model.draw_latents_of(label, 4, seed=2) for label in (0, 2))
    assert torch.equal(first[:, :CLASSES].argmax(1), torch.zeros(4).long())
    assert torch.equal(second[:, :CLASSES].argmax(1), torch.full((4,), 2))
    assert torch.equal(first[:, CLASSES:], second[:, CLASSES:])
    assert torch.allclose(model.sample(4, label=2, seed=2), model.decode(second))
    assert torch.equal(model.draw_latents_of(2, 2, seed=2, first=2), second[2:])
    image = batch()["image"]
    assert torch.equal(model.cluster(image), model.encode(image)[:, :CLASSES].argmax(1))
    with pytest.raises(ValueError, match=r"label: got \[3\], allowed are 0 to 2"):
        model.sample(2, label=3)
    with pytest.raises(ValueError, match="generator: got a latent_dim of 3, allowed with 3 categories is more than 3"):
        small(AAEClustering, CLASSES, prior=CategoricalPrior(CLASSES))


# ---- few labels


def test_the_fourth_phase_learns_from_labelled_images():
    model = categorical(AAESemiSupervised)
    other = batch()["image"].flip(0)
    given = batch(labelled_image=other, labelled_label=torch.tensor([0, 1, 2, 2, 1, 0]))
    (term,) = model.classifier_terms(given, {}).values()
    logits = model.encoder(other)[:, :CLASSES]
    assert torch.allclose(term, F.cross_entropy(logits, given["labelled_label"], reduction="none"))
    (term,) = model.classifier_terms(batch(label=torch.tensor([0, -1, 1, -1, -1, 2])), {}).values()
    assert torch.equal(term == 0, torch.tensor([False, True, False, True, True, False]))


def test_four_optimisers_and_who_they_move(tmp_path):
    model = categorical(AAESemiSupervised)
    learners = {
        "autoencoder": {"encoder", "generator"},
        "discriminator": {"discriminator"},
        "classifier": {"encoder"},
        "encoder": {"encoder"},
    }
    drawn = model.draw(batch())
    for player, expected in learners.items():
        model.zero_grad()
        with model.turn(player):
            sum(getattr(model, f"{player}_terms")(drawn, {}).values()).sum().backward()
        reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
        assert reached == expected
    fit(model, Batches([batch()] * 2), tmp_path)
    assert len(model.trainer.optimizers) == 4
    assert model.generator_updates == 2


def test_classes_are_read_and_labels_are_needed(tmp_path):
    model = categorical(AAESemiSupervised)
    image = batch()["image"]
    assert torch.equal(model.classify(image), model.eval().encoder(image)[:, :CLASSES].argmax(1))
    assert model.num_classes == CLASSES
    with pytest.raises(ValueError, match="needs 'label' too; allowed without labels is AAEClustering"):
        fit(categorical(AAESemiSupervised), Batches([{"image": image}]), tmp_path)
    with pytest.raises(ValueError, match="num_classes: got 3, but there are labels from 0 to 3"):
        fit(categorical(AAESemiSupervised), Batches([batch(label=torch.tensor([0, 1, 2, 3, 0, 0]))]), tmp_path)


# ---- a plane of heads


def reduction(**arguments):
    return small(AAEReduction, STYLE, prior=CategoricalPrior(CLASSES), **arguments)


def test_the_decoder_sees_the_head_of_the_category_and_the_style_around_it():
    model = reduction(head_distance=5.0, head_weight=2.0)
    drawn = model.draw(batch())
    assert drawn["latent"].shape == (COUNT, CLASSES + STYLE)
    assert torch.equal(drawn["latent"][:, :CLASSES].sum(1), torch.ones(COUNT))
    features, image = model.encoder(drawn["image"]), drawn["image"]
    share, style = features[:, :CLASSES].softmax(1), features[:, CLASSES:]
    places = share @ model.heads.weight + style
    terms = terms_of(model, drawn)
    error = (model.generator(places) - image).square().flatten(1).mean(1)
    assert torch.allclose(terms["autoencoder"]["reconstruction"], error)
    of_category, of_style = model.discriminator.of_category, model.discriminator.of_style
    model.eval()  # without noise on categories
    fake = terms_of(model, drawn)["encoder"]
    assert torch.allclose(fake["category"], F.softplus(-of_category(share)))
    assert torch.allclose(fake["style"], F.softplus(-of_style(style)))
    assert torch.allclose(model.encode(image), places, atol=1e-6)
    assert torch.equal(model.reconstruct(image), model.decode(model.encode(image)))
    assert torch.equal(model.cluster(image), share.argmax(1))
    assert torch.equal(model.classify(image), share.argmax(1))


def test_heads_that_are_too_near_are_pushed_apart_in_a_line():
    model = reduction(head_distance=5.0, head_weight=2.0)
    with torch.no_grad():
        model.heads.weight.copy_(torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 9.0]]))
    term = model.autoencoder_terms(model.draw(batch()), {})["heads"]
    assert torch.allclose(term, torch.full((COUNT,), 2.0 * (5 - 3)))  # the third is 9 and more from both
    term.mean().backward()
    assert torch.allclose(model.heads.weight.grad, torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0]]))


def test_samples_of_a_category_lie_around_its_head():
    model = reduction()
    style = model.draw_latents_of(0, 500, seed=3) - model.heads.weight[0]
    assert torch.allclose(style.std(0), torch.ones(STYLE), atol=0.1)
    assert torch.allclose(model.draw_latents_of(2, 500, seed=3), style + model.heads.weight[2], atol=1e-6)
    assert model.draw_latents(7, seed=0).shape == (7, STYLE)
    assert torch.equal(model.draw_latents(7, seed=0)[3:], model.draw_latents(4, seed=0, first=3))
    assert torch.equal(model.sample(5, label=1, seed=2), model.decode(model.draw_latents_of(1, 5, seed=2)))


def test_heads_are_learnt_with_the_autoencoder_alone(tmp_path):
    model = reduction()
    drawn, reached = model.draw(batch()), {}
    for player in model.players:
        model.zero_grad()
        with model.turn(player):
            sum(getattr(model, f"{player}_terms")(drawn, {}).values()).sum().backward()
        reached[player] = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert reached.pop("autoencoder") == {"encoder", "generator", "heads"}
    assert not any("heads" in found for found in reached.values())
    unlabelled = reduction(labels=False)
    fit(unlabelled, Batches([{"image": batch()["image"]}] * 2), tmp_path)
    assert unlabelled.generator_updates == 2
    assert not unlabelled.num_classes
    with pytest.raises(ValueError, match="an AAEReduction needs 'label' too; allowed without labels is labels: false"):
        fit(reduction(), Batches([{"image": batch()["image"]}]), tmp_path)
    with pytest.raises(ValueError, match="head_distance: got -1, allowed is 0 or more"):
        reduction(head_distance=-1)


def test_a_discriminator_of_codes_is_not_taken_for_one_of_images():
    model = small(AAE, 2)
    assert LatentSpace(model).critic() is None
    assert LatentSpace(model).features() is None
