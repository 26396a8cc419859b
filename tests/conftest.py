import os

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
os.environ.setdefault("WANDB_SILENT", "true")

import atexit
import gc
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent


def pass_over_imports():
    """Spare the garbage collector what imports have made: to look through it takes a third of a small run's time."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # some libraries complain about what is still there at the end


def pytest_configure(config):
    torch.set_num_threads(1)  # one worker a core; the tensors are small


def pytest_collection_finish(session):
    pass_over_imports()


@pytest.fixture
def configs():
    return ROOT / "configs"


@pytest.fixture(autouse=True)
def environment():
    """Each test leaves the environment as it was: Lightning writes a rank into it, which a later `fit` would take.

    Only what has changed is written: a thread of a library that reads the environment meanwhile would crash.
    """
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
