"""Rows of other seeds: with `LEARNING_SEED=1` in the environment every seed of a row is one more."""

from __future__ import annotations

import os
import sys

import pytest
from lightning.pytorch import seed_everything

from pl_genmodels.data.base import ImageData

MORE = int(os.environ.get("LEARNING_SEED", "0"))


@pytest.fixture(autouse=True)
def other_seeds(monkeypatch):
    """Seeds of weights and draws, and of the order of the data and the labels that are told."""
    if not MORE:
        return

    def seed_more(seed=None, **options):
        return seed_everything((seed or 0) + MORE, **options)

    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get("seed_everything") is seed_everything and module.__name__ != __name__:
            monkeypatch.setattr(module, "seed_everything", seed_more)
    start = ImageData.__init__

    def start_more(self, *args, **kwargs):
        start(self, *args, **kwargs)
        self.seed += MORE

    monkeypatch.setattr(ImageData, "__init__", start_more)
