"""Rebuild a model from its checkpoint alone, safely."""

from __future__ import annotations

import importlib
import io
import re
import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError

from pl_genmodels.models.base import GenerativeModule
from pl_genmodels.models.checkpoint_files import UPGRADES, CheckpointError, read_checkpoint
from pl_genmodels.models.folder_checkpoints import is_folder_checkpoint

__all__ = ["CheckpointError", "load", "model_class", "read_checkpoint"]


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
    if UPGRADES or is_folder_checkpoint(Path(path)):
        file = io.BytesIO()
        torch.save(read_checkpoint(path), file)
        file.seek(0)
    try:
        return found.load_from_checkpoint(file, map_location=map_location, weights_only=True).eval()
    except ArgumentError as error:  # jsonargparse checks every class path against the argument's type
        kind = re.search(r"subclass of (?:<class ')?(\w+)", str(error))
        wanted = f"; allowed there is a {kind[1]}" if kind else ""
        raise CheckpointError(f"ckpt_path: {path} names a part that does not fit its place{wanted}") from error
