"""Builds what a config describes, at a size that a test can afford, and runs it."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from pl_genmodels.callbacks import ExactResume, GeneratorEMA
from pl_genmodels.cli import GenerativeCLI
from pl_genmodels.models.adversarial import AdversarialModule
from pl_genmodels.models.base import GenerativeModule
from tests.conftest import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
MAX_CRITIC_STEPS = 2  # WGAN's warm-up of 100 is the same code with another number


class Built(NamedTuple):
    """What the command line makes of a config, as far as training needs it."""

    model: GenerativeModule
    data: LightningDataModule
    callbacks: list[Callback]  # those that hold state


def build(config, *options, batch_size=4):
    """Model, data and callbacks of a config."""
    arguments = ["--config", str(config), "--data.batch_size", str(batch_size), "--trainer.logger", "false"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cli = GenerativeCLI([*arguments, *options], run=False)
    stateful = [callback for callback in cli.trainer.callbacks if isinstance(callback, (GeneratorEMA, ExactResume))]
    return fresh(Built(cli.model, cli.datamodule, stateful))


def fresh(built):
    """The same once more, untrained like the given one; parsing a config again would take longer than training."""
    built = copy.deepcopy(built)
    if isinstance(built.model, AdversarialModule):
        limit_critic_steps(built.model, MAX_CRITIC_STEPS)
    return built


def limit_critic_steps(model, most):
    """Make rounds short; the shape of a round stays."""
    steps_at = type(model).critic_steps_at
    model.critic_steps_at = lambda update: min(steps_at(model, update), most)


class Recorder(Logger):
    """Keeps what would be logged."""

    def __init__(self):
        super().__init__()
        self.rows = []

    name = version = None

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, *args, **kwargs):
        pass


def trainer(tmp_path, *, logger=False, callbacks=(), **options):
    defaults = {
        "accelerator": "cpu",
        "devices": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "log_every_n_steps": 1,
        "limit_val_batches": 0,
        "default_root_dir": str(tmp_path),
    }
    return Trainer(**{**defaults, **options}, logger=logger, callbacks=list(callbacks))


class SaveAt(Callback):
    """Writes a checkpoint after a given number of batches, last of all callbacks."""

    def __init__(self, batches, path):
        self.batches, self.path = batches, path
        self.seen = 0

    def on_train_batch_end(self, trainer, *args):
        self.seen += 1
        if self.seen == self.batches:
            trainer.save_checkpoint(self.path)


def snapshot(model, of_trainer):
    """Everything that training has made."""
    state = {f"model/{key}": value.clone() for key, value in model.state_dict().items()}
    for index, optimizer in enumerate(of_trainer.optimizers):
        for key, entry in optimizer.state_dict()["state"].items():
            for name, value in entry.items():
                state[f"optimizer{index}/{key}/{name}"] = torch.as_tensor(value).clone()
    state["counters"] = torch.tensor(list(model.progress().values()))
    return state


OWN = ("pl_genmodels.", "torch.nn.")  # classes whose attributes are looked at
OF_LIGHTNING = vars(LightningModule()).keys() - {"_parameters", "_buffers", "_modules"}


def everything(value, path="", seen=None, found=None):
    """Every tensor, number and word that can be reached from an object, by its path: state that nobody declared too."""
    found, seen = ({} if found is None else found), (set() if seen is None else seen)
    if value is None or isinstance(value, (bool, int, float, str)):
        found[path] = value
    elif isinstance(value, torch.Tensor):
        found[path] = value.detach().clone()
    elif isinstance(value, torch.Generator):
        found[path] = value.get_state()
    elif id(value) not in seen:
        seen.add(id(value))
        if isinstance(value, Mapping):
            entries = value.items()
        elif isinstance(value, (list, tuple, deque)):
            entries = enumerate(value)
        elif type(value).__module__.startswith(OWN) and hasattr(value, "__dict__"):
            entries = ((name, entry) for name, entry in vars(value).items() if name not in OF_LIGHTNING)
        else:
            entries = ()
        for key, entry in entries:
            everything(entry, f"{path}/{key}", seen, found)
    return found


def assert_equal(left, right):
    """Of two results of `everything`."""
    assert left.keys() == right.keys()
    tensors = {key for key, value in left.items() if isinstance(value, torch.Tensor)}
    different = [key for key in left.keys() - tensors if left[key] != right[key]]
    different += [key for key in tensors if not torch.equal(left[key], right[key])]
    assert not different, f"these differ: {sorted(different)}"


def assert_same(left, right, tolerance=0.0):
    assert left.keys() == right.keys()
    for key in left:
        difference = (left[key].double() - right[key].double()).abs().max() if left[key].numel() else torch.zeros(())
        assert difference <= tolerance, f"{key} differs by {difference}"


class Given(LightningDataModule):
    """Given batches, in order."""

    def __init__(self, batches):
        super().__init__()
        self.batches = list(batches)

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)

    def train_dataloader(self):
        return self


@contextlib.contextmanager
def frozen_batch_statistics(model):
    """Batch normalisation by its running statistics: over a rank's own rows it cannot equal the whole batch."""
    layers = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for layer in layers:
        layer.forward = lambda x, layer=layer: torch.nn.functional.batch_norm(
            x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0.0, layer.eps
        )
    yield
    for layer in layers:
        del layer.forward
