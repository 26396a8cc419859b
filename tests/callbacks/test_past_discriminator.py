"""Discriminators of the past: when they play, and that nothing of theirs stays."""

from __future__ import annotations

import copy

import pytest
import torch
from lightning.pytorch import Callback

from pl_genmodels.callbacks import ExactResume, PastDiscriminator
from pl_genmodels.data import Ring8
from pl_genmodels.models.gan.gmmn import GMMN
from pl_genmodels.networks import MLPGenerator
from tests.models.harness import SaveAt, assert_same, snapshot
from tests.small import BATCH, fit, gan, loader


class Watch(Callback):
    """The discriminator before and after each batch."""

    def __init__(self):
        self.before, self.after = [], []

    def on_train_batch_start(self, trainer, module, *args):
        self.before.append(copy.deepcopy(module.discriminator.state_dict()))

    def on_train_batch_end(self, trainer, module, *args):
        self.after.append(copy.deepcopy(module.discriminator.state_dict()))


def same(left, right):
    return all(torch.equal(left[name], right[name]) for name in left)


def test_an_old_discriminator_plays_and_the_present_one_comes_back(tmp_path):
    """Kept after batches 3, 6 and 9; the first plays in 7 and 8, the second is there again in 9 and plays in 10."""
    watch = Watch()
    past = PastDiscriminator(every_n_images=3 * BATCH, num_batches=2)
    fit(gan(), loader(10), tmp_path, callbacks=[watch, past])
    for batch in range(10):
        continues = batch == 0 or same(watch.after[batch - 1], watch.before[batch])
        assert continues == (batch not in (6, 8, 9)), batch
    assert same(watch.before[6], watch.after[2]), "the one of three batches"
    assert same(watch.before[8], watch.after[5]), "the present one, without what the old one learnt"
    assert same(watch.before[9], watch.after[5]), "the one of six batches"


@pytest.mark.parametrize("stop", [5, 7], ids=["before", "while it plays"])
def test_resumes_exactly(stop, tmp_path):
    def run(*more, ckpt_path=None):
        model, data = gan(), Ring8(num_samples=9 * BATCH, batch_size=BATCH)
        callbacks = [ExactResume(), PastDiscriminator(every_n_images=3 * BATCH, num_batches=2), *more]
        return snapshot(model, fit(model, data, tmp_path, callbacks=callbacks, ckpt_path=ckpt_path))

    straight = run(SaveAt(stop, tmp_path / "middle.ckpt"))
    assert_same(straight, run(ckpt_path=tmp_path / "middle.ckpt"))


def test_what_it_cannot_do(tmp_path):
    with pytest.raises(ValueError, match="num_batches: got 0, allowed is 1 or more"):
        PastDiscriminator(num_batches=0)
    with pytest.raises(ValueError, match="PastDiscriminator: got GMMN, allowed are models with a discriminator"):
        fit(GMMN((2,), MLPGenerator), loader(1), tmp_path, callbacks=[PastDiscriminator()])
