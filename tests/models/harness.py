"""Builds what a config describes, at a size that a test can afford, and runs it."""

from __future__ import annotations

import contextlib
import copy
import functools
import warnings
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.distributed.tensor import DTensor

from pl_genmodels.callbacks import ExactResume, GeneratorEMA
from pl_genmodels.cli import GenerativeCLI
from pl_genmodels.models.adversarial import AdversarialModule
from pl_genmodels.models.base import GenerativeModule
from pl_genmodels.models.engine import rank_local_state
from tests.conftest import ROOT
from tests.models.randomness import SameDraws, seeded

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
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    return fresh(Built(cli.model, cli.datamodule, stateful))


def fresh(built):
    """The same once more, untrained like the given one; parsing a config again would take longer than training."""
    read_only = {id(split): split for split in built.data._splits.values()}
    built = copy.deepcopy(built, read_only)
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
    """Everything that training has made, but for what each rank keeps to itself."""
    own = rank_local_state(model)
    state = {f"model/{key}": copied(value) for key, value in model.state_dict().items() if key not in own}
    for index, optimizer in enumerate(of_trainer.optimizers):
        for key, entry in optimizer.state_dict()["state"].items():
            for name, value in entry.items():
                state[f"optimizer{index}/{key}/{name}"] = copied(torch.as_tensor(value))
    state["counters"] = torch.tensor(list(model.progress().values()))
    return state


@torch.no_grad()
def copied(value):
    """A copy, of a sharded tensor by this rank's part: torch would plan for each new shape how to copy the whole."""
    if not isinstance(value, DTensor):
        return value.clone()
    layout = {"run_check": False, "shape": value.shape, "stride": value.stride()}
    return DTensor.from_local(value.to_local().clone(), value.device_mesh, value.placements, **layout)


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


def whole(state):
    """A snapshot with its shards put together; all ranks must call it."""
    return {key: value.full_tensor() if isinstance(value, DTensor) else value for key, value in state.items()}


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


HALF = (torch.float16, torch.bfloat16)
PRECISIONS = {
    "64-true": lambda: {"precision": "64-true"},
    "32-true": lambda: {"precision": "32-true"},
    "bf16-mixed": lambda: {"precision": "bf16-mixed"},
    "bf16-true": lambda: {"precision": "bf16-true"},
    # what "16-mixed" is on a GPU; given by name, Lightning makes bf16-mixed of it on a CPU
    "16-mixed": lambda: {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=256.0))]},
}


class Noting(Callback):
    """Keeps every gradient that an optimiser steps on, scale taken out."""

    def __init__(self):
        self.gradients = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.gradients.append(torch.cat([p.grad.double().flatten() for p in parameters]))


def one_round(built, batch, precision, tmp_path):
    """One round of a copy that all players play and nobody's weights move in; draws are the same in every precision.

    Returns:
        Terms per sample by player and name, gradients in the order of the turns, and whether any gradient that the
        model itself asked for went through 16 bits.
    """
    model = fresh(built).model
    model.configure_model()
    terms, still, noting = {}, functools.partial(torch.optim.SGD, lr=0.0), Noting()
    if isinstance(model, AdversarialModule):
        model.critic_steps_at, model.plays = (lambda update: 1), (lambda player: True)
        model.optimizer_factories, model.scheduler_factories = dict.fromkeys(model.players, still), {}
        makers = [f"{player}_terms" for player in model.players]
    else:
        model.optimizer_factory, model.scheduler_factory = still, None
        makers = ["terms"]
    for maker in makers:
        note_terms(model, maker, terms)
    step = model.training_step

    def training_step(batch, batch_idx):
        with seeded(0), SameDraws():
            return step(batch, batch_idx)

    model.training_step = training_step
    runner = trainer(tmp_path, max_epochs=1, callbacks=[noting], **PRECISIONS[precision]())
    with own_gradients() as halves:
        runner.fit(model, Given([batch]))
    return terms, noting.gradients, any(halves)


def note_terms(model, maker, terms):
    """Keep what a method that makes terms returns."""
    make = getattr(model, maker)

    def noted(*args):
        found = make(*args)
        terms.update({f"{maker}/{name}": term.detach().double() for name, term in found.items()})
        return found

    setattr(model, maker, noted)


def between(starts, ends):
    """Nodes of a graph that lie on a way from a start to an end, ends left out."""
    reaching, seen, left = set(ends), set(ends), [(node, False) for node in starts]
    while left:
        node, followed = left.pop()
        below = [before for before, _ in node.next_functions if before is not None]
        if followed:
            if any(before in reaching for before in below):
                reaching.add(node)
        elif node not in seen:
            seen.add(node)
            left += [(node, True), *((before, False) for before in below)]
    return reaching - set(ends)


@contextlib.contextmanager
def own_gradients():
    """For each call of `torch.autograd.grad`, whether a 16-bit number lies between its inputs and its outputs."""
    grad, found = torch.autograd.grad, []

    def watched(outputs, inputs, *args, **kwargs):
        as_tuple = lambda x: (x,) if isinstance(x, torch.Tensor) else tuple(x)
        ends = [torch.autograd.graph.get_gradient_edge(x).node for x in as_tuple(inputs)]
        nodes = between([x.grad_fn for x in as_tuple(outputs)], ends)
        kinds = [x.dtype for x in (*as_tuple(outputs), *as_tuple(inputs))]
        kinds += [x.dtype for node in nodes for x in node._input_metadata]
        found.append(any(kind in HALF for kind in kinds))
        return grad(outputs, inputs, *args, **kwargs)

    torch.autograd.grad = watched
    try:
        yield found
    finally:
        torch.autograd.grad = grad


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
