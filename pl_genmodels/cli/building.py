"""Objects from the plain form that checkpoints and exported files hold them in."""

from __future__ import annotations

import sys
from typing import Any

from jsonargparse import ArgumentParser


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
