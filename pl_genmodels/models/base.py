"""What every generative module is: built for a shape, trained, and rebuilt from its checkpoint alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, cast

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from typing_extensions import Self

from pl_genmodels.models.checkpoint_files import CHECKPOINT_FORMAT, CHECKPOINT_KEY, UnsavedError, WholeFiles, upgrade
from pl_genmodels.models.compilation import compile_networks
from pl_genmodels.models.engine import every_rank_local_state, require_own_settings, restore_rank_local
from pl_genmodels.models.finite import FiniteRecord, require_finite
from pl_genmodels.models.first_batch import check_channels, check_range, shapes_of_first_batch
from pl_genmodels.models.ranks import EqualEpochs
from pl_genmodels.models.sharding import (
    ShardedRun,
    agree_on_buffers,
    is_sharded,
    keep_order,
    require_data_parallel,
    shard,
)
from pl_genmodels.specs import Recorded, import_path, to_spec
from pl_genmodels.types import IMAGE_KEYS, Batch, ImageShape, Paper, as_batch


class GenerativeModule(Recorded, LightningModule, ABC):
    """A model that can be trained, and rebuilt from its checkpoint alone.

    Args:
        image_shape: Shape of one sample, (C, H, W) or (n,). Left out, it is read from the first batch of the training
            data when fitting starts.
        compile: Compile the networks with `torch.compile` while fitting; samples are drawn without. Checkpoints do not
            depend on it.
    """

    paper: ClassVar[Paper]
    batch_keys: ClassVar[tuple[str, ...]] = IMAGE_KEYS
    differentiates_gradients: ClassVar[bool] = False
    """Whether a step goes through gradients that it takes itself, as an unrolled one does; penalties do not count."""
    shape_keys: ClassVar[dict[str, str]] = {"image_shape": "image"}
    """Arguments that are shapes, each with the entry of a batch whose shape it is when it was not given."""

    def __init__(self, image_shape: ImageShape | None = None, compile: bool = False) -> None:
        super().__init__()
        self.image_shape: ImageShape | None = None if image_shape is None else tuple(image_shape)
        self.compiles_networks = compile
        self.images_seen = 0
        self.finite = FiniteRecord()
        # in plain form: networks and partials in here would make the checkpoint unreadable with weights_only
        instantiator = "lightning.pytorch.cli.instantiate_module"
        own = {"_class_path": import_path(type(self)), "_instantiator": instantiator}
        self.save_hyperparameters({**to_spec(self.init_args), **own})

    @classmethod
    def stem(cls) -> str:
        """Name of the system: that of its file, its config and its tests."""
        return cls.__module__.rsplit(".", 1)[-1]

    # ---- building

    @abstractmethod
    def build(self, image_shape: ImageShape) -> None:
        """Create the networks for samples of this shape. Called once."""

    @property
    @abstractmethod
    def is_built(self) -> bool:
        """Whether `build` has been called."""

    def configure_model(self) -> None:
        """Build the networks once their shape is known, and shard them where the strategy asks for it.

        Lightning calls this before fitting and after loading.
        """
        self.build_once()
        if self.device_mesh is not None:
            shard(self, self.networks_to_shard())
            if not is_sharded(self):
                raise ValueError(
                    f"strategy: got ModelParallelStrategy, allowed is ddp for this {type(self).__name__}, "
                    "none of whose networks can be sharded"
                )

    def networks_to_shard(self) -> list[nn.Module]:
        """Networks whose parameters `ModelParallelStrategy` spreads over ranks."""
        return list(self.children())

    def shaped_like(self, names: set[str]) -> AbstractContextManager[None]:
        """Holds while the weights of these names are read into a sharded module, which must have the same ones."""
        return nullcontext()

    def build_once(self) -> None:
        """Build the networks if there are none yet."""
        if self.is_built:
            return
        if not self.knows_shapes:
            self._take_shapes(shapes_of_first_batch(self._trainer, self.shape_keys, self.batch_keys))
        self.build(cast(ImageShape, self.image_shape))

    def _take_shapes(self, shapes: Mapping[str, Any]) -> None:
        for name in self.shape_keys:
            setattr(self, name, tuple(shapes[name]))
            self.hparams[name] = list(shapes[name])

    @property
    def knows_shapes(self) -> bool:
        """Whether every shape that the networks depend on was given."""
        return all(getattr(self, name) is not None for name in self.shape_keys)

    def configure_callbacks(self) -> list[Callback]:
        """What a run of several ranks needs whatever the user's callbacks are, and one with sharded parameters."""
        require_data_parallel(self.trainer.strategy)
        if self.trainer.accumulate_grad_batches < 1:
            raise ValueError(
                f"accumulate_grad_batches: got {self.trainer.accumulate_grad_batches}, allowed is 1 or more"
            )
        return [EqualEpochs(), *([ShardedRun()] if self.shards else [])]

    @property
    def shards(self) -> bool:
        """Whether the strategy spreads parameters over ranks."""
        return isinstance(self.trainer.strategy, ModelParallelStrategy)

    # ---- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what is not a tensor; weights that are not finite never replace good ones."""
        if self._trainer is not None and require_finite(self, weights=True):
            checkpoint["state_dict"] = self.trainer.strategy.lightning_module_state_dict()
            if "optimizer_states" in checkpoint:
                optimizers = self.trainer.optimizers
                checkpoint["optimizer_states"] = [self.trainer.strategy.optimizer_state(o) for o in optimizers]
        if self.shards:  # by now the checkpoint holds copies
            agree_on_buffers(self, checkpoint["state_dict"])
            keep_order(self, checkpoint.get("optimizer_states", []))
        checkpoint[CHECKPOINT_KEY] = {
            "format": CHECKPOINT_FORMAT,
            "system": self.stem(),
            "rank_local": every_rank_local_state(self),
            **self.progress(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Bring it to the current format, refuse another class's, then take over its progress and the rank's own."""
        if CHECKPOINT_KEY in checkpoint:
            upgrade(checkpoint)
        saved = checkpoint.get("hyper_parameters", {}).get("_class_path")
        if saved is not None and saved != import_path(type(self)):
            raise ValueError(f"ckpt_path: the checkpoint holds a {saved}, allowed here is a {import_path(type(self))}")
        for name in self.shape_keys:
            theirs, ours = checkpoint.get("hyper_parameters", {}).get(name), getattr(self, name)
            if theirs and ours and theirs[0] != ours[0]:  # height and width are free where all is convolutions
                raise ValueError(
                    f"ckpt_path: the checkpoint's {name} is {tuple(theirs)}, here it is {tuple(ours)}, allowed is the "
                    "same number of channels"
                )
        for name, value in checkpoint.get(CHECKPOINT_KEY, {}).items():
            if name in self.progress():
                setattr(self, name, value)
        if self._trainer is not None:
            states = checkpoint.get(CHECKPOINT_KEY, {}).get("rank_local", [])
            restore_rank_local(self, checkpoint, states, self.trainer.global_rank, self.trainer.world_size)

    def progress(self) -> dict[str, int]:
        """Counters that a resumed run continues from, by attribute name."""
        return {"images_seen": self.images_seen}

    # ---- what may go wrong

    def on_train_start(self) -> None:
        """From here on a checkpoint that cannot be written is a warning, since another one follows."""
        self.finite.clear()
        require_own_settings(self.trainer.optimizers)
        self._be_lenient(True)
        loop = self.trainer.fit_loop
        epochs: Any = loop.epoch_progress.current
        if loop.restarted_mid_epoch and epochs.processed == epochs.started:
            # saved after an epoch's last batch: Lightning would begin the next epoch without counting it, and a
            # checkpoint of that epoch would not restore the loader's position
            loop.reset_restart_stage()

    def on_validation_start(self) -> None:
        """Do not judge what is broken."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            require_finite(self, weights=True)

    def on_train_end(self) -> None:
        """A run that ends well ends with finite weights and a checkpoint that was written."""
        require_finite(self, weights=True)
        files = self._be_lenient(False)
        if failure := self.trainer.strategy.broadcast(files and files.failure):
            raise UnsavedError(f"the run is over, but {failure}")

    def _be_lenient(self, lenient: bool) -> WholeFiles | None:
        files = self.trainer.strategy.checkpoint_io
        if not isinstance(files, WholeFiles):
            return None
        files.lenient = lenient
        return files

    # ---- several processes

    def teardown(self, stage: str) -> None:
        """Where `ddp_spawn` or `ddp_notebook` started this process: have the weights that are sent home say more."""
        self._be_lenient(False)
        if stage == "fit" and isinstance(self.trainer.strategy.launcher, _MultiProcessingLauncher):
            self.register_state_dict_post_hook(_add_progress)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights; those that come home from processes for which this one waited build the networks first."""
        if CHECKPOINT_KEY in state_dict:
            state_dict = dict(state_dict)
            progress = state_dict.pop(CHECKPOINT_KEY)
            self._trainer = None  # the one that trained is gone with its process
            if not self.knows_shapes:
                self._take_shapes(progress)
            self.configure_model()
            self.on_load_checkpoint({"state_dict": state_dict, CHECKPOINT_KEY: progress})
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    # ---- logging

    @property
    def log_due(self) -> bool:
        """Whether a logger will take this step's values; scalars are computed only then."""
        return self.trainer._logger_connector.should_update_logs

    def on_fit_start(self) -> None:
        """Let each rank draw random numbers of its own, compile networks if asked to; prepare Weights & Biases."""
        if self.trainer.global_rank > 0:  # one seed for all made equal weights, but would make equal latents too
            torch.manual_seed(torch.initial_seed() + self.trainer.global_rank)
        if self.compiles_networks:
            compile_networks(self.networks_to_compile(), self.device)
        for logger in self.loggers:
            if isinstance(logger, WandbLogger) and self.trainer.is_global_zero:
                run = logger.experiment
                run.define_metric("images_seen")
                run.define_metric("*", step_metric="images_seen")
                run.summary.update({"system": self.stem(), "paper": self.paper.title, "paper_url": self.paper.url})

    @property
    def images_axis(self) -> Tensor:
        """`images_seen` for `log`, which would round a number to single precision and thus from 2 ** 24 on."""
        return torch.tensor(self.images_seen, dtype=torch.float64)

    # ---- compilation

    def networks_to_compile(self) -> list[nn.Module]:
        """What `compile` compiles: every child with something to train."""
        return [child for child in self.children() if any(p.requires_grad for p in child.parameters())]

    # ---- precision

    def setup(self, stage: str) -> None:
        """Have checkpoints written whole, take on the precision, and refuse what training cannot work with."""
        if type(self.trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # and no other way that the user chose
            self.trainer.strategy.checkpoint_io = WholeFiles()
        self.trainer.precision_plugin.convert_module(self)  # Lightning does so after it has restored the weights
        if stage != "fit":
            return
        precision, name = self.trainer.precision, type(self).__name__
        if self.compiles_networks and self.differentiates_gradients:
            raise ValueError(
                f"compile: got true, allowed with {name} is false: its step goes through gradients, and compiled "
                "networks have no second derivative"
            )
        if precision == "16-true":
            raise ValueError(
                "precision: got '16-true', in which Adam's moments vanish; allowed for fitting are "
                "'32-true', 'bf16-mixed', '16-mixed', 'bf16-true' and '64-true'"
            )
        if self.differentiates_gradients and self.loss_scaler is not None:
            raise ValueError(
                f"precision: got {precision!r}, whose scaled gradients {name} would differentiate; allowed with it are "
                "'32-true', 'bf16-mixed', 'bf16-true' and '64-true'"
            )

    @property
    def loss_scaler(self) -> torch.amp.GradScaler | None:
        """What scales the losses under `16-mixed`; None under every other precision."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def read_batch(self, batch: Any) -> Batch:
        """A batch by name, in the Trainer's precision: Lightning converts what the loader yields, before it is a float.

        Raises:
            ValueError: If an entry is missing whose shape the networks have.
        """
        named = as_batch(batch, self.batch_keys)
        for key in self.batch_keys[:2]:
            if key not in named and key in self.shape_keys.values():
                raise ValueError(
                    f"batch: has keys {sorted(named)}, but a {type(self).__name__} needs {key!r} too; allowed are "
                    f"tuples ({', '.join(self.batch_keys[:2])}) or dicts with both"
                )
        return self.trainer.precision_plugin.convert_input(named)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Averaged weights are moved with the module, but never below single precision, where an average stands still.

        In bfloat16 `a + (1 - 0.9995) (w - a)` rounds back to `a`.
        """

        def gently(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            lowered = moved.is_floating_point() and moved.dtype.itemsize < 4
            return tensor.to(moved.device, torch.float32) if lowered else moved

        for name, child in self.named_children() if recurse else ():
            child._apply(gently if name.endswith("_ema") else fn)
        return super()._apply(fn, recurse=False)

    def count_images(self, batch: Batch) -> None:
        """Advance `images_seen` by a batch like this one on every rank; look at the run's first images."""
        images = batch[self.batch_keys[0]]
        if self.images_seen == 0:
            check_range(images, getattr(self, "likelihood", None))
            check_channels(batch, {name: getattr(self, name) for name in self.shape_keys}, self.shape_keys)
        self.images_seen += len(images) * self.trainer.world_size


class SamplingModule(GenerativeModule):
    """A model that makes samples out of nothing but random numbers; others, such as translations, need an input."""

    @abstractmethod
    def sample(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:
        """Draw samples.

        Args:
            num_samples: How many.
            seed: With a seed, sample i of it is always the same, whoever draws it; without, torch's global state.
            first: Index of the first sample of the seed.

        Returns:
            Samples in the data's range ([-1, 1] for pictures), (num_samples, *image_shape).
        """

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """As many samples as the batch has entries."""
        return self.sample(len(next(iter(as_batch(batch, self.batch_keys).values()))))


def _add_progress(module: GenerativeModule, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    shapes = {name: list(getattr(module, name)) for name in module.shape_keys}
    state[CHECKPOINT_KEY] = {"format": CHECKPOINT_FORMAT, **shapes, **module.progress()}
