"""The table itself; this file runs by default, the figures do not."""

import csv
from types import SimpleNamespace

import pytest

from tests.benchmarks.conftest import ROWS, pytest_terminal_summary
from tests.benchmarks.table import HEADER, Row, as_lines, write_csv


def row(ratio, bound, setting="cpu"):
    return Row("step", "ours", "theirs", ratio, bound, "time", setting)


@pytest.mark.parametrize(
    ("ratio", "bound", "holds"),
    [
        (1.03, "<= 1.03", True),
        (1.04, "<= 1.03", False),
        (20.0, ">= 20", True),
        (19.9, ">= 20", False),
        (float("nan"), "<= 1.03", False),
        (float("nan"), ">= 20", False),
        (7.0, "", True),
    ],
)
def test_a_row_knows_whether_it_keeps_its_bound(ratio, bound, holds):
    assert row(ratio, bound).holds is holds


def test_columns_line_up():
    header, first, second = as_lines([row(1.23456, "<= 2"), row(0.5, ">= 0.25")])
    assert "1.23 " in first
    for name, cells in (("bound", ("<= 2", ">= 0.25")), ("unit", ("time", "time"))):
        assert first[header.index(name) :].startswith(cells[0])
        assert second[header.index(name) :].startswith(cells[1])


def test_csv_reads_back(tmp_path):
    rows = [row(1.23456, "<= 2", 'one "quoted", with a comma'), row(0.5, "")]
    write_csv(rows, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == HEADER
    assert [line["setting"] for line in lines] == [each.setting for each in rows]
    assert [float(line["ratio"]) for line in lines] == [1.23456, 0.5]


class Terminal:
    """Stands in for pytest's."""

    def __init__(self):
        self.text = ""

    def section(self, title):
        self.text += title

    def write(self, text):
        self.text += text


def test_the_end_of_a_run_shows_its_rows_and_writes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    terminal, config = Terminal(), SimpleNamespace(stash=pytest.Stash())
    pytest_terminal_summary(terminal, config)
    assert not terminal.text
    assert not list(tmp_path.iterdir())
    config.stash[ROWS] = [row(0.5, "<= 1")]
    pytest_terminal_summary(terminal, config)
    assert str(tmp_path / "benchmarks.csv") in terminal.text
    assert as_lines([row(0.5, "<= 1")])[1] in terminal.text
    assert (tmp_path / "benchmarks.csv").read_text().count("theirs") == 1
