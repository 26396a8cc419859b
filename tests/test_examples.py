from __future__ import annotations

import runpy
import sys

import pytest

from tests.conftest import ROOT

TINY = {"mode_collapse": ["2"], "compare_in_wandb": ["1"]}  # arguments of examples that would take minutes
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example, tmp_path, monkeypatch):
    assert len(example.read_text().splitlines()) <= 60
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(example), *TINY.get(example.stem, [])])
    runpy.run_path(str(example), run_name="__main__")
