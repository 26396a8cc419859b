"""A run that goes on until somebody interrupts it; started as a process of its own."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback

from pl_genmodels.callbacks import ExactResume, LastCheckpoint
from pl_genmodels.data import Loader, TensorSet
from tests.models.harness import trainer
from tests.small import BATCH, gan, samples


class SaysReady(Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.fit_loop.total_batch_idx == 20:
            print("ready", flush=True)


def run(folder, *, ckpt_path=None, num_batches=None):
    """Train on shuffled data, seven batches an epoch, with two critic steps, endlessly or for a number of batches."""
    model = gan(critic_steps=2)
    data = Loader(TensorSet({"image": samples(7)}), BATCH, shuffle=True, drop_last=True, seed=5)
    callbacks = [ExactResume(), LastCheckpoint(every_n_train_steps=1_000_000), SaysReady()]
    stop = {"max_steps": -1, "max_epochs": -1}
    if num_batches is not None:
        stop = {"max_epochs": num_batches // 7}
    runner = trainer(folder, callbacks=callbacks, enable_checkpointing=True, **stop)
    torch.manual_seed(1)
    runner.fit(model, data, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
    return model, runner


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    run(Path(sys.argv[1]))
