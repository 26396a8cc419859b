"""A folder of pictures translated, against the bare forward passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pl_genmodels.cli.translation import translate
from pl_genmodels.networks import ResNetTranslator
from pl_genmodels.networks.official import to_official
from tests.benchmarks.timing import seconds

SIDE, BATCH = 128, 8


@pytest.mark.benchmark
def test_a_folder_takes_little_longer_than_the_forward_passes(tmp_path, device, measured):
    network = ResNetTranslator((3, SIDE, SIDE), (3, SIDE, SIDE), num_blocks=9).eval().to(device)
    torch.save(to_official(network), tmp_path / "G.pth")
    generator = np.random.default_rng(0)
    number = 104 if device.type == "cpu" else 1000
    for index in range(number):
        coarse = Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        (tmp_path / "in").mkdir(exist_ok=True)
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(tmp_path / "in" / f"{index}.jpg")
    arguments = {"weights": str(tmp_path / "G.pth"), "batch_size": BATCH, "device": device.type}

    def folder():
        translate(str(tmp_path / "in"), str(tmp_path / "out"), **arguments)

    images = torch.rand(BATCH, 3, SIDE, SIDE) * 2 - 1

    def bare():
        with torch.inference_mode():
            for _ in range(number // BATCH):
                network(images.to(device)).cpu()

    with torch.inference_mode():
        network(images.to(device))  # warms up
    ratio = seconds(folder, device) / seconds(bare, device)
    setting = f"ResNet-9 {SIDE}x{SIDE}, {number} JPEG files, batches of {BATCH}, loading of the weights included"
    unit = {"unit": "time", "setting": setting}
    row = measured("translate a folder", "translate", "generator forwards", ratio, "<= 1.15", **unit)
    assert row.holds
