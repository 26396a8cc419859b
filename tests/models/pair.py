"""Trains every config on a pair of gloo processes, and on one process; runs beside the other tests.

One process reads the configs, then forks into the pair, so that libraries are imported and configs parsed once. For
each case it leaves `<name>.one`, `<name>.rank0` and `<name>.rank1` in a folder, or `<name>.error`.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.tensor import DTensor

import pl_genmodels
from pl_genmodels.models import sharding
from pl_genmodels.models.adversarial import AdversarialModule
from pl_genmodels.models.engine import rank_local_state
from pl_genmodels.models.folder_checkpoints import PLAIN_VALUES
from tests.conftest import ROOT
from tests.models.harness import (
    Given,
    build,
    everything,
    fresh,
    frozen_batch_statistics,
    limit_critic_steps,
    snapshot,
    trainer,
)
from tests.models.randomness import SharedRandomness, seeded

RANKS = 2
PART = 4  # rows of a rank
ROUNDS = 2
ROUNDING = 1e-12  # of gradients that are mathematically 0, as that of a bias in front of an instance normalisation
BLOCK = 1000  # parameters from which on a block is sharded by itself
TIMEOUT = timedelta(seconds=120)
LONG = "wgan_gp_long"  # gradient penalty, five critic steps, two micro-batches and clipping, for some rounds more
LONG_CONFIG, LONG_ROUNDS, LONG_CRITIC_STEPS = "wgan_gp", 4, 5


@dataclass
class Case:
    """What both sides train: an untrained model in double precision, and batches; and what the config describes."""

    name: str
    described: Any
    built: Any
    batches: list
    micro_batches: int = 1
    clip: float | None = None

    @classmethod
    def read(cls, name):
        """From the config of that name."""
        path = ROOT / "configs" / f"{LONG_CONFIG if name == LONG else name}.yaml"
        described = build(path, batch_size=RANKS * PART)
        built = fresh(described)
        built.model.configure_model()
        built.model.double()
        case = cls(name, described, built, [], *((2, 1.0) if name == LONG else ()))
        steps = case.copy().model.critic_steps_at(0) if isinstance(built.model, AdversarialModule) else 1
        rounds = LONG_ROUNDS if name == LONG else ROUNDS
        loader = iter(built.data.train_dataloader())
        for _ in range(rounds * max(steps, 1)):
            case.batches.append(case.arrange(in_double(built.data.on_after_batch_transfer(next(loader), 0))))
        return case

    def arrange(self, batch):
        """The ranks' rows in the order in which `SharedRandomness` draws: a rank loads each second one."""
        part = PART // self.micro_batches
        rows = torch.arange(RANKS * PART).view(self.micro_batches, part, RANKS).transpose(1, 2).flatten()
        return {key: value[rows] for key, value in batch.items()}

    def copy(self):
        """Untrained model, data and callbacks."""
        built = fresh(self.built)
        if self.name == LONG:
            limit_critic_steps(built.model, LONG_CRITIC_STEPS)
        return built

    def train(self, folder, rank=0, world_size=1, *, interleaved=False, ckpt_path=None, callbacks=(), **options):
        """Train a copy with shared randomness: one process on the whole batches, a rank on what it loads itself."""
        model, data, stateful = self.copy()
        part, draws = PART // self.micro_batches, []
        step, mode = model.training_step, SharedRandomness(rank, world_size, part, self.micro_batches, interleaved)

        def training_step(batch, batch_idx):
            draws.append(torch.rand(4))
            with seeded(batch_idx), default_dtype(torch.float64), mode:
                return step(batch, batch_idx)

        model.training_step = training_step
        largest = watch_gradients(model)
        if world_size == 1:
            data = Given(self.batches)
        else:
            transfer = data.on_after_batch_transfer
            data.batch_size = PART
            data.on_after_batch_transfer = lambda batch, index: in_double(transfer(batch, index))
        length = len(self.batches)  # what is logged is computed once, in the last batch
        defaults = {"precision": "64-true", "strategy": "auto", "max_epochs": 1, "num_sanity_val_steps": 0}
        flags = {"accumulate_grad_batches": self.micro_batches, "gradient_clip_val": self.clip, "devices": world_size}
        flags |= {"limit_train_batches": length, "log_every_n_steps": length}
        runner = trainer(folder, callbacks=[*stateful, *callbacks], **{**defaults, **flags, **options})
        with frozen_batch_statistics(model):
            runner.fit(model, data, ckpt_path=ckpt_path)
        idle = {name for name, gradient in largest.items() if gradient < ROUNDING}
        state = snapshot(model, runner)
        return Trained(state, held_of(model, state), mode.ambiguous, draws[0], idle)

    def train_sharded(self, folder, rank):
        """Train with sharded parameters, from the start and from a checkpoint before the last batch.

        The run goes on from a folder; a file, written at the same moment, puts the same values into the shards, and
        holds besides them exactly what the folder does.

        Returns:
            The state, of sharded tensors this rank's part, and what went wrong by what was tried.
        """
        paths = {kind: folder / f"{self.name}.{kind}.ckpt" for kind in ("file", "folder")}
        saves, restores = SaveBoth(len(self.batches) - 1, paths), Restore(paths["file"])
        straight = self.train(folder, rank, RANKS, callbacks=[saves], **sharded())
        self.train(folder, rank, RANKS, callbacks=[restores], ckpt_path=paths["folder"], **sharded())
        wrong = {
            "resumed from a folder": differences(straight.held, restores.before),
            "restored from a file": differences(saves.held, restores.after),
        }
        file = torch.load(paths["file"], weights_only=True)
        weights = {
            key: value.float() if value.is_floating_point() else value for key, value in file["state_dict"].items()
        }
        if rank == 0:
            plain = torch.load(paths["folder"] / PLAIN_VALUES, weights_only=True)
            others = {key: value for key, value in file.items() if key not in ("state_dict", "optimizer_states")}
            wrong["beside weights in a file"] = differences(everything(others), everything(plain))
        else:
            loaded = pl_genmodels.load(paths["folder"])
            own = rank_local_state(loaded)  # of either rank
            left, right = ({k: v for k, v in s.items() if k not in own} for s in (weights, loaded.state_dict()))
            wrong["loaded from a folder"] = differences(left, right)
        return straight.state, wrong


class Trained(NamedTuple):
    """What a run leaves: its state, what of it this rank holds, whether the layout of its draws was a guess, what it
    would draw by itself, and parameters whose gradient was 0 but for rounding."""

    state: dict[str, torch.Tensor]
    held: dict[str, torch.Tensor]
    guessed: bool
    first_draw: torch.Tensor
    idle: set[str]


def watch_gradients(model):
    """Largest absolute gradient of each parameter, filled in while it trains."""
    largest = {}

    def note(name, parameter):
        largest[name] = max(largest.get(name, 0.0), float(parameter.grad.abs().max()))

    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(functools.partial(note, name))
    return largest


class SaveBoth(Callback):
    """Writes a checkpoint of either kind after a number of batches, and keeps what went into them."""

    def __init__(self, batches, paths):
        self.batches, self.paths, self.seen = batches, paths, 0

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.seen += 1
        if self.seen == self.batches:
            for kind, path in self.paths.items():
                trainer.strategy._save_distributed_checkpoint = kind == "folder"
                trainer.save_checkpoint(path)
            self.held = held(pl_module, trainer)


class Restore(Callback):
    """Reads a checkpoint into a run that is over, as Lightning does into one that begins; keeps both states."""

    def __init__(self, path):
        self.path = path

    def on_fit_end(self, trainer, pl_module):
        self.before = held(pl_module, trainer)
        connector = trainer._checkpoint_connector
        connector._restore_modules_and_callbacks(self.path)
        connector.restore_training_state()
        connector.resume_end()
        self.after = held(pl_module, trainer)


def sharded():
    """Lightning refuses 64-true here; weights are double all the same."""
    return {
        "strategy": ModelParallelStrategy(data_parallel_size=RANKS, tensor_parallel_size=1),
        "precision": "32-true",
    }


def held(model, of_trainer):
    """What this rank holds of everything that training has made: shards, and what it keeps to itself."""
    return held_of(model, snapshot(model, of_trainer))


def held_of(model, state):
    """The same, of a snapshot."""
    own = {f"own/{key}": value.clone() for key, value in rank_local_state(model).items()}
    return {**dict(zip(state, sharding.local(state.values()), strict=True)), **own}


def differences(left, right):
    """By how much what is not the same in two states differs."""
    found = {key: float("nan") for key in left.keys() ^ right.keys()}
    for key in left.keys() & right.keys():
        if not isinstance(left[key], torch.Tensor):
            if left[key] != right[key]:
                found[key] = float("nan")
        elif not torch.equal(left[key], right[key]):
            found[key] = float((left[key].double() - right[key].double()).abs().max())
    return found


@contextlib.contextmanager
def default_dtype(dtype):
    """As Lightning's 64-true does within a step."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


def in_double(batch):
    return {key: value.double() if value.is_floating_point() else value for key, value in batch.items()}


def on_one_process(case, folder):
    """Readings of the draws of one process, as `assert_equals_one_process` takes them."""
    state, _, guessed, _, idle = case.train(folder)
    others = [case.train(folder, interleaved=True).state] if guessed else []
    model = case.built.model
    values = dict(model.named_parameters()) or dict(model.named_buffers())
    start = {f"model/{key}": value for key, value in values.items()}
    return {"start": start, "idle": sorted(idle), "readings": [state, *others]}


def on_a_rank(case, folder, rank):
    """What a rank finds, plain and sharded."""
    ddp = case.train(folder, rank, RANKS, strategy="ddp")
    trainable = any(p.requires_grad for p in case.built.model.parameters())
    shards, wrong, refused = {}, {}, ""
    try:
        shards, wrong = case.train_sharded(folder, rank)
    except ValueError as error:
        if trainable:
            raise
        refused = str(error)
    return {
        "ddp": ddp.state,
        "first_draw": ddp.first_draw,
        "trainable": trainable,
        "parts": dict(zip(shards, sharding.local(shards.values()), strict=True)),
        "split": [key for key, value in shards.items() if isinstance(value, DTensor)],
        "wrong": wrong,
        "refused": refused,
    }
