"""Checkpoint files: written whole or not at all, read without running code, upgraded from older formats."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_warn

from pl_genmodels.models.folder_checkpoints import is_folder_checkpoint, read_folder

CHECKPOINT_KEY = "pl_genmodels"
CHECKPOINT_FORMAT = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], None]] = {}
"""For each older format n, what turns a checkpoint of it into one of format n + 1, in place."""


class CheckpointError(ValueError):
    """A file that is not a checkpoint of this package, with the reason in one sentence."""


class UnsavedError(OSError):
    """A checkpoint could not be written, with the reason in one sentence."""


# ---- reading


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint, tensors and plain values only, and bring it to the current format.

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
    except PermissionError as error:
        raise CheckpointError(f"ckpt_path: {path} may not be read ({error.strerror})") from error
    except Exception as error:  # a damaged stream of instructions fails in any way
        raise CheckpointError(f"ckpt_path: {path} is damaged or cut short, or not a checkpoint") from error
    own = checkpoint.get(CHECKPOINT_KEY) if isinstance(checkpoint, dict) else None
    if not isinstance(own, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(f"ckpt_path: {path} was not written by a model of pl_genmodels")
    upgrade(checkpoint, str(path))
    return checkpoint


def upgrade(checkpoint: dict[str, Any], name: str = "the checkpoint") -> None:
    """Bring a checkpoint to the current format, in place.

    Args:
        checkpoint: As `torch.load` gives it.
        name: What an error calls it.

    Raises:
        CheckpointError: If its format is newer than this version's, or none.
    """
    own = checkpoint[CHECKPOINT_KEY]
    found = own.get("format")
    if isinstance(found, int) and found > CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"ckpt_path: {name} has format {found}, this version reads up to {CHECKPOINT_FORMAT}; upgrade pl_genmodels"
        )
    while own.get("format") != CHECKPOINT_FORMAT:
        if not isinstance(found, int) or own["format"] not in UPGRADES:
            raise CheckpointError(f"ckpt_path: {name} has format {found!r}, which this version cannot read")
        UPGRADES[own["format"]](checkpoint)
        own["format"] += 1


def readable_checkpoints(files: Iterable[Path], map_location: Any = "cpu") -> Iterator[tuple[Path, dict[str, Any]]]:
    """The checkpoints among files that can be read, the newest first; others are passed over with a warning."""
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True):
        try:
            checkpoint = read_checkpoint(file, map_location)
        except CheckpointError as error:
            rank_zero_warn(f"{error}; passed over.")
            continue
        yield file, checkpoint


# ---- writing


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place, waits until the disk has it, then moves it there in one step.

    Lightning writes to the system's temporary folder and moves from there, which copies if that is another disk: an
    interruption then leaves half a file in the place of the old one. Reading never runs code that a file holds.

    Attributes:
        failure: Why the latest checkpoint could not be written, or None.
        lenient: Whether a failed write is a warning, as it is in the middle of training: the next one may succeed.
    """

    def __init__(self) -> None:
        self.failure: str | None = None
        self.lenient = False

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write one, or keep what is there and say why."""
        if "://" in str(path) or storage_options is not None:  # not a file of this machine
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        try:
            _write_whole(checkpoint, Path(path))
            self.failure = None
        except Exception as error:
            cause = _os_error(error)
            if cause is None:
                raise
            kept = "the file written there before is intact" if Path(path).exists() else "nothing was overwritten"
            reason = "the disk is full" if cause.errno in (errno.ENOSPC, errno.EDQUOT) else cause.strerror or str(cause)
            self.failure = f"the checkpoint {path} could not be written ({reason}); {kept}"
            if not self.lenient:
                raise UnsavedError(self.failure) from error
            rank_zero_warn(f"{self.failure}; training goes on, and the next checkpoint is tried as usual.")

    def load_checkpoint(
        self, path: str | Path, map_location: Any = lambda storage, location: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read one; `weights_only` is always on, whatever is asked for."""
        if "://" in str(path):
            return super().load_checkpoint(path, map_location, weights_only=True)
        return read_checkpoint(path, map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove one, unless what was to replace it could not be written."""
        if self.failure is None:
            super().remove_checkpoint(path)


def _write_whole(checkpoint: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())  # otherwise a loss of power could leave the new name with nothing in it
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Let the disk have the names in a folder, where the file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _os_error(error: BaseException | None) -> OSError | None:
    """The system's own error among those that led here; torch hides it behind one about positions in a file."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
