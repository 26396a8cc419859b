"""Translations of the same sources, on disk and in every logger."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from pl_genmodels.callbacks import TranslationGrid, translation_grid
from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.data import PairData, RingToRing, TensorSet, UnpairedTensors
from tests.callbacks.test_sample_grid import ImageLogger
from tests.models.harness import assert_same, snapshot, trainer
from tests.small import fit, gan
from tests.small_translation import SHAPE, cyclegan, pix2pix, rings


class Pictures(PairData):
    """Random pictures; grey sources if asked."""

    def __init__(self, paired: bool = True, source_channels: int = 3, **kwargs):
        super().__init__(batch_size=2, **kwargs)
        self.paired = paired
        self.source_shape, self.target_shape = (source_channels, *SHAPE[1:]), SHAPE
        self.save_hyperparameters()

    def load(self, split):
        generator = torch.Generator().manual_seed(len(split))
        shapes = {"source": self.source_shape, "target": self.target_shape}
        tensors = {
            key: torch.randint(256, (6, *shape), dtype=torch.uint8, generator=generator)
            for key, shape in shapes.items()
        }
        return TensorSet(tensors, split) if self.paired else UnpairedTensors(*tensors.values(), split)


def pixels(picture):
    return np.asarray(picture.convert("RGB"))


def floats(data, split="val", number=3):
    """Evenly taken, since many data sets are sorted."""
    tensors, rows = data.load(split).tensors, {2: [0, 5], 3: [0, 2, 5]}[number]
    return {key: tensors[key][rows].float() / 127.5 - 1 for key in ("source", "target")}


def expected(columns):
    rows = torch.stack([column.expand(-1, 3, -1, -1) for column in columns], 1)
    return pixels(grid_picture(rows.flatten(0, 1), len(columns), scale=4))


@pytest.mark.parametrize("paired", [True, False])
def test_rows_are_sources_with_what_becomes_of_them_in_both_directions(paired, tmp_path):
    model, data, logger = cyclegan(), Pictures(paired), ImageLogger()
    callback = TranslationGrid(every_n_images=4, num_samples=3)
    fit(model, data, tmp_path, max_steps=3, callbacks=[callback], logger=logger)
    files = sorted(tmp_path.rglob("translations/*.png"))
    assert [file.name for file in files] == [f"{images:09d}.png" for images in (0, 4, 6)]
    batch = floats(data)
    source, target = batch["source"], batch["target"]
    there, back = model.translate(source), model.translate(target, "BtoA")
    first = [source, there, model.translate(there, "BtoA"), target]
    second = [target, back, model.translate(back), source]
    columns = first + second if paired else first[:3] + second[:3]
    assert (pixels(Image.open(files[-1])) == expected(columns)).all()
    assert (pixels(Image.open(files[0])) != pixels(Image.open(files[-1]))).any()
    assert [(key, step) for key, step, _ in logger.pictures] == [("translations", step) for step in (0, 1, 3)]
    assert (logger.pictures[-1][2] == pixels(Image.open(files[-1]))).all()


def test_one_direction_grey_sources_and_noise_of_a_seed(tmp_path):
    model, data = pix2pix(source_shape=(1, 16, 16)), Pictures(source_channels=1)
    fit(model, data, tmp_path, max_steps=1, callbacks=[TranslationGrid(num_samples=2, seed=7)])
    batch = floats(data, number=2)
    columns = [batch["source"], model.translate(batch["source"], seed=7), batch["target"]]
    last = sorted((tmp_path / "translations").iterdir())[-1]
    assert (pixels(Image.open(last)) == expected(columns)).all()


@pytest.mark.parametrize("validated", [True, False])
def test_plain_loaders_give_the_first_pairs_too(validated, tmp_path):
    generator = torch.Generator().manual_seed(0)
    pairs = [torch.rand(4, *SHAPE, generator=generator) * 2 - 1 for _ in range(4)]
    train, val = (DataLoader(TensorDataset(*pair), 2) for pair in (pairs[:2], pairs[2:]))
    model = pix2pix()
    options = {"limit_val_batches": 1} if validated else {}
    runner = trainer(tmp_path, max_steps=1, callbacks=[TranslationGrid(num_samples=3)], **options)
    runner.fit(model, train, val if validated else None)
    source, target = (part[:3] for part in (pairs[2:] if validated else pairs[:2]))
    last = sorted((tmp_path / "translations").iterdir())[-1]
    assert (pixels(Image.open(last)) == expected([source, model.translate(source, seed=0), target])).all()


def test_points_are_scattered_over_their_targets(tmp_path, monkeypatch):
    calls = []
    draw = translation_grid.scatter_picture
    monkeypatch.setattr(translation_grid, "scatter_picture", lambda *args: calls.append(args) or draw(*args))
    model, data = rings(), RingToRing(num_samples=400, batch_size=10)
    fit(model, data, tmp_path, max_steps=1, callbacks=[TranslationGrid(num_samples=2)])
    val = data.load("val").tensors
    rows = torch.linspace(0, len(val["source"]) - 1, 64).round().long()
    source, target = val["source"][rows], val["target"][rows]
    assert len(calls) == 4  # two directions, at the start and at the end
    assert torch.equal(calls[-2][1], target)
    assert torch.equal(calls[-2][0], model.translate(source))
    assert torch.equal(calls[-1][0], model.translate(target, "BtoA"))
    width, height = Image.open(next((tmp_path / "translations").iterdir())).size
    assert width == 2 * height


def test_drawing_does_not_change_training(tmp_path):
    plain, drawn = pix2pix(), pix2pix()  # whose generator draws noise
    one = fit(plain, Pictures(flip=True), tmp_path, max_steps=4)
    two = fit(drawn, Pictures(flip=True), tmp_path, max_steps=4, callbacks=[TranslationGrid(every_n_images=1)])
    assert_same(snapshot(plain, one), snapshot(drawn, two))


def test_what_is_wrong_is_said(tmp_path):
    for name in ("every_n_images", "num_samples"):
        with pytest.raises(ValueError, match=f"{name}: got 0, allowed is 1 or more"):
            TranslationGrid(**{name: 0})
    with pytest.raises(ValueError, match="TranslationGrid: got GAN, allowed are models that translate"):
        fit(gan(), RingToRing(), tmp_path, callbacks=[TranslationGrid()])
