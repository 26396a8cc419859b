"""Pictures at their intervals, on disk and in every logger."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from PIL import Image

from pl_genmodels.callbacks import SampleGrid, sample_grid
from pl_genmodels.callbacks.sample_grid import grid_picture, scatter_picture
from tests.callbacks.wandb_records import read_run
from tests.models.harness import assert_same, snapshot
from tests.small import BATCH, fit, gan, loader, samples

SHAPE = (1, 4, 4)


def pixels(picture):
    return np.asarray(picture.convert("RGB"))


# ---- what is drawn


def test_grid():
    values = torch.tensor([-1.0, 1.0, 0.0])
    picture = pixels(grid_picture(values[:, None, None, None].expand(3, 1, 4, 4), columns=2))
    assert picture.shape == (1 + 2 * 5, 1 + 2 * 5, 3)
    assert (picture[1:5, 1:5] == 0).all()
    assert (picture[1:5, 6:10] == 255).all()
    assert (picture[6:10, 1:5] == 128).all()
    assert (picture[0] == 255).all(), "white lines between pictures"


def test_a_single_picture_enlarged_has_no_frame():
    image = torch.full((1, 3, 2, 2), -1.0)
    image[0, 0, 0, 1] = 1.0  # a red pixel at the top right
    picture = pixels(grid_picture(image, columns=8, scale=3))
    assert picture.shape == (6, 6, 3)
    assert (picture[:3, 3:] == (255, 0, 0)).all()
    assert (picture[3:] == 0).all()
    assert (picture[:, :3] == 0).all()


def test_grid_clips_what_is_out_of_range():
    picture = pixels(grid_picture(torch.tensor([-5.0, 5.0])[:, None, None, None].expand(2, 1, 2, 2), columns=2))
    assert (picture[1:3, 1:3] == 0).all()
    assert (picture[1:3, 4:6] == 255).all()


def test_scatter():
    points = torch.randn(50, 2)
    alone, both = (pixels(scatter_picture(points, real)).reshape(-1, 3) for real in (None, points + 3))
    red = [(p[:, 0] > 180) & (p[:, 1] < 120) & (p[:, 2] < 120) for p in (alone, both)]
    grey = [(p == 191).all(1) for p in (alone, both)]
    assert red[0].sum() > 300 < red[1].sum() * 3
    assert grey[0].sum() + 100 < grey[1].sum()


# ---- when


@pytest.mark.parametrize("critic_steps", [1, 3])
def test_files_at_the_interval_at_the_start_and_at_the_end(critic_steps, tmp_path):
    callback = SampleGrid(every_n_images=20, num_samples=6, columns=3)
    model = gan(SHAPE, critic_steps=critic_steps)
    fit(model, loader(7, SHAPE), tmp_path, callbacks=[callback])
    files = sorted((tmp_path / "samples").iterdir())
    assert [file.name for file in files] == [f"{images:09d}.png" for images in (0, 24, 40, 56)]
    drawn = grid_picture(model.sample(6, seed=0), 3, scale=16)
    assert (pixels(Image.open(files[-1])) == pixels(drawn)).all()
    assert (pixels(Image.open(files[0])) != pixels(Image.open(files[-1]))).any()


def test_the_end_is_drawn_once(tmp_path):
    fit(gan(SHAPE), loader(3, SHAPE), tmp_path, callbacks=[SampleGrid(every_n_images=24)])
    assert [file.name for file in sorted((tmp_path / "samples").iterdir())] == ["000000000.png", "000000024.png"]


def test_pictures_lie_in_the_run_folder(tmp_path):
    logger = CSVLogger(tmp_path, name="gan", version=3)
    fit(gan(SHAPE), loader(1, SHAPE), tmp_path, logger=logger, callbacks=[SampleGrid()])
    assert (tmp_path / "gan" / "version_3" / "samples" / "000000008.png").exists()
    assert (tmp_path / "gan" / "version_3" / "metrics.csv").exists()


def test_points_are_drawn_over_the_last_real_batch(tmp_path, monkeypatch):
    calls = []
    draw = sample_grid.scatter_picture
    monkeypatch.setattr(sample_grid, "scatter_picture", lambda *args: calls.append(args) or draw(*args))
    model = gan((3,))
    fit(model, loader(4, (3,)), tmp_path, callbacks=[SampleGrid(every_n_images=24, num_samples=2)])
    assert [file.name for file in sorted((tmp_path / "samples").iterdir())] == [f"{n:09d}.png" for n in (0, 24, 32)]
    real = samples(4, (3,)).split(BATCH)
    assert calls[0][1] is None
    assert torch.equal(calls[1][1], real[2][:, :2])
    assert torch.equal(calls[2][1], real[3][:, :2])
    assert torch.equal(calls[2][0], model.sample(64, seed=0)[:, :2])


def test_drawing_does_not_change_training(tmp_path):
    plain, drawn = gan(SHAPE), gan(SHAPE)
    one = fit(plain, loader(4, SHAPE), tmp_path)
    two = fit(drawn, loader(4, SHAPE), tmp_path, callbacks=[SampleGrid(every_n_images=1)])
    assert_same(snapshot(plain, one), snapshot(drawn, two))


@pytest.mark.parametrize("name", ["every_n_images", "num_samples", "columns"])
def test_wrong_numbers(name):
    with pytest.raises(ValueError, match=f"{name}: got 0, allowed is 1 or more"):
        SampleGrid(**{name: 0})


# ---- loggers


class ImageLogger(Logger):
    """Takes pictures the way of Lightning's loggers."""

    name = version = None

    def __init__(self):
        super().__init__()
        self.pictures, self.scalars = [], []

    def log_image(self, key, images, step=None):
        self.pictures.append((key, step, np.asarray(images[0])))

    def log_metrics(self, metrics, step=None):
        self.scalars.append(step)

    def log_hyperparams(self, *args, **kwargs):
        pass


class TensorBoardLogger(ImageLogger):
    """Takes pictures through its experiment; the real one is an optional package."""

    log_image = None

    @property
    def experiment(self):
        return self

    def add_image(self, tag, image, global_step, dataformats):
        assert dataformats == "HWC"
        self.pictures.append((tag, global_step, image))


@pytest.mark.parametrize("kind", [ImageLogger, TensorBoardLogger])
def test_pictures_reach_the_loggers(kind, tmp_path):
    logger, others = kind(), CSVLogger(tmp_path, name="", version="")
    fit(gan(SHAPE), loader(5, SHAPE), tmp_path, logger=[others, logger], callbacks=[SampleGrid(every_n_images=16)])
    assert [(key, step) for key, step, _ in logger.pictures] == [("samples", step) for step in (0, 1, 3, 5)]
    assert logger.scalars == [0, 1, 2, 3, 4], "the picture after a batch has the step of that batch's scalars"
    files = sorted((tmp_path / "samples").iterdir())
    for file, (_, _, image) in zip(files, logger.pictures, strict=True):
        assert (pixels(Image.open(file)) == image).all()


def test_weights_and_biases(tmp_path, monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_CONSOLE", "off")
    settings = wandb.Settings(console="off", x_disable_stats=True, x_disable_meta=True)
    logger = WandbLogger(offline=True, save_dir=tmp_path, log_model=False, settings=settings)
    model = gan(SHAPE)
    callbacks = [SampleGrid(every_n_images=16)]
    fit(model, loader(6, SHAPE), tmp_path, logger=logger, log_every_n_steps=2, callbacks=callbacks)
    wandb.finish()
    wandb.teardown()

    rows, summary, axes = read_run(tmp_path)
    assert all("images_seen" in row for row in rows), "every row has a place on the common axis"
    losses = [row for row in rows if "discriminator/loss" in row]
    assert [row["images_seen"] for row in losses] == [2 * BATCH, 4 * BATCH, 6 * BATCH]
    assert all(np.isfinite(row[f"{player}/loss"]) for row in losses for player in model.players)
    pictures = [row for row in rows if "samples" in row or "samples.path" in row]
    assert [row["images_seen"] for row in pictures] == [0, 16, 32, 48]
    assert len(list(tmp_path.rglob("media/images/samples*.png"))) == 4
    assert axes["*"] == "images_seen"
    assert summary["system"] == "gan"
    assert summary["paper"] == "Generative Adversarial Nets"
    assert summary["paper_url"] == model.paper.url
