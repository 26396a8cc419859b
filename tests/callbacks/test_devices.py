"""Every kind of callback that a config has, on a GPU that is pretended: it draws and logs what it does on a CPU."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import pytest
import torch
import yaml

from pl_genmodels.callbacks import ExactResume, LastCheckpoint
from pl_genmodels.cli import GenerativeCLI
from pl_genmodels.metrics import digit_classifier
from tests.models.harness import CONFIGS, Built, Recorder, fresh, trainer
from tests.pretended_cuda import pretended_cuda, trainer_options

FEW = {"every_n_images": 20, "num_samples": 4, "num_completions": 2, "num_steps": 3, "num_batches": 1}


def kinds(config):
    """Names of the callbacks of a config, but for those that Lightning has."""
    with config.open() as file:
        given = yaml.safe_load(file)["trainer"].get("callbacks", [])
    return {each if isinstance(each, str) else each["class_path"] for each in given}


def few_configs() -> Iterator[str]:
    """Configs that have all kinds of callbacks between them, the fewest callbacks first."""
    of = {config.stem: kinds(config) for config in CONFIGS}
    left = set().union(*of.values())
    while left:
        name = max(of, key=lambda name: (len(of[name] & left), -len(of[name])))
        left -= of[name]
        yield name


@pytest.fixture
def untrained(monkeypatch, tmp_path):
    """Classifiers of digits as they are made, in a cache of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    made = {colour: digit_classifier.make_network(colour) for colour in (False, True)}
    monkeypatch.setattr(digit_classifier, "train", lambda *args, colour=False, **options: made[colour])


def build(name):
    config = next(config for config in CONFIGS if config.stem == name)
    arguments = ["--config", str(config), "--data.batch_size", "20", "--trainer.logger", "false"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cli = GenerativeCLI([*arguments, "--trainer.enable_checkpointing", "false"], run=False)
    names = kinds(config)
    callbacks = [each for each in cli.trainer.callbacks if type(each).__name__ in names]
    assert len({type(each) for each in callbacks}) == len(names)
    for callback in callbacks:
        for key, value in FEW.items():
            if hasattr(callback, key):
                setattr(callback, key, value)
    if hasattr(cli.model, "search_steps"):
        cli.model.search_steps = 2
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    return Built(cli.model, cli.datamodule, callbacks)


def run(built, folder, **options):
    """What is logged, and the pictures, by their names."""
    model, data, callbacks = fresh(built)
    torch.manual_seed(1)
    recorder, own = Recorder(), [ExactResume(), LastCheckpoint()]
    flags = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    flags |= {"enable_checkpointing": True}
    runner = trainer(folder, logger=recorder, callbacks=[*callbacks, *own], **{**flags, **options})
    runner.fit(model, data)
    pictures = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.png")}
    assert (folder / "checkpoints").exists() or list(folder.rglob("*.ckpt"))
    return recorder.rows, pictures


@pytest.mark.parametrize("name", few_configs())
def test_callbacks_see_the_same_on_a_gpu(name, untrained, tmp_path):
    built, found = build(name), []
    for where, options in ((contextlib.nullcontext, dict), (pretended_cuda, trainer_options)):
        with where():
            found.append(run(built, tmp_path / where.__name__, **options()))
    (rows, pictures), (rows_of_gpu, pictures_of_gpu) = found
    assert [values.keys() for _, values in rows] == [values.keys() for _, values in rows_of_gpu]
    for (_, left), (_, right) in zip(rows, rows_of_gpu, strict=True):
        assert left == pytest.approx(right, rel=1e-3, abs=1e-5, nan_ok=True)
    assert pictures.keys() == pictures_of_gpu.keys()
