from __future__ import annotations

import runpy

import pytest

from tests.conftest import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example, tmp_path, monkeypatch):
    assert len(example.read_text().splitlines()) <= 60
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")
