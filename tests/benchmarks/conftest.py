"""`pytest -m benchmark -s` prints one table of all measured ratios at its end and writes it to benchmarks.csv."""

from pathlib import Path

import pytest
import torch

from tests.benchmarks.table import Row, as_lines, write_csv

ROWS = pytest.StashKey()
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(params=DEVICES)
def device(request):
    """Every device of this machine that a figure is measured on."""
    return torch.device(request.param)


@pytest.fixture
def measured(request):
    """Put a ratio into the table; the row that comes back says whether it `holds`."""
    where = f"{request.getfixturevalue('device')}, " if "device" in request.fixturenames else ""

    def record(name, what, against, ratio, bound="", *, unit, setting):
        row = Row(name, what, against, ratio, bound, unit, f"{where}{setting}")
        request.config.stash.setdefault(ROWS, []).append(row)
        return row

    return record


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(ROWS, [])
    if rows:
        path = Path.cwd() / "benchmarks.csv"
        write_csv(rows, path)
        terminalreporter.section("ratios")
        terminalreporter.write("\n".join([*as_lines(rows), f"written to {path}", ""]))
