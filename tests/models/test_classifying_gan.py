"""Discriminators that name classes: where the labels come from, and what each player minimises."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from pl_genmodels.layers import Labels
from pl_genmodels.models.gan.am_gan import AMGAN
from pl_genmodels.models.gan.am_gan_predefined import AMGANPredefined
from pl_genmodels.models.gan.improved_gan import ImprovedGAN
from pl_genmodels.networks import ConcatGenerator, MLPClassifier, ResNetDiscriminator
from tests.models.harness import Recorder
from tests.small import Batches, fit, gan, loader

CLASSES = partial(MLPClassifier, num_classes=3, hidden_dims=(8,), input_noise=0.0, hidden_noise=0.0)


def improved(**arguments):
    return gan(model=ImprovedGAN, **{"discriminator": CLASSES, **arguments}).double()


def batch(**others):
    generator = torch.Generator().manual_seed(0)
    drawn = {"image": torch.randn(6, 2, generator=generator), "latent": torch.randn(6, 3, generator=generator)}
    drawn = {name: value.double() for name, value in drawn.items()}
    return {**drawn, "label": torch.tensor([0, -1, 2, 1, -1, -1]), **others}


def test_the_discriminators_loss_is_a_softmax_over_one_class_more():
    """L_lab + L_unl of the paper, from the K + 1 probabilities."""
    model, drawn = improved(), batch()
    generated = model.generate(drawn)
    terms = model.discriminator_terms(drawn, generated)
    real, fake = (model.class_logits(images) for images in (drawn["image"], generated["image"]))
    of_real, of_fake = (torch.cat([each, torch.zeros(6, 1)], 1).log_softmax(1) for each in (real, fake))
    is_real = of_real[:, :3].logsumexp(1)
    assert torch.allclose(terms["adversarial"], -0.5 * is_real - 0.5 * of_fake[:, 3])
    for row, label in enumerate(drawn["label"].tolist()):
        wanted = 0.0 if label < 0 else (is_real[row] - of_real[row, label]).item()
        assert terms["supervised"][row].item() == pytest.approx(wanted, abs=1e-12)


def test_each_generated_sample_aims_at_its_likeliest_class():
    """Cross-entropy over K + 1 classes with that class as a constant target: its gradient is p - 1[k = t]."""
    model, drawn = gan(model=AMGAN, discriminator=CLASSES).double(), batch()
    generated = {"image": 9 * drawn["image"]}
    with torch.no_grad():
        logits = model.class_logits(generated["image"])
    target = logits.argmax(1)
    assert len(target.unique()) > 1
    padded = torch.cat([logits, torch.zeros(6, 1)], 1)
    padded.requires_grad_()
    wanted = F.cross_entropy(padded, target, reduction="none")
    terms = model.generator_terms(drawn, generated)
    assert torch.allclose(sum(terms.values()), wanted, rtol=0, atol=1e-12)
    given = logits.requires_grad_()
    model.class_logits = lambda images: given
    (gradient,) = torch.autograd.grad(sum(model.generator_terms(drawn, generated).values()).sum(), given)
    (exact,) = torch.autograd.grad(wanted.sum(), padded)
    assert torch.allclose(gradient, exact[:, :3], rtol=0, atol=1e-12)
    assert torch.allclose(exact[:, :3], padded.softmax(1)[:, :3] - F.one_hot(target, 3), rtol=0, atol=1e-12)


def test_what_is_told_is_what_is_aimed_at():
    networks = {"generator": partial(ConcatGenerator, latent_dim=3), "discriminator": CLASSES}
    torch.manual_seed(0)
    model = AMGANPredefined((2,), condition=Labels(3), **networks).double()
    drawn = model.draw(batch(label=torch.tensor([0, 1, 2, 0, 1, 2]), latent=torch.randn(6, 3).double()))
    drawn["condition"] = drawn["condition"].double()
    generated = model.generate(drawn)
    logits = model.class_logits(generated["image"])
    padded = torch.cat([logits, torch.zeros(6, 1)], 1)
    terms = model.generator_terms(drawn, generated)
    assert torch.allclose(sum(terms.values()), F.cross_entropy(padded, drawn["label"], reduction="none"))
    with pytest.raises(ValueError, match="discriminator: got one of 3 classes, allowed with these labels is one of 4"):
        AMGANPredefined((2,), condition=Labels(4), **networks)


def test_am_gan_tells_k_plus_one_classes_apart():
    model, drawn = gan(model=AMGAN, discriminator=CLASSES).double(), batch(label=torch.tensor([0, 1, 2, 0, 1, 2]))
    generated = model.generate(drawn)
    real, fake = (
        torch.cat([model.class_logits(images), torch.zeros(6, 1)], 1) for images in (drawn["image"], generated["image"])
    )
    wanted = F.cross_entropy(real, drawn["label"], reduction="none")
    wanted = wanted + F.cross_entropy(fake, torch.full((6,), 3), reduction="none")
    assert torch.allclose(sum(model.discriminator_terms(drawn, generated).values()), wanted, rtol=0, atol=1e-12)


def test_labels_come_from_the_labelled_samples_where_there_are_some():
    model = improved()
    labelled = {"labelled_image": torch.randn(6, 2).double(), "labelled_label": torch.tensor([0, 1, 2, 0, 1, 2])}
    drawn = batch(**labelled)
    terms = model.discriminator_terms(drawn, model.generate(drawn))
    logits = model.class_logits(labelled["labelled_image"])
    assert torch.allclose(terms["supervised"], F.cross_entropy(logits, labelled["labelled_label"], reduction="none"))


def test_the_generator_is_moved_by_mean_features_alone():
    model, drawn = improved(), batch()
    generated = model.generate(drawn)
    terms = model.generator_terms(drawn, generated)
    (_, real), (_, fake) = (model.discriminator(x, with_features=True) for x in (drawn["image"], generated["image"]))
    assert terms.keys() == {"feature_matching"}
    gap = real[-1].mean(0) - fake[-1].mean(0)
    assert torch.allclose(terms["feature_matching"], gap.square().mean().expand(6))
    still = torch.autograd.grad(terms["feature_matching"].mean(), generated["image"], retain_graph=True)[0]
    assert bool((still != 0).any())


def test_without_classes_it_needs_no_labels(tmp_path):
    model = gan(model=ImprovedGAN)
    fit(model, loader(2), tmp_path)
    drawn = {"image": torch.randn(6, 2), "latent": torch.randn(6, 3)}
    assert model.discriminator_terms(drawn, model.generate(drawn)).keys() == {"adversarial"}


def test_accuracy_is_logged(tmp_path):
    model, recorder = gan(model=ImprovedGAN, discriminator=CLASSES), Recorder()
    images = torch.randn(8, 2)
    val = [{"image": images[:5], "label": torch.zeros(5).long()}, {"image": images[5:], "label": torch.ones(3).long()}]
    labelled = Batches([{"image": images, "label": torch.arange(8) % 3}])
    runner = fit(model, labelled, tmp_path, logger=recorder, limit_val_batches=1.0)
    runner.validate(model, Batches(val), verbose=False)
    found = model.classify(images)
    right = (found == torch.tensor([0] * 5 + [1] * 3)).float().mean()
    assert recorder.rows[-1][1]["val/accuracy"] == pytest.approx(right.item())


@pytest.mark.parametrize(
    ("batches", "sentence"),
    [
        ({"image": torch.randn(8, 2)}, r"batch: has keys \['image'\], but a MLPClassifier needs 'label' too"),
        (
            {"image": torch.randn(8, 2), "label": torch.arange(8)},
            "num_classes: got 3, but there are labels from 0 to 7; allowed are 0 to 2, and -1 for a hidden one",
        ),
    ],
    ids=["no labels", "others"],
)
def test_labels_that_a_classifier_cannot_use(batches, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        fit(gan(model=ImprovedGAN, discriminator=CLASSES), Batches([batches]), tmp_path)


def test_a_class_needs_a_classifier():
    with pytest.raises(ValueError, match="discriminator: got MLPDiscriminator, which knows no classes"):
        gan(model=AMGAN)


def test_what_cannot_be_matched():
    with pytest.raises(ValueError, match="distance: got 'kl', allowed are squared, absolute"):
        gan(model=ImprovedGAN, distance="kl")
    with pytest.raises(ValueError, match="discriminator: got ResNetDiscriminator, which does not give the features"):
        gan((3, 32, 32), ImprovedGAN, discriminator=partial(ResNetDiscriminator, channels=8))
