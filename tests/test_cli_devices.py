"""Verbs with `device` on a GPU that is pretended: what they write is what they write on a CPU."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pl_genmodels.cli.completion import complete
from pl_genmodels.cli.representation import encode, reconstruct
from pl_genmodels.cli.translation import translate
from pl_genmodels.data import Digits
from pl_genmodels.metrics.isolation import undisturbed
from pl_genmodels.models.autoregressive.made import MADE
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import UNetTranslator
from tests.pretended_cuda import CUDA, pretended_cuda
from tests.small_translation import cyclegan
from tests.test_translate import saved

SHAPE = (1, 8, 8)
VERBS = {
    "encode": (lambda: VAE(SHAPE), lambda path, **to: encode(path, data=Digits(8), **to), "codes.npz"),
    "reconstruct": (lambda: VAE(SHAPE), lambda path, **to: reconstruct(path, data=Digits(8), **to), "pairs.png"),
    "complete": (lambda: MADE(SHAPE), lambda path, **to: complete(path, str(digit(path)), **to), "completions.png"),
    "translate": (
        lambda: cyclegan(generator=partial(UNetTranslator, channels=4, num_halvings=2)),
        lambda path, out, device: translate(str(digit(path).parent), out, path, tile=12, overlap=4, device=device),
        "translated",
    ),
}


def digit(path):
    """A picture beside a checkpoint."""
    file = Path(path).parent / "pictures" / "digit.png"
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)).save(file)
    return file


def arrays(path):
    if path.suffix == ".npz":
        return dict(np.load(path))
    return {file.name: np.asarray(Image.open(file)) for file in ([path] if path.is_file() else path.iterdir())}


@pytest.mark.parametrize("verb", VERBS)
def test_the_device_changes_nothing_of_what_is_written(verb, tmp_path, monkeypatch):
    model, run, out = VERBS[verb]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    torch.manual_seed(0)
    path, found = saved(model(), tmp_path / "model.ckpt"), []
    for device, where in (("cpu", contextlib.nullcontext), ("cuda", pretended_cuda)):
        with where():
            run(path, out=str(tmp_path / device / out), device=device)
        found.append(arrays(tmp_path / device / out))
    left, right = found
    assert left.keys() == right.keys()
    assert all(np.array_equal(left[key], right[key]) for key in left)


def test_what_is_measured_on_a_gpu_takes_its_numbers_from_the_seed(monkeypatch):
    with pretended_cuda():
        seeds = []
        monkeypatch.setattr(torch.cuda, "manual_seed", seeds.append)
        with undisturbed(CUDA, 5):
            assert seeds == [5]
        with undisturbed(torch.device("cpu"), 6):
            assert seeds == [5]
