"""Rebuild a model from its checkpoint alone, safely."""

from __future__ import annotations

import importlib
import io
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError

from pl_genmodels.models.base import CHECKPOINT_FORMAT, CHECKPOINT_KEY, GenerativeModule
from pl_genmodels.models.folder_checkpoints import is_folder_checkpoint, read_folder


class CheckpointError(ValueError):
    """A file that is not a checkpoint of this package, with the reason in one sentence."""


def read_checkpoint(path: str | Path, map_location: str = "cpu") -> dict[str, Any]:
    """Read a checkpoint, tensors and plain values only.

    Args:
        path: A file written by this package's models, or the folder of a `ModelParallelStrategy`.
        map_location: Device of the tensors.

    Raises:
        CheckpointError: If the file is missing, cut short, holds code, is not a checkpoint or of a newer format.
    """
    path = Path(path)
    folder = is_folder_checkpoint(path)
    if not (folder or path.is_file()):
        raise CheckpointError(f"ckpt_path: there is no file {path}")
    try:
        checkpoint = (
            read_folder(path, map_location)
            if folder
            else torch.load(path, map_location=map_location, weights_only=True)
        )
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"ckpt_path: {path} is no checkpoint, or holds more than tensors and plain values, and was not loaded"
        ) from error
    except Exception as error:  # a damaged stream of instructions fails in any way
        raise CheckpointError(f"ckpt_path: {path} is damaged or cut short, or not a checkpoint") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint or CHECKPOINT_KEY not in checkpoint:
        raise CheckpointError(f"ckpt_path: {path} was not written by a model of pl_genmodels")
    found = checkpoint[CHECKPOINT_KEY]["format"]
    if found > CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"ckpt_path: {path} has format {found}, this version reads up to {CHECKPOINT_FORMAT}; upgrade pl_genmodels"
        )
    return checkpoint


def model_class(checkpoint: dict[str, Any]) -> type[GenerativeModule]:
    """Class of the model in a checkpoint.

    Raises:
        CheckpointError: If it is neither one of this package nor a subclass that has been imported.
    """
    name = str(checkpoint.get("hyper_parameters", {}).get("_class_path", ""))
    module, _, attribute = name.rpartition(".")
    if module.startswith("pl_genmodels.models."):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise CheckpointError(
                f"ckpt_path: the checkpoint is of {name}, which this version does not have"
            ) from error
    found = getattr(sys.modules.get(module), attribute, None)
    if not (isinstance(found, type) and issubclass(found, GenerativeModule)):
        raise CheckpointError(f"ckpt_path: the checkpoint is of {name!r}, which is not imported; import it first")
    return found


def load(path: str | Path, map_location: str = "cpu") -> Any:
    """Rebuild a trained model from its checkpoint alone, whether the command line or Python made it.

    Args:
        path: The checkpoint.
        map_location: Device of the model.

    Returns:
        The model in evaluation mode, typed Any since only the file knows its class. Samples come from averaged weights
        if the checkpoint has some.

    Raises:
        CheckpointError: If the file is not a checkpoint of this package.
    """
    found = model_class(read_checkpoint(path, map_location="meta"))
    file: Any = path
    if is_folder_checkpoint(Path(path)):
        file = io.BytesIO()
        torch.save(read_checkpoint(path), file)
        file.seek(0)
    try:
        return found.load_from_checkpoint(file, map_location=map_location, weights_only=True).eval()
    except ArgumentError as error:  # jsonargparse checks every class path against the argument's type
        kind = re.search(r"subclass of (?:<class ')?(\w+)", str(error))
        wanted = f"; allowed there is a {kind[1]}" if kind else ""
        raise CheckpointError(f"ckpt_path: {path} names a part that does not fit its place{wanted}") from error
