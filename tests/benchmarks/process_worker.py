"""One process of `test_processes.py`: trains on its share of a batch and prints images per second by the wall clock."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import torch
from lightning.pytorch import Callback

from tests.benchmarks.networks import BATCH, dcgan, images
from tests.benchmarks.timing import fit

SIZE, WARM_UP, STEPS = 32, 3, 20


class WallClock(Callback):
    """When each batch began; only the clock on the wall sees processes wait for each other."""

    def __init__(self):
        self.times = []

    def on_train_batch_start(self, *args):
        self.times.append(time.perf_counter())


if __name__ == "__main__":
    num_processes, num_threads = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(num_threads)
    clock, device = WallClock(), torch.device("cpu")
    share = [{"image": images(SIZE)[: BATCH // num_processes]}] * (WARM_UP + STEPS + 1)
    options = {"devices": num_processes, "strategy": "ddp" if num_processes > 1 else "auto", "callbacks": [clock]}
    with tempfile.TemporaryDirectory() as folder:
        fit(dcgan(SIZE, device), share, Path(folder), device, use_distributed_sampler=False, **options)
    print(BATCH * STEPS / (clock.times[-1] - clock.times[WARM_UP]))
