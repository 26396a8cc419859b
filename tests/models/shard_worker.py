"""One rank of the pair of processes that `test_sharding` asks what sharded runs do; started by torchrun."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import FSDPModule

from pl_genmodels.callbacks import ExactResume, GeneratorEMA
from pl_genmodels.data import Loader, TensorSet
from pl_genmodels.models import sharding
from tests.models import sharded_cases as cases
from tests.models.harness import SaveAt, snapshot, trainer, whole
from tests.small import samples


def strategy(distributed=False):
    return ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1, save_distributed_checkpoint=distributed)


def equals_one_process(folder, rank, name):
    """Train a case from weights that differ between the ranks."""
    model, state = cases.train(name, folder, rank=rank, world_size=cases.RANKS, strategy=strategy())
    networks = {key for key, network in model.named_children() if isinstance(network, FSDPModule)}
    blocks = sum(isinstance(module, FSDPModule) for module in model.modules()) - len(networks)
    torch.save({"state": state, "networks": networks, "blocks": blocks}, folder / f"{name}.rank{rank}")


def small_run(folder, callbacks, seed, *, distributed, ckpt_path=None, name="dcgan", **options):
    """Twelve batches of shuffled pictures in single precision."""
    model = cases.model(name, seed).float()
    shape = model.image_shape
    data = Loader(TensorSet({"image": samples(6, shape, 16)}), 8, shuffle=True, drop_last=True, seed=5)
    runner = trainer(
        folder,
        callbacks=[GeneratorEMA(half_life=20), ExactResume(), *callbacks],
        strategy=strategy(distributed),
        devices=2,
        max_epochs=2,
        enable_checkpointing=True,
        num_sanity_val_steps=0,
        **options,
    )
    torch.manual_seed(seed)
    runner.fit(model, data, ckpt_path=ckpt_path)
    return model, runner


def resumes(folder, rank, kind):
    """A run with a checkpoint in the middle of an epoch, and one that continues from it with other random numbers."""
    distributed = kind == "folder"
    middle, end = folder / f"middle-{kind}.ckpt", folder / f"end-{kind}.ckpt"
    model, runner = small_run(
        folder, [SaveAt(3, middle), SaveAt(8, folder / f"later-{kind}.ckpt")], 7 + rank, distributed=distributed
    )
    straight = whole(snapshot(model, runner))
    runner.save_checkpoint(end)
    with sharding.gathered(model):
        drawn = model.sample(5, seed=3)
    again, runner = small_run(
        folder, [SaveAt(5, folder / f"again-{kind}.ckpt")], 77 + rank, distributed=distributed, ckpt_path=middle
    )
    resumed = whole(snapshot(again, runner))
    torch.save({"straight": straight, "resumed": resumed, "samples": drawn}, folder / f"resume-{kind}.rank{rank}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    sharding.BLOCK_PARAMETERS = cases.BLOCK
    this_rank, target = int(os.environ["RANK"]), Path(sys.argv[1])
    for case in cases.CASES:
        equals_one_process(target, this_rank, case)
    for way in ("file", "folder"):
        resumes(target, this_rank, way)
