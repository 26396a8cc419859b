"""A process of a run on several; started by test_strategies.py."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from pl_genmodels.callbacks import ExactResume, GeneratorEMA, LastCheckpoint
from pl_genmodels.data import Loader, TensorSet
from pl_genmodels.data.loader import shard
from pl_genmodels.losses import R1
from tests.callbacks.test_fidelity import all_metrics
from tests.conftest import pass_over_imports
from tests.models.harness import trainer
from tests.small import gan, samples

ROUNDS, ROWS = 6, 12  # a batch of the whole run


class Share:
    """Batches that bring their latents, of which each rank takes its rows; picklable, as ddp_spawn wants it."""

    def __init__(self):
        generator = torch.Generator().manual_seed(2)
        images = samples(ROUNDS, batch=ROWS).double().split(ROWS)
        latents = torch.randn(ROUNDS, ROWS, 3, generator=generator, dtype=torch.float64)
        self.batches = [{"image": x, "latent": z} for x, z in zip(images, latents, strict=True)]

    def __len__(self):
        return ROUNDS

    def __iter__(self):
        rank, world = shard()
        return ({key: value[rank::world] for key, value in batch.items()} for batch in self.batches)


def train(folder, *, built=True, **options):
    """Double backward, two critic steps and clipping; averaged weights; returns the model as the caller holds it."""
    model = gan((2,) if built else None, critic_steps=2, penalties=[R1()])
    if built:
        model.configure_model()
        model.double()
    callbacks = [GeneratorEMA(half_life=30.0), ExactResume()]
    runner = trainer(folder, max_epochs=1, gradient_clip_val=0.5, precision="64-true", callbacks=callbacks, **options)
    runner.fit(model, Share())
    return model, runner


def report(model):
    """What a user has after a fit."""
    return {
        "samples": model.double().sample(4, seed=3),
        "averaged": "generator_ema" in model._modules,
        "progress": model.progress(),
        "weights": model.state_dict(),
    }


# ---- started by torchrun, two nodes with one process each


def nodes(folder):
    rank = int(os.environ["RANK"])
    for strategy in ("ddp", "ddp_find_unused_parameters_true"):
        model, runner = train(folder / strategy, strategy=strategy, num_nodes=2)
        assert (runner.world_size, runner.local_rank) == (2, 0)
        torch.save(report(model), folder / f"{strategy}.rank{rank}")
    torch.save(all_metrics(folder / "metrics", strategy="ddp", num_nodes=2), folder / f"metrics.rank{rank}")
    torch.save(ended_by_a_signal(folder / "signal", rank), folder / f"signal.rank{rank}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, on rank 0, would come before the error is written
    try:
        train_until(folder / "dead", lambda: rank == 1 and os.kill(os.getpid(), signal.SIGKILL))
    except RuntimeError as error:
        (folder / f"dead.rank{rank}").write_text(str(error.args[0]))
        raise


class At(Callback):
    def __init__(self, batch, do):
        self.batch, self.do = batch, do

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.fit_loop.total_batch_idx == self.batch:
            self.do()


def train_until(folder, event, model=None, **devices):
    """A run of 200 batches in which something happens at the 7th, on the way to it a checkpoint every two rounds."""
    data = Loader(TensorSet({"image": samples(200)}), 4, shuffle=True, drop_last=True)
    callbacks = [At(6, event), ExactResume(), LastCheckpoint(2)]
    options = {"strategy": "ddp", "devices": 1, "num_nodes": 2, "enable_checkpointing": True, **devices}
    trainer(folder, callbacks=callbacks, max_epochs=1, **options).fit(model or gan(), data)


def ended_by_a_signal(folder, rank):
    """Only rank 1 gets it."""
    model = gan()
    try:
        train_until(folder, lambda: rank == 1 and signal.raise_signal(signal.SIGTERM), model)
    except SIGTERMException as error:
        return {"status": error.code, "images": model.images_seen}
    return None


# ---- started by SLURM: three tasks on one node; a fork of the tests' process is the one that starts them


def tasks(folder):
    """Each in a fork that is told who it is by SLURM's variables; nothing has run in this process yet."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=task, args=(folder, str(rank))) for rank in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(max(abs(process.exitcode) for process in processes))


def task(folder, rank):
    os.environ.update(SLURM_PROCID=rank, SLURM_LOCALID=rank)
    unequal(folder)


class Stream(IterableDataset):
    """Of rank r, 3 + r batches."""

    def __iter__(self):
        rank, _ = shard()
        return iter(samples(3 + rank))


class Uneven(LightningDataModule):
    """Of 100 samples, 30, 33 and 37; the last batch of each rank is smaller and the numbers of batches are 8, 9, 10."""

    def train_dataloader(self):
        rank, _ = shard()
        return DataLoader(TensorDataset(samples(100, batch=1)[sum((30, 33, 37)[:rank]) :][: (30, 33, 37)[rank]]), 4)

    def val_dataloader(self):
        return DataLoader(TensorDataset(samples(1)), 8)


class Batches(Callback):
    """Sizes of the batches that were trained on, epoch by epoch, and the epochs that were validated."""

    def __init__(self):
        self.sizes, self.rows, self.validated = [], [], 0

    def on_train_epoch_start(self, *args):
        self.sizes.append([])

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        images = batch["image"] if isinstance(batch, dict) else batch[0] if isinstance(batch, list) else batch
        self.sizes[-1].append(len(images))
        self.rows.append(images)

    def on_validation_end(self, trainer, module):
        self.validated += 1


def unequal(folder):
    """No case may wait for ever; each is noted with the weights that a rank ends with."""
    rank = int(os.environ["SLURM_PROCID"])
    ours = {"shuffle": True, "seed": 1}
    hundred = TensorSet({"image": samples(100, batch=1)})
    cases = {
        "ours": Loader(hundred, 8, drop_last=False, **ours),
        "ours whole": Loader(hundred, 8, drop_last=True, **ours),
        "sampler": DataLoader(TensorDataset(samples(100, batch=1)), 8, shuffle=True),
        "lengths": Uneven(),
        "stream": DataLoader(Stream(), 4),
    }
    notes = {}
    for name, data in cases.items():
        model, seen = gan(), Batches()
        options = {"strategy": "ddp", "devices": 3, "max_epochs": 2, "limit_val_batches": 1.0}
        options["use_distributed_sampler"] = name != "lengths"
        runner = trainer(folder / name, callbacks=[seen], num_sanity_val_steps=0, **options)
        runner.fit(model, data)
        assert runner.world_size == 3
        notes[name] = {
            "sizes": seen.sizes,
            "rows": torch.cat(seen.rows[: len(seen.sizes[0])]),
            "validated": seen.validated,
            "weights": {key: value for key, value in model.state_dict().items() if "running" not in key},
        }
    torch.save(notes, folder / f"unequal.rank{rank}")


# ---- a user's own script


def script(folder):
    """Strategies that start their processes themselves, three of which bring the result home; the last one fails."""
    if "LOCAL_RANK" not in os.environ:  # Lightning starts this file again for the run that fails
        for strategy in ("ddp_spawn", "ddp_fork", "ddp_notebook"):
            model, _ = train(folder / strategy, strategy=strategy, devices=2)
            torch.save(report(model), folder / f"{strategy}.home")
        lazy, _ = train(folder / "lazy", strategy="ddp_fork", devices=2, built=False)
        torch.save(report(lazy), folder / "lazy.home")

    def fail():
        if os.environ["LOCAL_RANK"] == "1":
            raise ValueError("on purpose")

    train_until(folder / "failing", fail, devices=2, num_nodes=1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    pass_over_imports()
    {"nodes": nodes, "script": script}[sys.argv[1]](Path(sys.argv[2]))
