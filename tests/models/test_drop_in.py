"""Models in somebody's own Trainer, with somebody's own loader: plain tensors, tuples and dicts."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

import pl_genmodels
from tests.models.harness import trainer

IMAGES = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
LABELS = torch.arange(8)
LOADERS = {
    "tensor": list(IMAGES),
    "tuple": TensorDataset(IMAGES),
    "labelled": TensorDataset(IMAGES, LABELS),
    "dict": [{"image": image, "label": label} for image, label in zip(IMAGES, LABELS, strict=True)],
}


def loader(kind, **options):
    return DataLoader(LOADERS[kind], batch_size=4, **options)


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("name", ["GAN", "VAE", "PCA", "MADE"])
def test_any_loader_will_do(name, kind, tmp_path):
    model = getattr(pl_genmodels, name)()
    runner = trainer(tmp_path, max_steps=2, max_epochs=1)
    runner.fit(model, loader(kind), loader(kind))
    runner.validate(model, loader(kind), verbose=False)
    runner.test(model, loader(kind), verbose=False)
    assert torch.cat(runner.predict(model, loader(kind))).shape == (8, 1, 32, 32)


@pytest.mark.parametrize(("name", "monitor"), [("GAN", "generator/loss"), ("VAE", "val/loss")])
def test_the_callbacks_of_a_project_and_a_model_that_is_copied(name, monitor, tmp_path):
    kind = getattr(pl_genmodels, name)
    model = kind()
    callbacks = [EarlyStopping(monitor), ModelCheckpoint(tmp_path, monitor=monitor), LearningRateMonitor()]
    options = {
        "logger": CSVLogger(tmp_path),
        "log_every_n_steps": 1,
        "enable_checkpointing": True,
        "limit_val_batches": 1,
    }
    runner = trainer(tmp_path, callbacks=callbacks, max_epochs=1, **options)
    runner.fit(model, loader("labelled", num_workers=1), loader("tuple"))
    assert runner.callback_metrics[monitor].isfinite()
    again = kind.load_from_checkpoint(callbacks[1].best_model_path)
    copies = [copy.deepcopy(again), pickle.loads(pickle.dumps(again)), copy.deepcopy(model)]
    wanted = again.sample(2, seed=0)
    for copied in copies:
        assert torch.allclose(copied.eval().sample(2, seed=0), wanted, atol=1e-6)
    assert again.to(torch.float64).sample(2, seed=0).dtype == torch.float64


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("CGAN", "tuple", "but a CGAN needs 'label' too; allowed are data with classes"),
        ("DiscoGAN", "tuple", r"but a DiscoGAN needs 'target' too; allowed are tuples \(source, target\) or dicts"),
        ("CycleGAN", "dict", "has keys .'image', 'label'., but this model needs 'source'"),
    ],
)
def test_what_a_loader_lacks_is_one_sentence(name, kind, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        trainer(tmp_path, max_steps=1).fit(getattr(pl_genmodels, name)(), loader(kind))


def test_pictures_in_place_of_labels_are_refused(tmp_path):
    pairs = DataLoader(TensorDataset(IMAGES, IMAGES), batch_size=4)
    with pytest.raises(ValueError, match=r"label: got shape \(4, 1, 32, 32\), allowed is one class a sample, \(4,\)"):
        trainer(tmp_path, max_steps=1).fit(pl_genmodels.AMGAN(), pairs)


def test_numbers_that_an_optimizer_refuses_are_told_with_its_argument(tmp_path):
    from functools import partial

    from pl_genmodels.models.optimizers import GANAdam

    model = pl_genmodels.GAN(optimizer_generator=partial(GANAdam, lr=-1.0))
    with pytest.raises(ValueError, match=r"optimizer_generator: Invalid learning rate: -1\.0"):
        trainer(tmp_path, max_steps=1).fit(model, loader("tuple"))
