"""CatGAN: classes without labels."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from pl_genmodels.losses.entropies import entropy, marginal_entropy
from pl_genmodels.models.conditional_gan.catgan import CatGAN
from pl_genmodels.networks import MLPClassifier, MLPGenerator
from tests.small import Batches, fit

SHAPE = (1, 8, 8)


def catgan(**arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(MLPGenerator, latent_dim=4, hidden_dim=8),
        "discriminator": partial(MLPClassifier, num_classes=4, hidden_dims=[8], input_noise=0.0, hidden_noise=0.0),
    }
    return CatGAN(SHAPE, **{**networks, **arguments})


def batch(**entries):
    return {"image": torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1, **entries}


def test_entropies_of_what_is_known():
    sure, unsure = 100 * torch.eye(4), torch.zeros(4, 4)
    assert torch.allclose(entropy(sure), torch.zeros(4))
    assert torch.allclose(entropy(unsure), torch.full((4,), math.log(4)))
    assert torch.allclose(marginal_entropy(sure), torch.full((4,), math.log(4))), "of the mean, not the mean of it"
    assert torch.allclose(marginal_entropy(sure[:1].expand(4, -1)), torch.zeros(4))
    logits = torch.randn(5, 3, dtype=torch.float64)
    shares = logits.softmax(1)
    assert torch.allclose(entropy(logits), torch.distributions.Categorical(shares).entropy())
    assert torch.allclose(marginal_entropy(logits)[0], torch.distributions.Categorical(shares.mean(0)).entropy())


def test_a_class_that_nobody_has_leaves_gradients_finite():
    """Its share is exactly 0 in single precision, where the logarithm has no slope."""
    logits = torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]], requires_grad=True)
    value = marginal_entropy(logits)
    value.sum().backward()
    assert torch.allclose(value, torch.full((2,), math.log(2)))
    assert torch.allclose(logits.grad, torch.zeros(2, 3), atol=1e-6)


def test_terms_are_the_papers():
    model = catgan()
    drawn = model.draw(batch())
    generated = model.generate(drawn)
    real, fake = (F.softmax(model.class_logits(each["image"]), 1) for each in (drawn, generated))
    h = lambda shares: -(shares * shares.log()).sum(-1)
    of_d, of_g = model.discriminator_terms(drawn, generated), model.generator_terms(drawn, generated)
    expected = -h(real.mean(0)) + h(real).mean() - h(fake).mean()
    assert torch.allclose(sum(term.mean() for term in of_d.values()), expected, atol=1e-5)
    assert torch.allclose(sum(term.mean() for term in of_g.values()), -h(fake.mean(0)) + h(fake).mean(), atol=1e-5)


def test_the_best_discriminator_costs_minus_2_log_k():
    """Certain of data in all classes alike, and without a clue of generated samples."""
    model = catgan()
    logits = iter([100 * torch.eye(4), torch.zeros(4, 4)])
    model.class_logits = lambda images: next(logits)
    terms = model.discriminator_terms(batch(), batch())
    assert sum(term.mean().item() for term in terms.values()) == pytest.approx(-2 * math.log(4))


def test_labels_count_where_they_are_known(tmp_path):
    labels = torch.tensor([0, -1, 2, 3, -1, 1])
    model = catgan(supervised_weight=0.5)
    drawn = model.draw(batch(label=labels))
    logits = model.class_logits(drawn["image"])
    expected = 0.5 * F.cross_entropy(logits, labels.clamp(min=0), reduction="none") * (labels >= 0)
    assert torch.allclose(model.discriminator_terms(drawn, model.generate(drawn))["supervised"], expected)
    with pytest.raises(ValueError, match="needs 'label' too"):
        fit(model, Batches([batch()]), tmp_path)
    fit(catgan(), Batches([batch()]), tmp_path)  # without labels none are needed
    with pytest.raises(ValueError, match="supervised_weight: got -1"):
        catgan(supervised_weight=-1)


def test_clusters_are_classes():
    model = catgan()
    image = batch()["image"]
    assert torch.equal(model.cluster(image), model.class_logits(image).argmax(1))
    assert torch.allclose(model.judge(image), -entropy(model.class_logits(image)))
