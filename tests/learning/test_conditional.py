"""GANs that are told what to make do so: rows as in `test_gan.py`."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from lightning.pytorch import seed_everything
from torch import nn

from pl_genmodels.data import Digits
from pl_genmodels.layers import Labels
from pl_genmodels.metrics import DigitClassifier
from pl_genmodels.metrics.clustering import confusion, matched_accuracy
from pl_genmodels.models.conditional_gan.acgan import ACGAN
from pl_genmodels.models.conditional_gan.artgan import ArtGAN
from pl_genmodels.models.conditional_gan.cgan import CGAN
from pl_genmodels.models.conditional_gan.infogan import InfoGAN
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import (
    AutoencodingClassifier,
    ClassDiscriminator,
    ConcatGenerator,
    ConditionalDiscriminator,
    MLPDecoder,
    MLPGenerator,
    OverSampledGenerator,
    UniformPrior,
)
from tests.learning.bench import Check, Stream, assert_learns, fit, near, passed, real_digits

pytestmark = pytest.mark.learning

LAST = {
    "acgan": (0.989, 0.117),
    "artgan": (0.999, 0.109, 0.0308, 0.0849),
    "infogan": (2.285, 0.971, 0.644),
    "cgan": (0.987, 0.119, (0.9917, -0.4990, -0.4925, -0.1243)),
}  # measured last, in the order of the checks
NETWORKS = {"generator": partial(ConcatGenerator, generator=partial(MLPGenerator, batch_norm=True))}


def trained(make, updates, seed=0):
    """On digits of 16 x 16."""
    seed_everything(seed, verbose=False)
    return fit(make((1, 16, 16)), Digits(16, seed=seed), updates=updates).eval()


def agreement(model, number=1000):
    """Share of samples read as the label asked for, and their deviation within a label, of pixels in [0, 1]."""
    labels, samples = torch.arange(number) % 10, model.sample(number, seed=1)
    read = DigitClassifier()(samples.add(1).mul(127.5).round().byte())[1].argmax(1)
    spread = torch.stack([samples[labels == label].std(0).mean() for label in range(10)]).mean() / 2
    return (read == labels).float().mean().item(), spread.item()


def told(make, updates, last):
    right, spread = agreement(trained(make, updates))
    return [
        Check("label as asked", right, 0.9, 1, last[0]),
        Check("deviation within a label", spread, 0.06, 1, last[1]),
    ]


# ---- infogan


def information(weight, updates, seed=0):
    """The bound on the information of the category, the smaller correlation of a number and its reading, the model."""
    networks = {**NETWORKS, "prior": UniformPrior()}
    weights = {"categorical_weight": weight, "continuous_weight": weight}
    model = trained(partial(InfoGAN, **networks, **weights), updates, seed)
    code = model.codes.draw(4000, torch.Generator().manual_seed(0), model.device)
    found = model.represent(model.sample(4000, code=code, seed=1))
    log_q = found[:, :10].clamp(min=1e-30).log()[torch.arange(4000), code[:, 0].long()]
    pairs = [torch.stack([code[:, place], found[:, 9 + place]]) for place in (1, 2)]
    correlation = min(torch.corrcoef(pair)[0, 1].item() for pair in pairs)
    return log_q.mean().item() + math.log(10), correlation, model


def infogan():
    bound, correlation, model = information(1.0, 2300)
    images, labels = real_digits(16)
    counts = confusion(model.cluster(images / 127.5 - 1), labels, 10, 10)
    return [
        Check("bound on the information", bound, 2.1, math.log(10), LAST["infogan"][0]),
        Check("correlation of continuous codes", correlation, 0.9, 1, LAST["infogan"][1]),
        Check("clusters in their classes", matched_accuracy(counts), 0.5, 1, LAST["infogan"][2]),
    ]


# ---- artgan

LARGE = partial(OverSampledGenerator, generator=partial(MLPGenerator, batch_norm=True))
RECONSTRUCTING = partial(
    AutoencodingClassifier, classifier=ClassDiscriminator, decoder=partial(MLPDecoder, hidden_dim=256)
)


def artgan(updates=2000, model=ArtGAN, **arguments):
    """Gates of the sheet, and what a mean picture in place of each reconstruction would leave."""
    make = partial(
        model, generator=partial(ConcatGenerator, generator=LARGE), discriminator=RECONSTRUCTING, **arguments
    )
    held_out = Digits(16).load("test").tensors["image"] / 127.5 - 1
    error = lambda of: (of.reconstruct(held_out) - held_out).square().mean().item()
    trained_one = trained(make, updates)
    seed_everything(0, verbose=False)
    before, after = error(make((1, 16, 16))), error(trained_one)
    right, spread = agreement(trained_one)
    return [
        Check("label as asked", right, 0.85, 1, LAST["artgan"][0]),
        Check("deviation within a label", spread, 0.06, 1, LAST["artgan"][1]),
        Check("error of reconstructions over that at the start", after / before, 0, 0.5, LAST["artgan"][2]),
        Check("error over the data's variance", after / held_out.var(0).mean().item(), 0, 0.5, LAST["artgan"][3]),
    ]


class Unasked(ArtGAN):
    """The error of the label does not go back to the generator."""

    def generator_terms(self, batch, generated):
        terms = super().generator_terms(batch, generated)
        return {name: term for name, term in terms.items() if name != "class"}


def test_without_the_error_of_the_label_the_generator_does_not_listen():
    checks = artgan(800, Unasked)
    print(*checks, sep="\n")
    assert checks[0].value <= 0.3


def test_without_weight_nothing_is_reconstructed():
    checks = artgan(300, reconstruction_weight=0.0)
    print(*checks, sep="\n")
    assert not checks[2].passed
    assert not checks[3].passed


# ---- cgan


class Linear(ConditionalDiscriminator):
    """A slope and an offset for each label."""

    def __init__(self, image_shape, condition_dim):
        super().__init__(image_shape, condition_dim)
        self.layer = nn.Linear(2 * condition_dim, 1, bias=False)

    def forward(self, image, condition):
        return self.layer(torch.cat([image * condition, condition], 1)).squeeze(1)


class PlainNormal(ConcatGenerator):
    """Points of N(0, 1), whatever is asked."""

    def forward(self, latent, condition):
        return latent[:, :1] + 0 * sum(parameter.sum() for parameter in self.parameters())


class LabelledNormals(Stream):
    """Points of N(m, 1) with the label of m."""

    MEANS = torch.tensor([1.0, -0.5])

    def __init__(self, batches):
        super().__init__(None, batches)

    def __iter__(self):
        for _ in range(self.batches):
            label = torch.randint(2, (1000,))
            yield {"image": self.MEANS[label][:, None] + torch.randn(1000, 1), "label": label}


def conditional_optimum(model=CGAN):
    """Between N(m_y, 1) and N(0, 1) the best logit is m_y x - m_y^2 / 2."""
    seed_everything(0, verbose=False)
    networks = {"generator": partial(PlainNormal, latent_dim=1), "discriminator": Linear}
    slow = partial(GANAdam, lr=3e-3)
    made = model((1,), condition=Labels(2), **networks, optimizer_discriminator=slow)
    fit(made, LabelledNormals(1200), updates=1200)
    weights = made.discriminator.layer.weight.detach()[0].tolist()
    expected = [1.0, -0.5, -0.5, -0.125]
    return [
        near(f"weight {index}", found, value, 0.03, last)
        for index, (found, value, last) in enumerate(zip(weights, expected, LAST["cgan"][2], strict=True))
    ]


class Shuffled(CGAN):
    """The discriminator is told labels that do not belong to the samples."""

    def judge_pairs(self, images, condition):
        return super().judge_pairs(images, condition[torch.randperm(len(condition))])


ROWS = {
    "acgan": [lambda: told(partial(ACGAN, **NETWORKS), 2000, LAST["acgan"])],
    "artgan": [artgan],
    "infogan": [infogan],
    "cgan": [conditional_optimum, lambda: told(partial(CGAN, **NETWORKS), 2000, LAST["cgan"])],
}


@pytest.mark.parametrize("stem", ROWS)
def test_system_learns(stem):
    assert_learns(ROWS[stem])


def test_labels_that_the_discriminator_cannot_trust_are_not_learnt():
    right, _ = agreement(trained(partial(Shuffled, **NETWORKS), 800))
    print(f"label as asked, shuffled in D: {right:.3f}")
    assert right <= 0.3
    assert not passed(conditional_optimum(Shuffled))


class NotNamed(ACGAN):
    """The generator is not asked to be of the class."""

    def generator_terms(self, batch, generated):
        return {"adversarial": super().generator_terms(batch, generated)["adversarial"]}


def test_a_generator_that_need_not_be_of_the_class_is_not():
    right, _ = agreement(trained(partial(NotNamed, **NETWORKS), 800))
    print(f"label as asked, without the class in G: {right:.3f}")
    assert right <= 0.3


def test_codes_without_weight_say_nothing():
    bound, correlation, _ = information(0.0, 300)
    print(f"bound {bound:.3f}, correlation {correlation:.3f}")
    assert bound < 0.1
    assert abs(correlation) < 0.5
