"""What exists, computed from the classes themselves."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from dataclasses import dataclass

from pl_genmodels import models
from pl_genmodels.models.base import GenerativeModule
from pl_genmodels.types import Paper


@dataclass(frozen=True)
class System:
    """One entry of the catalogue.

    Args:
        stem: Name of its file, config and test.
        family: Package of its file.
        model: The class.
    """

    stem: str
    family: str
    model: type[GenerativeModule]

    @property
    def paper(self) -> Paper:
        """Where it comes from."""
        return self.model.paper

    @property
    def config(self) -> str:
        """Its small config, relative to the repository."""
        return f"configs/{self.stem}.yaml"


def systems() -> list[System]:
    """All systems in the order of their families, then by year and stem."""
    return list(_systems())


@functools.cache  # the command line asks some hundred times, and each time would look into every file
def _systems() -> tuple[System, ...]:
    found = []
    for family in sorted(info.name for info in pkgutil.iter_modules(models.__path__) if info.ispkg):
        package = f"{models.__name__}.{family}"
        for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
            module = importlib.import_module(f"{package}.{info.name}")
            for _, model in inspect.getmembers(module, inspect.isclass):
                if issubclass(model, GenerativeModule) and model.__module__ == module.__name__:
                    found.append(System(info.name, family, model))
    return tuple(sorted(found, key=lambda system: (system.family, system.paper.year, system.stem)))


def table() -> str:
    """The catalogue as a Markdown table, the one in README."""
    rows = ["| config | class | paper | what is new in it |", "|---|---|---|---|"]
    for system in systems():
        paper = system.paper
        link = f"[{paper.authors} {paper.year}]({paper.url})"
        rows.append(f"| `{system.config}` | `{system.model.__name__}` | {link} | {paper.new} |")
    return "\n".join(rows)


def stub() -> str:
    """What `pl_genmodels/__init__.pyi` says, so that editors and type checkers know the models by name."""
    names = {"pl_genmodels.catalogue": "systems", "pl_genmodels.checkpoints": "load"}
    names |= {system.model.__module__: system.model.__name__ for system in systems()}
    lines = [f"from {module} import {name} as {name}" for module, name in sorted(names.items())]
    return "\n".join([*lines, "", "__version__: str", ""])


def listing() -> str:
    """The catalogue for a terminal."""
    rows = [("system", "class", "year", "paper", "new in it", "config")]
    rows += [(s.stem, s.model.__name__, str(s.paper.year), s.paper.authors, s.paper.new, s.config) for s in systems()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
