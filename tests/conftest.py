import os

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
os.environ.setdefault("WANDB_SILENT", "true")

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent


def pytest_configure(config):
    torch.set_num_threads(1)  # one worker a core; the tensors are small


@pytest.fixture
def configs():
    return ROOT / "configs"


@pytest.fixture(autouse=True)
def environment():
    """Each test leaves the environment as it was: Lightning writes a rank into it, which a later `fit` would take."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
