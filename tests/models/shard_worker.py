"""The pair of processes that `test_sharding` asks what sharded runs do."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import os
import sys
import traceback
from datetime import timedelta

import torch
import torch.distributed as dist
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import FSDPModule

from pl_genmodels.callbacks import CollapseMonitor, ExactResume, Fidelity, GeneratorEMA, LastCheckpoint, SampleGrid
from pl_genmodels.data import Loader, TensorSet
from pl_genmodels.models import sharding
from tests.models import sharded_cases as cases
from tests.models.harness import SaveAt, snapshot, trainer, whole
from tests.small import Batches, samples

TIMEOUT = timedelta(seconds=120)


def strategy(distributed=False):
    return ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1, save_distributed_checkpoint=distributed)


def equals_one_process(folder, rank, name):
    """Train a case from weights that differ between the ranks."""
    model, state = cases.train(name, folder, rank=rank, world_size=cases.RANKS, strategy=strategy())
    networks = {key for key, network in model.named_children() if isinstance(network, FSDPModule)}
    blocks = sum(isinstance(module, FSDPModule) for module in model.modules()) - len(networks)
    torch.save({"state": state, "networks": networks, "blocks": blocks}, folder / f"{name}.rank{rank}")


def small_run(folder, callbacks, seed, *, distributed=False, ckpt_path=None, val_dataloaders=None, **options):
    """Twelve batches of shuffled pictures in single precision, with two steps of the discriminator for one."""
    model = cases.model("dcgan", seed).float()
    model.critic_steps = 2
    data = Loader(TensorSet({"image": samples(6, cases.PICTURES, 16)}), 8, shuffle=True, drop_last=True, seed=5)
    saves = any(isinstance(callback, Checkpoint) for callback in callbacks)
    defaults = {"max_epochs": 2, "limit_val_batches": None, "enable_checkpointing": saves}
    runner = trainer(
        folder,
        callbacks=[GeneratorEMA(half_life=20), ExactResume(), *callbacks],
        strategy=strategy(distributed),
        devices=2,
        **{**defaults, **options},
    )
    torch.manual_seed(seed)
    runner.fit(model, data, val_dataloaders, ckpt_path=ckpt_path)
    return model, runner


def resumes(folder, rank, kind):
    """A run with a checkpoint from before the generator ever played, and one that continues with other numbers."""
    distributed = kind == "folder"
    middle, end = folder / f"middle-{kind}.ckpt", folder / f"end-{kind}.ckpt"
    model, runner = small_run(
        folder, [SaveAt(1, middle), SaveAt(8, folder / f"later-{kind}.ckpt")], 7 + rank, distributed=distributed
    )
    straight = whole(snapshot(model, runner))
    runner.save_checkpoint(end)
    with sharding.gathered(model):
        drawn = model.sample(5, seed=3)
    again, runner = small_run(
        folder, [SaveAt(7, folder / f"again-{kind}.ckpt")], 77 + rank, distributed=distributed, ckpt_path=middle
    )
    resumed = whole(snapshot(again, runner))
    torch.save({"straight": straight, "resumed": resumed, "samples": drawn}, folder / f"resume-{kind}.rank{rank}")


def watched(folder, rank):
    """A run with every callback that draws samples, and with a weight that breaks on one rank only."""

    class Break(Callback):
        def on_train_batch_end(self, trainer, module, *args):
            if trainer.global_step == 5 and not self.done:
                self.done = True
                if rank == 1:
                    sharding.local(module.generator.parameters())[0].fill_(torch.nan)

        done = False

    extractor = cases.Columns()
    callbacks = [
        Break(),
        SampleGrid(every_n_images=64, num_samples=6, columns=3),
        Fidelity(extractor, num_samples=cases.NUM_FAKE, split="val"),
        CollapseMonitor(every_n_images=32, num_samples=4, min_diversity=0.0, action="restore"),
        LastCheckpoint(2),
    ]
    real = torch.utils.data.DataLoader(TensorSet({"image": samples(5, cases.PICTURES, 3)}), 3)
    model, runner = small_run(folder / "watched", callbacks, rank, distributed=True, val_dataloaders=real)
    state = whole(snapshot(model, runner))
    values = {key: float(value) for key, value in runner.callback_metrics.items() if "fid" in key}
    torch.save({"values": values, "state": state}, folder / f"watched.rank{rank}")


def uneven(folder, rank):
    """Prediction and validation with another number of batches on each rank."""
    model = cases.model("dcgan", rank).float()
    runner = trainer(folder, strategy=strategy(), devices=2, use_distributed_sampler=False)
    drawn = runner.predict(model, Batches([{"image": torch.zeros(3, *cases.PICTURES)}] * (3 - rank)))
    torch.manual_seed(0)
    line = cases.Line(cases.POINTS)
    points = samples(5)
    mine = [{"image": part} for part in points.split(8)[:3] if rank == 0] or [{"image": points[24:]}]
    options = {"strategy": strategy(), "devices": 2, "use_distributed_sampler": False, "limit_val_batches": None}
    (found,) = trainer(folder, **options).validate(line, Batches(mine), verbose=False)
    torch.save({"drawn": [len(part) for part in drawn], "loss": found["val/loss"]}, folder / f"uneven.rank{rank}")


def precise(folder, rank, precision):
    """A few steps in another precision."""
    model, _ = small_run(folder, [], rank, precision=precision, limit_train_batches=3)
    parts = {key: value.detach() for key, value in whole(dict(model.named_parameters())).items()}
    torch.save(parts, folder / f"{precision}.rank{rank}")


def one_process(folder):
    """An epoch of one process, of which `continues` sees the end."""
    model = cases.model("dcgan").float()
    data = Loader(TensorSet({"image": samples(6, cases.PICTURES, 16)}), 16, shuffle=True, drop_last=True, seed=5)
    runner = trainer(folder, max_epochs=1)
    runner.fit(model, data)
    runner.save_checkpoint(folder / "one.ckpt")


def continues(folder, rank):
    """From the file of one process, without averaged weights, to a sharded run that averages."""
    path = folder / "one.ckpt"
    model, runner = small_run(folder, [SaveAt(5, folder / "unused.ckpt")], rank, ckpt_path=path, max_epochs=1)
    torch.save(whole(snapshot(model, runner)), folder / f"continues.rank{rank}")


def backwards(folder, rank):
    """A file whose optimisers' parameters lie in another order than the model's."""
    runner = trainer(folder, max_epochs=1, callbacks=[ExactResume()], strategy=strategy(), devices=2)
    torch.manual_seed(rank)
    model = cases.Backwards(cases.POINTS, **cases.mlp)
    runner.fit(model, Batches([{"image": part} for part in samples(3).split(8)]))
    runner.save_checkpoint(folder / "backwards.ckpt")
    torch.save(whole(snapshot(model, runner)), folder / f"backwards.rank{rank}")


def play(rank, folder):
    """All questions to one rank."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", NODE_RANK="0")
    dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=2, timeout=TIMEOUT)
    try:
        for case in cases.CASES:
            equals_one_process(folder, rank, case)
        for kind in ("file", "folder"):
            resumes(folder, rank, kind)
        continues(folder, rank)
        watched(folder, rank)
        uneven(folder, rank)
        backwards(folder, rank)
        for precision in ("bf16-mixed", "bf16-true"):
            precise(folder, rank, precision)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def run(folder):
    """Fork the pair; this process is a fork of the tests' own, so that libraries are imported once."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    sharding.BLOCK_PARAMETERS = cases.BLOCK
    one_process(folder)
    context = multiprocessing.get_context("fork")
    pair = [context.Process(target=play, args=(rank, folder)) for rank in (0, 1)]
    for process in pair:
        process.start()
    ended = multiprocessing.connection.wait([process.sentinel for process in pair])
    if len(ended) < 2 and any(process.exitcode for process in pair):
        for process in pair:
            process.kill()  # the other one would wait
    for process in pair:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in pair))
