"""Files that only save work: written whole or not at all, read without running code, recomputed when damaged."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch


def cache_folder(cache_dir: str | None = None) -> Path:
    """Where cached files go: the folder given, or `pl_genmodels` under `$XDG_CACHE_HOME`, or else under `~/.cache`."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pl_genmodels"


def load_cached(path: Path) -> Any:
    """What a cached file holds, on the CPU, or None if it is missing, damaged, or not plain tensors and numbers."""
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever is wrong with it, the content can be computed again
        return None


def save_cached(content: Any, path: Path) -> None:
    """Write a cached file in one step, so that nobody ever reads half of it; a folder that refuses is passed over."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
        os.replace(temporary, path)
    except OSError:
        return
    finally:
        Path(temporary).unlink(missing_ok=True)
