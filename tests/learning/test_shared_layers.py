"""Domains without pairs find each other through what their networks share."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import seed_everything

from pl_genmodels.data import Digits
from pl_genmodels.models.translation.cogan import CoGAN
from pl_genmodels.networks import CoupledDiscriminator, CoupledGenerator
from tests.learning.bench import Check, fit, passed

pytestmark = pytest.mark.learning


class Shuffled:
    """Batches of two domains, each shuffled by itself."""

    def __init__(self, source, target, batch, batches):
        self.domains, self.batch, self.batches = {"source": source, "target": target}, batch, batches

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            yield {key: value[torch.randint(len(value), (self.batch,))] for key, value in self.domains.items()}


# ---- CoGAN: pairs out of one latent


def correlation(images, others):
    """Of two sets of pictures, each without its mean: digits are alike whatever belongs together."""
    special = [(part - part.mean(0)).flatten() for part in (images, others)]
    return float(torch.corrcoef(torch.stack(special))[0, 1])


def pairs_belong_together(shared, updates):
    """Correlation of what one generator makes, turned negative, with what the other makes of the same latent."""
    digits = Digits(16).load("train").tensors["image"] / 127.5 - 1
    seed_everything(0, verbose=False)
    model = CoGAN(
        (1, 16, 16),
        (1, 16, 16),
        generator=partial(CoupledGenerator, latent_dim=32, widths=(64, 48, 32), shared=shared),
        discriminator=partial(CoupledDiscriminator, widths=(16, 48, 128), padding=2),
    )
    fit(model, Shuffled(digits[::2], -digits[1::2], 64, updates), updates=updates)
    pairs = model.sample_pairs(512, seed=0)
    return correlation(-pairs["source"], pairs["target"])


def test_cogan_makes_pairs_of_digits_and_their_negatives():
    checks = [
        Check("correlation of pairs", pairs_belong_together(True, 600), 0.5, 1, LAST["cogan"][0]),
        Check("correlation without shared layers", pairs_belong_together(False, 600), -0.15, 0.15, LAST["cogan"][1]),
    ]
    print(*checks, sep="\n")
    assert passed(checks)


LAST = {"cogan": (0.97, 0.12)}
