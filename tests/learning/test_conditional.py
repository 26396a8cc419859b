"""GANs that are told what to make do so: rows as in `test_gan.py`."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import seed_everything
from torch import nn

from pl_genmodels.data import Digits
from pl_genmodels.layers import Labels
from pl_genmodels.metrics import DigitClassifier
from pl_genmodels.models.conditional_gan.cgan import CGAN
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import ConcatGenerator, ConditionalDiscriminator, MLPGenerator
from tests.learning.bench import Check, Stream, assert_learns, fit, near, passed

pytestmark = pytest.mark.learning

LAST = {"cgan": (0.987, 0.119, (0.9917, -0.4990, -0.4925, -0.1243))}  # measured last, in the order of the checks
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
