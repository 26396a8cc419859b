"""Objects from the plain form that checkpoints and exported files hold them in, and where they compute."""

from __future__ import annotations

import sys
from typing import Any

import torch
from jsonargparse import ArgumentParser


def chosen_device(device: str) -> str:
    """Where a command computes.

    Raises:
        ValueError: For a device that is not there.
    """
    there = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    if device == "auto":
        return there[-1]
    if device.partition(":")[0] not in there:
        raise ValueError(f"device: got {device!r}, allowed here are auto, {' and '.join(there)}")
    return device


def build(spec: Any, kind: Any) -> Any:
    """An object, or what makes it, from its plain form.

    Args:
        spec: See `to_spec`.
        kind: Class of the object, or the type of what makes it.

    Raises:
        ValueError: If it is of another kind, or of a module that is not imported yet: a file must not choose.
    """
    module = str(spec.get("class_path", "")).rpartition(".")[0]
    if module not in sys.modules:
        raise ValueError(f"class_path: the file names {spec.get('class_path')!r}, which is not imported")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--object", type=kind)
    return parser.instantiate_classes(parser.parse_object({"object": spec})).object
