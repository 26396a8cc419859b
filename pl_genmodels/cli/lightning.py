"""Lightning's own commands on our models and data."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from pl_genmodels.callbacks.output import newest_checkpoint, own_run_folder
from pl_genmodels.catalogue import systems
from pl_genmodels.cli.errors import Parser, own_error
from pl_genmodels.cli.verbs import VERBS
from pl_genmodels.models.base import GenerativeModule

SHAPES = ("image_shape", "source_shape", "target_shape")
"""Arguments of models that the data know; each model has those that it needs."""


def _shape_of(name: str, data: Any) -> Any:
    return getattr(data, name, None)


class SaveConfig(SaveConfigCallback):
    """Writes the resolved config beside the run's checkpoints and tells Weights & Biases."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "save_to_log_dir": False})

    def save_config(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """On rank 0, for fits only."""
        if stage != "fit":
            return
        text = self.parser.dump(self.config, skip_none=False)
        folder = own_run_folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(text)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.config.update({"config": yaml.safe_load(text)}, allow_val_change=True)


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
            parser_kwargs={
                "default_env": True,
                "env_prefix": "PLG",
                "prog": "pl_genmodels",
                "description": f"Deep generative models. Also, from a checkpoint alone: {', '.join(VERBS)}.",
            },
            args=list(args) if args is not None else None,
            run=run,
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Model and data are required for fit only; elsewhere a checkpoint can bring them."""
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        fit = not getattr(self, "_subcommand_parsers", None)  # parsers are made in order, fit first
        parser.add_lightning_class_args(self._model_class, "model", subclass_mode=True, required=fit)
        parser.add_lightning_class_args(self._datamodule_class, "data", subclass_mode=True, required=fit)
        for name in SHAPES:
            shape = functools.partial(_shape_of, name)
            parser.link_arguments("data", f"model.init_args.{name}", compute_fn=shape, apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Look at the checkpoint before anything is built; let it fill in what was not given, except on fit."""
        command = self.config.get("subcommand", "")
        options = self.config.get(command, {})
        path = options.get("ckpt_path")
        if path == "last" and options.get("model") is None:
            raise ValueError("ckpt_path: got 'last', allowed without a config or --model, which say whose, is a file")
        if command in ("validate", "test", "predict") and not path:
            if options.get("model") is None or options.get("data") is None:
                raise ValueError(f"{command}: there is no model or no data; give --ckpt_path FILE, which brings both")
            rank_zero_warn(f"{command}: there is no --ckpt_path, so the model is as it was before training.")
        if not path or path in ("last", "best", "hpc", "registry"):
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
                    for name in SHAPES:  # come from the data
                        arguments.pop(name, None)
                given[key] = {"class_path": class_path, "init_args": arguments}
            elif command == "fit" and key == "data" and class_path:
                trained, now = (str(name).rpartition(".")[2] for name in (class_path, options.data.class_path))
                if trained != now:
                    rank_zero_warn(f"data: the checkpoint was trained on {trained}; this run goes on with {now}.")
        if given:
            self.config = self.parser.parse_object({command: given}, self.config)
        if options.get("data") is None and "data" not in given:
            raise ValueError(
                "data: the checkpoint names no data set of this package; give --data, such as --data ImageFolder "
                "--data.root FOLDER"
            )

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Take `--ckpt_path last` for the newest checkpoint of this system's runs that can be read."""
        arguments = super()._prepare_subcommand_kwargs(subcommand)
        if arguments.get("ckpt_path") == "last":
            arguments["ckpt_path"] = str(newest_checkpoint(self.trainer))
        return arguments

    def instantiate_classes(self) -> None:
        """Refuse a shape that is not the data's, which would be passed over."""
        super().instantiate_classes()
        given = (self._get(self.config, "model") or {}).get("init_args") or {}
        for name in SHAPES:
            wanted, found = given.get(name), _shape_of(name, self.datamodule)
            if wanted is not None and (found is None or tuple(wanted) != tuple(found)):
                has = "none" if found is None else f"{tuple(found)}"
                raise ValueError(f"model.init_args.{name}: got {tuple(wanted)}, allowed is what the data have, {has}")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add what every run should have and the user did not configure."""
        from pl_genmodels import callbacks as ours
        from pl_genmodels.callbacks.fidelity import is_fid

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
            pictures = self.datamodule is None or len(self.datamodule.image_shape) == 3
            if pictures and any(is_fid(callback) for callback in callbacks):
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
        try:
            return super().instantiate_trainer(callbacks=callbacks, logger=logger, **kwargs)
        except (MisconfigurationException, ImportError, TypeError, ValueError) as error:
            if own_error(error) is not None:
                raise
            reason = " ".join(str(error).split())
            if "No supported gpu backend" in reason:
                reason = (
                    f"accelerator: got {config.get('accelerator')!r}, allowed here are cpu and auto: there is no GPU"
                )
            raise ValueError(f"trainer: {reason}") from error
