"""Config files before the parser sees them: what is wrong with one is told with its name and line."""

from __future__ import annotations

import difflib
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import yaml

from pl_genmodels.cli.explaining import TOP


def with_configs(arguments: Sequence[str]) -> list[str]:
    """Arguments with the package's own `configs/...` found from any folder.

    Args:
        arguments: Of the command line.

    Returns:
        The same, with such files under their full names.

    Raises:
        ValueError: For a file that is missing, no YAML, or holds no keys.
    """
    found = list(arguments)
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name not in ("--config", "-c"):
            continue
        if not equals:
            place += 1
            value = arguments[place] if place < len(arguments) else ""
        if not value or value.startswith("--"):
            raise ValueError("config: the name of a file is missing behind --config")
        if "\n" in value or ": " in value:  # a config itself
            continue
        path = _found(value)
        _require_config(path)
        if path != value:
            found[place] = f"{name}={path}" if equals else path
    return found


def _found(path: str) -> str:
    """A file of this folder, else of the package's own configs, beside it or where pip has put them."""
    if Path(path).parts[:1] != ("configs",) or Path(path).exists():
        return path
    homes = (Path(__file__).parents[2], Path(sysconfig.get_path("data"), "share", "pl_genmodels"))
    return next((str(home / path) for home in homes if (home / path).is_file()), path)


def _require_config(path: str) -> None:
    if Path(path).is_dir():
        raise ValueError(f"config: got {path!r}, which is a folder, allowed is a YAML file")
    if not Path(path).is_file():
        folder = Path(_found("configs/gan.yaml")).parent if Path(path).parts[0] == "configs" else Path(path).parent
        near = difflib.get_close_matches(Path(path).name, [file.name for file in folder.glob("*.y*ml")], n=1)
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
