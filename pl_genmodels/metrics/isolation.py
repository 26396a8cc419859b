"""Measuring without leaving a trace: random numbers and training modes are put back afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def undisturbed(device: torch.device, seed: int) -> Iterator[None]:
    """Run without gradients on random numbers of its own; Python's, NumPy's and torch's are as before afterwards.

    Args:
        device: Whose random numbers to keep, besides the CPU's.
        seed: Of random numbers that are drawn inside, for example by a data set's augmentations.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = [] if device.type == "cpu" else [device]
    kind = "cuda" if device.type == "cpu" else device.type
    # In inference mode, which a validation loop brings, kept tensors could not be used later.
    with torch.random.fork_rng(devices, device_type=kind), torch.inference_mode(False), torch.no_grad():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        if devices:  # whose own numbers what is drawn there takes
            torch.get_device_module(kind).manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and afterwards back each of its parts that was training."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters or buffers lie; the CPU if it has none."""
    for tensors in (module.parameters(), module.buffers()):
        for tensor in tensors:
            return tensor.device
    return torch.device("cpu")
