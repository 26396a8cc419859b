"""The direction of imports, read from the source."""

from __future__ import annotations

import ast

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "pl_genmodels"
PARTS = {"types", "specs"}
ALLOWED = {
    "types": set(),
    "specs": set(),
    "layers": PARTS,
    "losses": PARTS | {"layers"},
    "networks": PARTS | {"layers"},
    "metrics": PARTS,
    "data": {"types"},
    "models": PARTS | {"layers", "losses", "networks"},
    "editing": PARTS | {"models"},
    "explorer": PARTS | {"data", "editing", "layers", "models", "networks"},
    "callbacks": PARTS | {"metrics", "models"},
    "catalogue": {"models", "types"},
    "checkpoints": {"models"},
}
WITHOUT_LIGHTNING = {"types", "specs", "layers", "losses", "networks", "metrics"}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_direction(path):
    room = room_of(path)
    names = list(imported(path))
    if room in WITHOUT_LIGHTNING:
        assert not [name for name in names if name.split(".")[0] == "lightning"]
    if room not in ALLOWED:
        return
    ours = {name.split(".")[1] for name in names if name.startswith("pl_genmodels.")}
    assert ours - {room} <= ALLOWED[room]


@pytest.mark.parametrize("path", sorted((PACKAGE / "models").rglob("*/*.py")), ids=lambda path: path.stem)
def test_families_do_not_import_each_other(path):
    family = path.parent.name
    families = {folder.name for folder in (PACKAGE / "models").iterdir() if folder.is_dir()} - {family}
    assert not [
        name for name in imported(path) if name.startswith("pl_genmodels.models.") and name.split(".")[2] in families
    ]
