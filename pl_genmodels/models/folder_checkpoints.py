"""Checkpoints that are a folder, one file a rank, as `ModelParallelStrategy` writes them: read by one process, safely.

torch's own reader unpickles the table of contents without looking; this one admits the classes of such a table only.
"""

from __future__ import annotations

import io
import pickle
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

CONTENTS, PLAIN_VALUES = ".metadata", "meta.pt"
WEIGHTS = "state_dict."
_CLASSES = {
    ("torch.distributed.checkpoint.metadata", name)
    for name in (
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    )
} | {
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("collections", "OrderedDict"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib", "Path"),
}


def _member(kind: type, name: str) -> Any:
    """What some versions of Python 3.11 look up an enumeration's member with in place of a plain getattr."""
    if not issubclass(kind, Enum) or name not in kind.__members__:
        raise pickle.UnpicklingError(f"{kind.__name__}.{name} has no place in a checkpoint's table of contents")
    return kind[name]


class _Contents(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _member
        if (module, name) in _CLASSES or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a checkpoint's table of contents")


def is_folder_checkpoint(path: Path) -> bool:
    """Whether a path is a folder with a table of contents and plain values."""
    return (path / CONTENTS).is_file() and (path / PLAIN_VALUES).is_file()


def contents(path: Path) -> Metadata:
    """Table of contents.

    Raises:
        UnpicklingError: If it holds anything else.
    """
    with (path / CONTENTS).open("rb") as file:
        return _Contents(file).load()


def read_folder(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint with its weights put together and without the state of optimisers, as from a single file.

    Args:
        path: The folder.
        map_location: Device of the tensors, the CPU if it is a function; on `meta` no weights are read.
    """
    map_location = "cpu" if callable(map_location) else map_location
    checkpoint = torch.load(path / PLAIN_VALUES, map_location=map_location, weights_only=True)
    table = contents(path)
    weights: dict[str, Tensor] = {
        key: torch.empty(entry.size, dtype=entry.properties.dtype, device=map_location)
        for key, entry in table.state_dict_metadata.items()
        if key.startswith(WEIGHTS) and isinstance(entry, TensorStorageMetadata)
    }
    if map_location != "meta":
        for index, place in table.storage_data.items():
            if index.fqn in weights:
                with (path / Path(place.relative_path).name).open("rb") as file:
                    file.seek(place.offset)
                    part = torch.load(io.BytesIO(file.read(place.length)), map_location="cpu", weights_only=True)
                ranges = [
                    slice(start, start + size) for start, size in zip(index.offset or (), part.shape, strict=False)
                ]
                weights[index.fqn][tuple(ranges)] = part.to(map_location)
    return {**checkpoint, "state_dict": {key.removeprefix(WEIGHTS): value for key, value in weights.items()}}


def holds_optimizers(path: Path) -> bool:
    """Whether a path is a folder that holds what training needs besides the weights."""
    return is_folder_checkpoint(path) and any(
        key.startswith("optimizer_0.") for key in contents(path).state_dict_metadata
    )


def saved_names(path: Path) -> set[str]:
    """Names of the weights in a checkpoint, a folder or a file."""
    if is_folder_checkpoint(path):
        return {key.removeprefix(WEIGHTS) for key in contents(path).state_dict_metadata if key.startswith(WEIGHTS)}
    return set(torch.load(path, map_location="meta", weights_only=True)["state_dict"])
