"""What one call for several inputs brings to a step of CycleGAN."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pl_genmodels.models import translating
from pl_genmodels.models.translation import cyclegan
from pl_genmodels.networks import PatchDiscriminator, ResNetTranslator
from tests.benchmarks.timing import time_ratio

SHAPE = (3, 64, 64)


class Step:
    """Both players' turns on one pair of pictures, without a Trainer.

    Args:
        device: Where it runs.
        one_call: Whether pictures may share a call; else each input has its own, as with batch normalisation.
        patch: Sets attributes for as long as the step runs.
    """

    def __init__(self, device, one_call, patch):
        torch.manual_seed(0)
        networks = {"generator": partial(ResNetTranslator, num_blocks=6), "discriminator": PatchDiscriminator}
        self.model = cyclegan.CycleGAN(SHAPE, SHAPE, **networks).to(device)
        self.optimizers = self.model.configure_optimizers()[0]
        self.batch = {name: torch.rand(1, *SHAPE, device=device) * 2 - 1 for name in ("source", "target")}
        self.one_call, self.patch = one_call, patch

    def __call__(self):
        with self.patch.context() as patch:
            if not self.one_call:
                for module in (cyclegan, translating):
                    patch.setattr(module, "mixes_pictures", lambda network: True)
            generated = self.model.generate(self.batch)
            for player, optimizer in zip(self.model.players, self.optimizers, strict=True):
                optimizer.zero_grad()
                terms = getattr(self.model, f"{player}_terms")
                with self.model.turn(player):
                    found = terms(self.batch, self.model.shown(player, generated))
                    torch.stack([term.mean() for term in found.values()]).sum().backward()
                optimizer.step()


@pytest.mark.benchmark
def test_one_call_for_several_inputs_pays(device, measured, monkeypatch):
    ours, theirs = (Step(device, one_call, monkeypatch) for one_call in (True, False))
    ratio = time_ratio(ours, theirs, device)
    bound = "<= 0.95" if device.type == "cpu" else "<= 0.7"
    what, against = "one call for several inputs", "one call for each"
    row = measured("translation/cyclegan", what, against, ratio, bound, unit="time", setting="ResNet-6, 64x64, batch 1")
    assert row.holds
