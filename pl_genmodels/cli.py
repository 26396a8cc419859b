"""The command line: Lightning's verbs on our models and data, and verbs of our own that need a checkpoint only."""

from __future__ import annotations

import difflib
import errno
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor

from pl_genmodels.catalogue import listing, systems
from pl_genmodels.data import ImageData
from pl_genmodels.metrics import FeatureExtractor
from pl_genmodels.models.base import GenerativeModule
from pl_genmodels.models.latent_gan import LatentGAN

PACKAGE = str(Path(__file__).parent)


class Parser(LightningArgumentParser):
    """Says what is wrong in one sentence, with the nearest right name, instead of a page of usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Leave with status 2; nested parsers raise as usual."""
        if not self.exit_on_error:
            super().error(message, ex)
        own = _own_error(ex) if ex is not None else None
        fail(str(own) if own is not None else _shorten(message) + _nearest(message), status=2)


def fail(sentence: str, status: int = 1) -> NoReturn:
    """Say what is wrong and leave."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(status)


def _chain(error: BaseException) -> list[BaseException]:
    """An error and those that led to it, outermost first."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def _own_error(error: BaseException) -> BaseException | None:
    """The error among those that led here which one of our files raised to tell the user something."""
    for link in reversed(_chain(error)):
        frames = traceback.extract_tb(link.__traceback__)
        if frames and frames[-1].filename.startswith(PACKAGE) and isinstance(link, (ValueError, OSError, RuntimeError)):
            return link
    return None


def _sentence(error: BaseException) -> str | None:
    """What to tell the user about an error, or None if it is a defect of the program."""
    own = _own_error(error)
    if own is not None:
        return str(own)
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            return f"{link.strerror}: {link.filename or 'the output folder'}; the last checkpoint written is intact"
        if isinstance(link, MisconfigurationException):
            return str(link)
    return None


def _shorten(message: str) -> str:
    """The informative lines of jsonargparse's message in one."""
    lines = [line.strip(" -") for line in message.splitlines()]
    noise = ("Given value type", "Subtypes:", "Errors:", "Does not validate", "Expected a <class 'NoneType'>")
    kept = [line for line in lines if line and not line.startswith(noise)]
    return " ".join(dict.fromkeys(kept))


def _nearest(message: str) -> str:
    """'; did you mean ...?' for a name that is close to a right one."""
    quoted = re.findall(r"(?:[Oo]ption|[Kk]ey|path string:|class_path|argument)s? '?\"?([\w.]+)", message)
    quoted += re.findall(r"unrecognized arguments: --([\w.]+)", message)
    words = {name for system in systems() for name in _arguments(system.model)}
    words |= {system.model.__name__ for system in systems()} | set(_data_names()) | set(_arguments(Trainer))
    for name in quoted:
        last = name.rpartition(".")[2]
        near = difflib.get_close_matches(last, sorted(words - {last}), n=1, cutoff=0.7)
        if near and last not in words:
            return f"; did you mean {near[0]!r}?"
    return ""


def _arguments(cls: type) -> list[str]:
    from jsonargparse._parameter_resolvers import get_signature_parameters

    return [parameter.name for parameter in get_signature_parameters(cls, None)]


def _data_names() -> list[str]:
    from pl_genmodels import data

    return list(data.__all__)


class SaveConfig(SaveConfigCallback):
    """Writes the resolved config beside the run's checkpoints and tells Weights & Biases."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "save_to_log_dir": False})

    def save_config(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """On rank 0, for fits only."""
        if stage != "fit":
            return
        logger = trainer.loggers[0] if trainer.loggers else None
        folder = Path(trainer.default_root_dir)
        if logger is not None and logger.save_dir is not None:
            version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
            folder = Path(logger.save_dir) / str(logger.name) / version
        folder.mkdir(parents=True, exist_ok=True)
        text = self.parser.dump(self.config, skip_none=False)
        (folder / "config.yaml").write_text(text)


class GenerativeCLI(LightningCLI):
    """Lightning's command line on this package's models and data, with defaults that lose nothing."""

    def __init__(self, args: Sequence[str] | None = None, run: bool = True) -> None:
        # imported so that their short names can be used
        from pl_genmodels import callbacks, data, layers, losses, metrics, networks  # noqa: F401

        systems()
        super().__init__(
            GenerativeModule,
            data.ImageData,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SaveConfig,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_class=Parser,
            parser_kwargs={"default_env": True, "env_prefix": "PLG", "prog": "pl_genmodels"},
            args=list(args) if args is not None else None,
            run=run,
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Model and data are required for fit only; elsewhere a checkpoint can bring them."""
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        fit = not getattr(self, "_subcommand_parsers", None)  # parsers are made in order, fit first
        parser.add_lightning_class_args(self._model_class, "model", subclass_mode=True, required=fit)
        parser.add_lightning_class_args(self._datamodule_class, "data", subclass_mode=True, required=fit)
        parser.link_arguments("data.image_shape", "model.init_args.image_shape", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Let a checkpoint fill in what was not given; on fit, what was given holds."""
        if "subcommand" not in self.config:
            return
        options = self.config[self.config.subcommand]
        path = options.get("ckpt_path")
        if self.config.subcommand == "fit" or not path or path in ("last", "best", "hpc", "registry"):
            return
        from pl_genmodels.checkpoints import model_class, read_checkpoint

        checkpoint = read_checkpoint(path, map_location="meta")
        model_class(checkpoint)
        given: dict[str, Any] = {}
        for key, saved in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
            arguments = {k: v for k, v in checkpoint.get(saved, {}).items() if k != "_instantiator"}
            class_path = arguments.pop("_class_path", None)
            if options.get(key) is None and class_path is not None:
                if key == "model":
                    arguments.pop("image_shape", None)  # comes from the data
                given[key] = {"class_path": class_path, "init_args": arguments}
        self.config = self.parser.parse_object({self.config.subcommand: given}, self.config)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add what every run should have and the user did not configure."""
        from pl_genmodels import callbacks as ours

        config = self._get(self.config_init, "trainer")
        given = config.get("callbacks") or []
        callbacks: list[Callback] = list(given) if isinstance(given, list) else [given]

        def missing(*kinds: type[Callback]) -> bool:
            return not any(isinstance(callback, kinds) for callback in callbacks)

        if missing(ours.ExactResume):
            callbacks.append(ours.ExactResume())
        if config.get("enable_progress_bar") is not False and missing(ProgressBar):
            callbacks.append(ours.GenerativeProgressBar())
        if config.get("enable_checkpointing") is not False and not config.get("fast_dev_run") and missing(Checkpoint):
            if not missing(ours.Fidelity):
                callbacks.append(
                    ModelCheckpoint(
                        monitor="fid", mode="min", filename="best", enable_version_counter=False, save_top_k=1
                    )
                )
            callbacks.append(ours.LastCheckpoint())
        if missing(ours.RunSummary):
            callbacks.append(ours.RunSummary())
        logger = config.get("logger")
        if logger is None or logger is True:
            logger = CSVLogger("runs", name=type(self.model).stem())
        return super().instantiate_trainer(callbacks=callbacks, logger=logger, **kwargs)


def sample(ckpt_path: str, num_samples: int = 64, out: str = "samples.png", seed: int = 0, columns: int = 8) -> None:
    """Draw samples from a checkpoint.

    Args:
        ckpt_path: Checkpoint of the model.
        num_samples: How many.
        out: A .png file for one grid, a .npz file for an array `samples` (uint8, or float32 for points), or a folder
            for one PNG each.
        seed: Sample i of a seed is always the same.
        columns: Pictures in a row of the grid.
    """
    from pl_genmodels.checkpoints import load

    _write(load(ckpt_path).sample(num_samples, seed=seed), Path(out), columns)


def interpolate(
    ckpt_path: str,
    out: str = "interpolation.png",
    num_paths: int = 8,
    num_steps: int = 10,
    seed: int = 0,
    path: str = "slerp",
) -> None:
    """Walk between latents of a checkpoint.

    Args:
        ckpt_path: Checkpoint of a model with latents.
        out: A .png file for one row a path, or a .gif file that walks all paths.
        num_paths: Number of paths, each from one latent to the next.
        num_steps: Samples on each path.
        seed: Of the latents.
        path: `slerp` (great circles) or `lerp` (straight lines).
    """
    from pl_genmodels.callbacks.sample_grid import grid_picture
    from pl_genmodels.checkpoints import load
    from pl_genmodels.editing import interpolate as walk

    model = load(ckpt_path)
    if not isinstance(model, LatentGAN):
        raise ValueError(f"interpolate: the checkpoint is of a {type(model).__name__}, allowed are models with latents")
    frames = walk(model, num_paths, num_steps, seed=seed, path=path)  # (paths, steps, C, H, W)
    _require_pictures(frames[0], "interpolate")
    target = _parent_made(Path(out))
    scale = max(1, 64 // frames.shape[-1])
    if target.suffix == ".gif":
        pictures = [grid_picture(frame[None], 1, 2 * scale) for frame in frames.flatten(0, 1)]
        pictures[0].save(target, save_all=True, append_images=pictures[1:], duration=80, loop=0)
    elif target.suffix == ".png":
        grid_picture(frames.flatten(0, 1), num_steps, scale).save(target)
    else:
        raise ValueError(f"out: got {out!r}, allowed are files ending in .png or .gif")
    print(target)


def evaluate(
    ckpt_path: str,
    data: ImageData | str | None = None,
    extractor: FeatureExtractor | None = None,
    metrics: list[str] | None = None,
    num_samples: int | None = None,
    split: str = "train",
    seed: int = 0,
    batch_size: int = 256,
    out: str | None = None,
) -> None:
    """Compare samples of a checkpoint with real images.

    Args:
        ckpt_path: Checkpoint of the model.
        data: A data set of this package, or a folder of images; by default the data of the training run.
        extractor: Network that turns images into features; by default that of the run's Fidelity, else InceptionV3.
        metrics: Some of fid, kid, isc (inception score), prc (precision and recall); all by default.
        num_samples: How many samples; as many as there are real images by default.
        split: Real images to compare with: train, val or test.
        seed: Of the samples.
        batch_size: Samples drawn at a time.
        out: A .json file for the results, besides printing them.
    """
    import json

    from pl_genmodels import data as sets
    from pl_genmodels.callbacks.fidelity import fidelity_from_checkpoint
    from pl_genmodels.checkpoints import load, read_checkpoint
    from pl_genmodels.metrics import InceptionV3, real_state
    from pl_genmodels.metrics import evaluate as compare

    model = load(ckpt_path)
    checkpoint = read_checkpoint(ckpt_path, map_location="meta")
    _require_pictures(model.sample(1, seed=seed), "evaluate")
    if data is None:
        if "datamodule_hyper_parameters" not in checkpoint:
            raise ValueError(
                "data: the checkpoint names no data set of this package; give --data, a data set or folder"
            )
        data = sets.rebuild(checkpoint["datamodule_hyper_parameters"])
    elif isinstance(data, str):
        assert model.image_shape is not None
        if not Path(data).is_dir():
            raise ValueError(f"data: {data!r} is neither a folder nor one of {', '.join(_data_names())}")
        data = sets.ImageFolder(data, size=model.image_shape[-1], channels=model.image_shape[0])
    if extractor is None:
        protocol = fidelity_from_checkpoint(checkpoint)
        extractor = InceptionV3() if protocol is None else _build(protocol["extractor"], FeatureExtractor)
    measures = metrics or ["fid", "kid", "isc", "prc"]
    data.prepare_data()
    data.setup("fit" if split == "train" else "validate" if split == "val" else "test")
    images = data.evaluation_loader(split)
    state = real_state(images, extractor, measures, split=split, seed=seed, fingerprint=data.fingerprint)
    results = compare(
        model, state, extractor, measures, num_samples=num_samples, split=split, seed=seed, batch_size=batch_size
    )
    for name, value in results.items():
        print(f"{name}: {value:.6g}")
    if out is not None:
        _parent_made(Path(out)).write_text(json.dumps(results, indent=2) + "\n")


def _list() -> None:
    """Print the catalogue: every system, its paper, what is new in it, its config."""
    print(listing())


VERBS: dict[str, Callable[..., None]] = {
    "list": _list,
    "sample": sample,
    "interpolate": interpolate,
    "evaluate": evaluate,
}


def _run_verb(name: str, args: Sequence[str]) -> None:
    from pl_genmodels import data, metrics  # noqa: F401  (short names)

    function = VERBS[name]
    parser = Parser(prog=f"pl_genmodels {name}", description=str(function.__doc__).splitlines()[0])
    parser.add_function_arguments(function)
    options = parser.instantiate_classes(parser.parse_args(list(args)))
    function(**options)


def _build(spec: Any, kind: type) -> Any:
    """An object from its plain form, if it is of that kind and its module is known already."""
    module = str(spec.get("class_path", "")).rpartition(".")[0]
    if module not in sys.modules:
        raise ValueError(f"class_path: the checkpoint names {spec.get('class_path')!r}, which is not imported")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--object", type=kind)
    return parser.instantiate_classes(parser.parse_object({"object": spec})).object


def _require_pictures(samples: Tensor, verb: str) -> None:
    if samples.ndim != 4:
        raise ValueError(f"{verb}: the model makes samples of shape {tuple(samples.shape[1:])}, allowed are pictures")


def _parent_made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write(samples: Tensor, out: Path, columns: int) -> None:
    """Write samples as one grid, an array, or a folder of pictures, by the name of the target."""
    import numpy as np

    from pl_genmodels.callbacks.sample_grid import grid_picture, scatter_picture
    from pl_genmodels.metrics.fidelity import to_uint8

    pictures = samples.ndim == 4
    if out.suffix == ".png":
        scale = max(1, 64 // samples.shape[-1])
        grid = grid_picture(samples, columns, scale) if pictures else scatter_picture(samples, None)
        grid.save(_parent_made(out))
    elif out.suffix == ".npz":
        array = (to_uint8(samples) if pictures else samples).cpu().numpy()
        np.savez_compressed(_parent_made(out), samples=array)
    elif out.suffix:
        raise ValueError(f"out: got {str(out)!r}, allowed are a .png file, a .npz file or a folder")
    else:
        _require_pictures(samples, "out")
        out.mkdir(parents=True, exist_ok=True)
        for index, picture in enumerate(samples):
            grid_picture(picture[None], 1, 1).crop((1, 1, picture.shape[-1] + 1, picture.shape[-2] + 1)).save(
                out / f"{index:06d}.png"
            )
    print(out)


def _quieten() -> None:
    """Leave out messages that tell a user of this package nothing."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch"):
        logging.getLogger(name).addFilter(lambda record: "Tip:" not in record.getMessage())
    for message in (".*does not have many workers.*", ".*LeafSpec.*", ".*no pre-optimization state was saved.*"):
        warnings.filterwarnings("ignore", message)
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake ends in one sentence and exit status 1 or 2.

    Args:
        args: Arguments after the program's name; those of the process by default.
    """
    _quieten()
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        if arguments and arguments[0] in VERBS:
            _run_verb(arguments[0], arguments[1:])
        else:
            GenerativeCLI(args)
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None or os.environ.get("PL_GENMODELS_TRACEBACK"):
            raise
        fail(sentence)
