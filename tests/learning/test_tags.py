"""Words for pictures: rows as in `test_gan.py`."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import seed_everything

from pl_genmodels.cli.tags import share_with_a_true_tag
from pl_genmodels.data import TaggedShapes
from pl_genmodels.models.conditional_gan.cgan_tags import CGANTags
from pl_genmodels.networks import ConcatGenerator, MLPGenerator
from tests.learning.bench import Check, assert_learns, fit

pytestmark = pytest.mark.learning

LAST = (0.960, 0.501)  # measured last, in the order of the checks
GENERATOR = partial(ConcatGenerator, latent_dim=16, generator=partial(MLPGenerator, batch_norm=True))


def voted(model=CGANTags, updates=2000):
    """Three words with the most votes; 23.6% of pictures would have a true tag among three words by chance.

    With vectors of length 1, whose numbers are a quarter of the features', it is 0.60.
    """
    seed_everything(0, verbose=False)
    data = TaggedShapes()
    made = fit(model(data.image_shape, generator=GENERATOR), data, updates=updates).eval()
    features, pairs = data.tagged("test")
    found = made.tags(features, data.word_vectors, 3, num_nearest=3)
    _, kinds = data.pictures("test")
    return [
        Check("a true tag among three words", share_with_a_true_tag(found, pairs), 0.7, 1, LAST[0]),
        Check("words that are true", (found // 3 == kinds[:, None]).float().mean().item(), 0.35, 1, LAST[1]),
    ]


class Unseen(CGANTags):
    """The discriminator is told features of other pictures."""

    def judge_pairs(self, images, condition):
        return super().judge_pairs(images, condition[torch.randperm(len(condition))])


def test_system_learns():
    assert_learns([voted])


def test_features_that_the_discriminator_cannot_trust_name_nothing():
    checks = voted(Unseen, 800)
    print(*checks, sep="\n")
    assert checks[0].value < 0.5
    assert not checks[1].passed
