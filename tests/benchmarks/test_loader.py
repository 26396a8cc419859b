"""How much faster whole batches are gathered than torchvision's data sets are read item by item."""

import struct
import time
from statistics import median

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from pl_genmodels.data import Loader, TensorSet, to_float

NUM_IMAGES = 60_000
BATCH_SIZE = 128
ROUNDS = 5
SECONDS = 0.4
"""Time per loader and round; the rounds alternate, so that a busy machine slows both alike."""


def write_mnist(root):
    """Files in MNIST's own format, with random pixels."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 28, 28), dtype=np.uint8)
    labels = np.zeros(NUM_IMAGES, dtype=np.uint8)
    for name in ("train", "t10k"):
        header = struct.pack(">IIII", 0x803, NUM_IMAGES, 28, 28)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, NUM_IMAGES) + labels.tobytes())


def images_per_second(batches, epoch):
    """CPU time decides, not the clock on the wall: the machine may be shared."""
    start, seen = time.process_time(), 0
    while time.process_time() - start < SECONDS:
        batch = next(batches, None)
        if batch is None:
            batches = epoch()
            continue
        assert batch.dtype == torch.float32
        assert batch.shape == (BATCH_SIZE, 1, 28, 28)
        seen += len(batch)
    return seen / (time.process_time() - start)


@pytest.mark.benchmark
def test_loader_is_twenty_times_as_fast_as_torchvision(tmp_path, measured):
    write_mnist(tmp_path)
    to_range = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    theirs = DataLoader(MNIST(tmp_path, transform=to_range), BATCH_SIZE, shuffle=True, drop_last=True, num_workers=0)
    data = MNIST(tmp_path)
    tensors = TensorSet({"image": data.data[:, None], "label": data.targets})
    ours = Loader(tensors, BATCH_SIZE, shuffle=True, drop_last=True)

    index = 7  # both give the same numbers
    assert torch.allclose(theirs.dataset[index][0], to_float(tensors[index]["image"]), atol=1e-6)

    def our_epoch():
        return (to_float(batch["image"]) for batch in ours)

    def their_epoch():
        return (image for image, _ in theirs)

    ratios = []
    for _ in range(ROUNDS):
        slow = images_per_second(their_epoch(), their_epoch)
        fast = images_per_second(our_epoch(), our_epoch)
        ratios.append(fast / slow)
    row = measured(
        "loader", "Loader", "torchvision's MNIST", median(ratios), ">= 20", unit="images/s", setting="cpu, batch 128"
    )
    assert row.holds
