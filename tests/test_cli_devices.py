"""Verbs with `device` on a GPU that is pretended: what they write is what they write on a CPU."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from pathlib import Path
from types import FunctionType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from pl_genmodels.cli.completion import complete
from pl_genmodels.cli.editing import arithmetic, interpolate, neighbours, project_pictures
from pl_genmodels.cli.evaluation import evaluate
from pl_genmodels.cli.filling import anogan, inpaint
from pl_genmodels.cli.manipulation import edit
from pl_genmodels.cli.representation import encode, reconstruct
from pl_genmodels.cli.translation import translate
from pl_genmodels.cli.verbs import sample
from pl_genmodels.data import Digits, DigitsToColour
from pl_genmodels.metrics import DigitClassifier
from pl_genmodels.metrics.isolation import undisturbed
from pl_genmodels.models.autoregressive.made import MADE
from pl_genmodels.models.conditional_gan.ccgan import CCGAN
from pl_genmodels.models.conditional_gan.cgan import CGAN
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import UNetTranslator
from tests.pretended_cuda import CUDA, pretended_cuda
from tests.small_translation import cyclegan
from tests.test_translate import saved

SHAPE = (1, 8, 8)
SEARCH = {"num_starts": 2, "num_steps": 3}


def of_a_vae(verb, out="pictures.png", **options):
    """What a verb does with a VAE and a picture, where it takes one."""

    def run(path, **to):
        given = {key: str(value(path)) if isinstance(value, FunctionType) else value for key, value in options.items()}
        verb(path, **given, **to)

    return lambda: VAE(SHAPE), run, out


def measured(path, **to):
    data, of = Digits(8, batch_size=256), {"num_samples": 64, "split": "val"}
    evaluate(path, data, DigitClassifier(), ["fid", "likelihood", "probe"], num_importance_samples=2, **of, **to)


VERBS = {
    "sample": of_a_vae(sample, "samples.npz", num_samples=9),
    "sample --label": (
        lambda: CGAN(SHAPE),
        lambda path, **to: sample(path, label="0..2", columns=2, **to),
        "samples.png",
    ),
    "evaluate": (lambda: VAE(SHAPE), measured, "measures.json"),
    "evaluate translations": (
        lambda: cyclegan(generator=partial(UNetTranslator, channels=4, num_halvings=2)),
        lambda path, **to: evaluate(path, DigitsToColour(16), DigitClassifier(), ["fid"], **to),
        "measures.json",
    ),
    "interpolate": of_a_vae(interpolate, num_paths=2, num_steps=3),
    "arithmetic": of_a_vae(arithmetic, a="0,1", b="2", c="3"),
    "neighbours": of_a_vae(neighbours, data=Digits(8), extractor=DigitClassifier(), num_samples=2, num_neighbours=2),
    "project": of_a_vae(project_pictures, "latents.npz", input=lambda path: digit(path), **SEARCH),
    "inpaint": of_a_vae(inpaint, input=lambda path: digit(path), **SEARCH),
    "inpaint by itself": (
        lambda: CCGAN(SHAPE, hole=(3, 4)),
        lambda path, **to: inpaint(path, str(digit(path)), **to),
        "filled.png",
    ),
    "anogan": of_a_vae(anogan, input=lambda path: digit(path), **SEARCH),
    "edit": of_a_vae(edit, input=lambda path: digit(path), region="1,1,5,5", shift="1,1", num_steps=2),
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
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if path.suffix == ".npz":
        return dict(np.load(path))
    return {file.name: np.asarray(Image.open(file)) for file in ([path] if path.is_file() else path.iterdir())}


@pytest.mark.parametrize("verb", VERBS)
def test_the_device_changes_nothing_of_what_is_written(verb, tmp_path, monkeypatch):
    model, run, out = VERBS[verb]
    there = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: True))
    monkeypatch.setattr("pl_genmodels.cli.building.torch", there)  # for the choice alone: optimisers ask too
    torch.manual_seed(0)
    path, found = saved(model(), tmp_path / "model.ckpt"), []
    for device, where in (("cpu", contextlib.nullcontext), ("cuda", pretended_cuda)):
        with where():
            run(path, out=str(tmp_path / device / out), device=device)
        found.append(arrays(tmp_path / device / out))
    left, right = found
    assert left.keys() == right.keys()
    assert all(np.array_equal(left[key], right[key]) for key in left if not isinstance(left[key], float))
    measures = [key for key in left if isinstance(left[key], float)]
    assert [left[key] for key in measures] == pytest.approx([right[key] for key in measures], rel=1e-9)


@pytest.mark.parametrize("verb", VERBS)
def test_a_device_that_is_not_there_is_refused(verb, tmp_path):
    model, run, out = VERBS[verb]
    path = saved(model(), tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match=r"^device: got 'gpu', allowed here are auto"):
        run(path, out=str(tmp_path / out), device="gpu")


def test_what_is_measured_on_a_gpu_takes_its_numbers_from_the_seed(monkeypatch):
    with pretended_cuda():
        seeds = []
        monkeypatch.setattr(torch.cuda, "manual_seed", seeds.append)
        with undisturbed(CUDA, 5):
            assert seeds == [5]
        with undisturbed(torch.device("cpu"), 6):
            assert seeds == [5]
