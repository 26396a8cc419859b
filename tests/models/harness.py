"""Builds what a config describes, at a size that a test can afford, and runs it."""

from __future__ import annotations

import contextlib
import warnings

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.loggers import Logger
from torch.overrides import TorchFunctionMode

from pl_genmodels.callbacks import ExactResume, GeneratorEMA
from pl_genmodels.cli import GenerativeCLI

LONG, LONG_CRITIC_STEPS = "wgan_gp_long", 5  # the case with everything on for 20 rounds
MAX_CRITIC_STEPS = 2  # WGAN's warm-up of 100 is the same code with another number


def build(config, *options, batch_size=8):
    """Model, data and the callbacks that hold state, as the command line makes them."""
    arguments = ["--config", str(config), "--data.batch_size", str(batch_size), "--trainer.logger", "false"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cli = GenerativeCLI([*arguments, *options], run=False)
    model = cli.model
    steps_at = model.critic_steps_at
    model.critic_steps_at = lambda update: min(steps_at(update), MAX_CRITIC_STEPS)
    stateful = [callback for callback in cli.trainer.callbacks if isinstance(callback, (GeneratorEMA, ExactResume))]
    return model, cli.datamodule, stateful


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


def assert_same(left, right, tolerance=0.0):
    assert left.keys() == right.keys()
    for key in left:
        difference = (left[key].double() - right[key].double()).abs().max() if left[key].numel() else torch.zeros(())
        assert difference <= tolerance, f"{key} differs by {difference}"


class SharedRandomness(TorchFunctionMode):
    """Random numbers of one process's whole batch, of which each rank takes its own rows.

    A whole batch lies in memory as micro-batches, each of which is the ranks' parts one after the other.
    """

    drawing = (torch.rand, torch.randn, torch.rand_like, torch.randn_like)

    def __init__(self, rank, world_size, batch_size, micro_batches):
        super().__init__()
        self.rank, self.world_size = rank, world_size
        self.whole, self.part = batch_size, batch_size // micro_batches

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function not in self.drawing or self.world_size == 1:
            return function(*args, **kwargs)
        if function in (torch.rand_like, torch.randn_like):
            like = args[0]
            shape, kwargs = tuple(like.shape), {"dtype": like.dtype, "device": like.device, **kwargs}
            function = torch.rand if function is torch.rand_like else torch.randn
        else:
            shape = tuple(args[0]) if isinstance(args[0], (tuple, list, torch.Size)) else tuple(args)
        rows = shape[0]
        assert rows in (self.whole, self.part), f"a draw of {rows} rows is not one per sample"
        everything = function(rows * self.world_size, *shape[1:], **kwargs)
        starts = range(0, rows * self.world_size, self.part * self.world_size)
        mine = [torch.arange(start + self.rank * self.part, start + (self.rank + 1) * self.part) for start in starts]
        return everything[torch.cat(mine)]


class Rows(LightningDataModule):
    """Given batches, or this rank's rows of them, laid out as `SharedRandomness` draws."""

    def __init__(self, batches, rank, world_size, micro_batches):
        super().__init__()
        part = len(next(iter(batches[0].values()))) // world_size // micro_batches
        starts = [micro * part * world_size + rank * part for micro in range(micro_batches)]
        rows = torch.cat([torch.arange(start, start + part) for start in starts])
        whole = slice(None)
        self.batches = [{k: v[rows if world_size > 1 else whole] for k, v in batch.items()} for batch in batches]

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


def build_shared(name, config, weights):
    """The model of a case of the contract in double precision, with given weights."""
    model, _, _ = build(config)
    if name == LONG:
        model.critic_steps_at = lambda update: LONG_CRITIC_STEPS
    model.double()
    model.configure_model()
    model.load_state_dict(weights)
    return model


def train_shared(model, batches, tmp_path, *, rank, world_size, micro_batches, clip=None):
    """Train in double precision on given batches with shared randomness; returns the state."""
    rows = len(next(iter(batches[0].values()))) // world_size
    step = model.training_step

    def training_step(batch, batch_idx):
        torch.manual_seed(batch_idx)
        with SharedRandomness(rank, world_size, rows, micro_batches):
            return step(batch, batch_idx)

    model.training_step = training_step
    runner = trainer(
        tmp_path,
        max_epochs=1,
        precision="64-true",
        strategy="ddp" if world_size > 1 else "auto",
        devices=world_size,
        accumulate_grad_batches=micro_batches,
        gradient_clip_val=clip,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    with frozen_batch_statistics(model):
        runner.fit(model, Rows(batches, rank, world_size, micro_batches))
    return snapshot(model, runner)
