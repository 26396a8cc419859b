"""What all data modules share: conversion on the device, hyper-parameters that rebuild them, fingerprints."""

import sys

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI

from pl_genmodels.data import MNIST, Digits, Grid25, ImageData, ImageFolder, Photographs, Ring8, TensorSet, rebuild

QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


class Ramps(ImageData):
    """Ten pictures that a mirror changes, and labels."""

    num_classes = 10

    def __init__(self, size: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.image_shape = (1, size, size)
        self.loads = 0
        self.save_hyperparameters()

    def load(self, split):
        self.loads += 1
        size = self.image_shape[1]
        images = torch.arange(size).expand(10, 1, size, size) * 20 + torch.arange(10).view(10, 1, 1, 1)
        return TensorSet({"image": images.to(torch.uint8), "label": torch.arange(10)}, f"Ramps {split}")


class Watcher(LightningModule):
    """Keeps what it is given."""

    def __init__(self, image_shape: tuple[int, ...] | None = None):
        super().__init__()
        self.image_shape = image_shape
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.train_batches = []
        self.val_batches = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch, batch_idx):
        self.train_batches.append(batch)
        return self.weight**2

    def validation_step(self, batch, batch_idx):
        self.val_batches.append(batch)


def same(left, right):
    return len(left) == len(right) and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a) for a, b in zip(left, right, strict=True)
    )


@pytest.mark.filterwarnings("ignore")
def test_models_get_floats_and_half_of_the_training_images_mirrored():
    data, model = Ramps(batch_size=5, flip=True), Watcher()
    Trainer(max_epochs=8, enable_checkpointing=False, **QUIET).fit(model, data)
    expected = data.load("train").tensors["image"].float() / 127.5 - 1
    mirrored = []
    for batch in model.train_batches:
        assert batch.keys() == {"image", "label"}
        for image, label in zip(batch["image"], batch["label"], strict=True):
            assert torch.allclose(image, expected[label]) != torch.allclose(image, expected[label].flip(-1))
            mirrored.append((int(label), torch.allclose(image, expected[label].flip(-1))))
    assert len(mirrored) == 80
    assert 20 < sum(is_mirrored for _, is_mirrored in mirrored) < 60
    assert len(set(mirrored)) > 15  # each image comes both ways, not some images always one way
    for batch in model.val_batches:
        assert torch.allclose(batch["image"], expected[batch["label"]])


def test_conversion_reaches_both_ends_and_leaves_the_rest_alone():
    data = Ramps()
    video = torch.tensor([0, 255], dtype=torch.uint8).expand(1, 3, 2, 2, 2)
    batch = {"source": video[:, :, 0], "video": video, "label": torch.tensor([3]), "mask": torch.ones(1, 4).byte()}
    out = data.on_after_batch_transfer(batch, 0)
    assert out["source"].unique().tolist() == out["video"].unique().tolist() == [-1, 1]
    assert out["source"].dtype == torch.float32
    assert out["label"] is batch["label"]
    assert out["mask"].dtype == torch.uint8
    points = next(iter(Ring8(num_samples=8, batch_size=8).train_dataloader()))
    assert torch.equal(Ring8().on_after_batch_transfer(points, 0)["image"], points["image"])


def test_a_split_is_read_once_and_known_by_name():
    data = Ramps()
    assert data.load("val") is data.load("val")
    assert data.loads == 1
    with pytest.raises(ValueError, match="split: got 'valid', allowed are train, val, test"):
        data.load("valid")
    data.setup("fit")
    assert data.loads == 2


def test_evaluation_loader_gives_uint8_in_order_unflipped():
    data = Ramps(batch_size=4, flip=True)
    for made in (data.evaluation_loader("train"), data.val_dataloader(), data.predict_dataloader()):
        batches = list(made)
        assert [len(batch["image"]) for batch in batches] == [4, 4, 2]
        assert torch.equal(torch.cat([batch["image"] for batch in batches]), data.load("train").tensors["image"])
        assert "flip" not in batches[0]


def test_too_few_training_images_for_a_batch_are_told_by_name():
    with pytest.raises(ValueError, match=r"Digits train: has 1500 images, .*batch_size=1501"):
        Digits(batch_size=1501).train_dataloader()
    assert len(Digits(batch_size=1501).val_dataloader()) == 1
    with pytest.raises(ValueError, match="batch_size: got 0"):
        Digits(batch_size=0)
    with pytest.raises(ValueError, match="num_workers: got -2"):
        Digits(num_workers=-2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("limit", [1.0, 2], ids=["whole", "limited"])
def test_training_with_flips_and_draws_resumes_exactly_wherever_it_stopped(tmp_path, limit):
    per_epoch = 2 if limit == 2 else 3
    steps = 3 * per_epoch

    def run(callbacks=(), ckpt_path=None, **until):
        model = Watcher()
        trainer = Trainer(
            limit_val_batches=0, limit_train_batches=limit, callbacks=list(callbacks), **{**QUIET, **until}
        )
        trainer.fit(model, Ramps(batch_size=3, flip=True, binarize="dynamic"), ckpt_path=ckpt_path)
        return model.train_batches, trainer

    # the order, the flips and the draws need no global random state to be restored: it is another in each run
    each = ModelCheckpoint(tmp_path / "each", "{step}", save_top_k=-1, every_n_train_steps=1)
    ends = ModelCheckpoint(tmp_path / "ends", "{step}", save_top_k=-1, save_on_train_epoch_end=True)
    straight, _ = run([each, ends], max_epochs=3)
    assert len(straight) == steps
    paths = [*(tmp_path / "each").iterdir(), *(tmp_path / "ends").iterdir()]
    assert len(paths) == steps + 3
    for path in paths:
        rest, _ = run(ckpt_path=path, max_epochs=3, enable_checkpointing=False)
        assert same(rest, straight[int(path.stem.split("=")[1]) :]), path
    for stop in range(1, steps):
        last = ModelCheckpoint(tmp_path / f"stop-{stop}")  # as by default: written when max_steps ends the epoch
        first, trainer = run([last], max_steps=stop)
        trainer.save_checkpoint(tmp_path / f"{stop}.ckpt")
        for path in (last.best_model_path, tmp_path / f"{stop}.ckpt"):
            second, _ = run(ckpt_path=path, max_steps=steps, enable_checkpointing=False)
            assert same(straight, first + second), (stop, path)


@pytest.mark.filterwarnings("ignore")
def test_evaluating_a_checkpoint_does_not_move_the_next_training(tmp_path):
    options = {
        "limit_train_batches": 2,
        "limit_val_batches": 1,
        "max_epochs": 1,
        "enable_checkpointing": False,
        **QUIET,
    }
    first, second, data = Watcher(), Watcher(), Ramps(batch_size=3)
    trainer = Trainer(**options)
    trainer.fit(first, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    trainer = Trainer(**options)
    trainer.validate(second, data, ckpt_path=tmp_path / "a.ckpt")
    trainer.fit(second, data)
    assert same(first.train_batches, second.train_batches)


@pytest.mark.filterwarnings("ignore")
def test_overfitting_sees_the_same_batches_each_epoch():
    model = Watcher()
    trainer = Trainer(max_epochs=3, overfit_batches=2, limit_val_batches=0, enable_checkpointing=False, **QUIET)
    trainer.fit(model, Ramps(batch_size=3, flip=True))
    assert same(model.train_batches[:2], model.train_batches[2:4])
    assert same(model.train_batches[:2], model.train_batches[4:])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "data",
    [
        Digits(32, channels=3, batch_size=100, flip=True),
        Ring8(num_samples=400, sigma=0.2, seed=5),
        Photographs(size=8, num_patches=20, batch_size=11),
    ],
    ids=lambda data: type(data).__name__,
)
def test_a_checkpoint_rebuilds_its_data(tmp_path, data):
    trainer = Trainer(max_steps=1, limit_val_batches=0, enable_checkpointing=False, **QUIET)
    trainer.fit(Watcher(), data)
    path = tmp_path / "data.ckpt"
    trainer.save_checkpoint(path)
    hparams = torch.load(path, weights_only=True)["datamodule_hyper_parameters"]
    for again in (rebuild(hparams), type(data).load_from_checkpoint(path)):
        assert type(again) is type(data)
        assert again.image_shape == data.image_shape
        assert again.fingerprint == data.fingerprint
        assert (again.batch_size, again.seed, again.flip) == (data.batch_size, data.seed, data.flip)
        assert same(list(again.train_dataloader()), list(data.train_dataloader()))


def test_hyperparameters_are_plain_also_for_paths(tmp_path):
    assert MNIST(root=tmp_path).hparams["root"] == str(tmp_path)
    assert ImageFolder(tmp_path).hparams["root"] == str(tmp_path)


class CLI(LightningCLI):
    def add_arguments_to_parser(self, parser):
        parser.link_arguments("data.image_shape", "model.image_shape", apply_on="instantiate")


@pytest.mark.filterwarnings("ignore")
def test_command_line_and_python_write_the_same():
    arguments = ["--data=Grid25", "--data.num_samples=50", "--data.batch_size=7", "--trainer.logger=false"]
    cli = CLI(Watcher, ImageData, subclass_mode_data=True, run=False, args=arguments, save_config_callback=None)
    assert cli.model.image_shape == (2,)
    python = Grid25(num_samples=50, batch_size=7)
    assert cli.datamodule.hparams.items() >= {"num_samples": 50, "batch_size": 7}.items()
    assert rebuild(cli.datamodule.hparams).fingerprint == rebuild(python.hparams).fingerprint
    assert cli.datamodule.hparams["_instantiator"] == python.hparams["_instantiator"]
    assert type(rebuild(cli.datamodule.hparams)) is type(rebuild(python.hparams)) is Grid25


@pytest.mark.parametrize(
    "path",
    [
        None,
        "os.system",
        "subprocess.Popen",
        "this.Zen",
        "pl_genmodels.data.ImageData",
        "pl_genmodels.data.Loader",
        "pl_genmodels.data.PointData",
        "Digits",
    ],
)
def test_rebuild_makes_nothing_but_imported_data_modules(path):
    assert "this" not in sys.modules
    with pytest.raises(ValueError, match=r"_class_path: got .* ImageData"):
        rebuild({"_class_path": path, "size": 8} if path else {"size": 8})
    assert "this" not in sys.modules


def test_fingerprint_names_the_content():
    base = Digits(8).fingerprint
    assert base.startswith("Digits-1x8x8-1500-149-148-")
    assert Digits(8, batch_size=7, seed=3, flip=True).fingerprint == base
    others = {base, Digits(16).fingerprint, Digits(8, channels=3).fingerprint}
    others |= {Ring8().fingerprint, Ring8(seed=1).fingerprint, Ring8(sigma=0.2).fingerprint}
    others |= {Ring8(num_samples=99).fingerprint, Grid25().fingerprint}
    assert len(others) == 8
