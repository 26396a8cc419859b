from __future__ import annotations

import re

import pytest

import pl_genmodels
from pl_genmodels.catalogue import listing, stub, systems, table
from pl_genmodels.models.base import GenerativeModule
from tests.conftest import ROOT

README = ROOT / "README.md"
STUB = ROOT / "pl_genmodels" / "__init__.pyi"
MARKS = re.compile(r"(<!-- catalogue -->\n)(.*?)(<!-- /catalogue -->)", re.DOTALL)


def stem_of(name):
    return name.lower().replace("_", "")


@pytest.mark.parametrize("system", systems(), ids=lambda system: system.stem)
def test_one_stem_everywhere(system):
    assert stem_of(system.model.__name__) == stem_of(system.stem)
    assert system.model.stem() == system.stem
    assert (ROOT / system.config).is_file()
    assert re.search(rf"\b{system.model.__name__}\b", (ROOT / system.config).read_text())


@pytest.mark.parametrize("system", systems(), ids=lambda system: system.stem)
def test_paper_is_filled_and_parent_is_abstract(system):
    paper = system.paper
    assert paper.title
    assert paper.authors
    assert paper.new
    assert 1900 < paper.year < 2100
    assert paper.url.startswith("https://")
    assert system.model.__doc__
    for parent in system.model.__mro__[1:]:
        if issubclass(parent, GenerativeModule):
            assert getattr(parent, "paper", None) is None, f"{parent.__name__} is not abstract"


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_belongs_to_a_system(config):
    assert any(config.stem == s.stem or config.stem.startswith(f"{s.stem}_") for s in systems())


def test_readme_table_is_current():
    assert MARKS.search(README.read_text()).group(2).strip() == table().strip(), "run python -m tests.test_catalogue"


def test_editors_know_every_model():
    assert STUB.read_text() == stub(), "run python -m tests.test_catalogue"
    for system in systems():
        assert getattr(pl_genmodels, system.model.__name__) is system.model
        assert system.model.__name__ in dir(pl_genmodels)


def test_what_is_no_code_is_installed_too():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    package, patterns = ROOT / "pl_genmodels", project["package-data"]["pl_genmodels"]
    for path in package.rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            assert any(path.relative_to(package).match(pattern) for pattern in patterns), path
    configs = [path for globs in project["data-files"].values() for pattern in globs for path in ROOT.glob(pattern)]
    assert set(configs) == set((ROOT / "configs").rglob("*.yaml"))


def test_listing_has_every_system_and_config():
    lines = listing().splitlines()
    assert len(lines) == len(systems()) + 1
    for system, line in zip(systems(), lines[1:], strict=True):
        assert line.startswith(system.stem)
        assert line.endswith(system.config)
        assert str(system.paper.year) in line


if __name__ == "__main__":
    README.write_text(MARKS.sub(lambda found: f"{found[1]}{table()}\n{found[3]}", README.read_text()))
    STUB.write_text(stub())
