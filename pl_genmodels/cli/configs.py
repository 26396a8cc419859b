"""Config files before the parser sees them: what is wrong with one is told with its name and line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import yaml

from pl_genmodels.cli.explaining import TOP


def require_configs(arguments: Sequence[str]) -> None:
    """Refuse config files that the parser would refuse without saying which.

    Raises:
        ValueError: For a file that is missing, no YAML, or holds no keys.
    """
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name not in ("--config", "-c"):
            continue
        if not equals:
            value = arguments[place + 1] if place + 1 < len(arguments) else ""
        if not value or value.startswith("--"):
            raise ValueError("config: the name of a file is missing behind --config")
        if "\n" not in value and ": " not in value:  # else it is a config itself
            _require_config(value)


def _require_config(path: str) -> None:
    if Path(path).is_dir():
        raise ValueError(f"config: got {path!r}, which is a folder, allowed is a YAML file")
    if not Path(path).is_file():
        near = difflib.get_close_matches(Path(path).name, [file.name for file in Path(path).parent.glob("*.y*ml")], n=1)
        hint = f"; did you mean {str(Path(path).with_name(near[0]))!r}?" if near else ""
        raise ValueError(f"config: there is no file {path!r}{hint}")
    try:
        found = yaml.safe_load(Path(path).read_text())
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = str(error.problem).replace("character '\\t' that cannot start any token", "a tab, allowed are spaces")
        raise ValueError(f"config: {path}{line} is no YAML: {problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"config: {path} is no YAML text") from error
    if not isinstance(found, dict):
        kind = "nothing" if found is None else f"a {type(found).__name__}"
        raise ValueError(f"config: {path} holds {kind}, allowed are keys: {', '.join(TOP[:4])} and ckpt_path")
