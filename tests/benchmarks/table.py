"""The measured ratios as one table, on the screen and as CSV."""

from __future__ import annotations

import csv
import operator
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

COMPARISONS = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Row:
    """One measured ratio: `what` over `against`, both measured in turn in one run."""

    name: str
    what: str
    against: str
    ratio: float
    bound: str  # "<= 1.03", ">= 20", or "" for a figure that is only told
    unit: str  # of the two quantities before they were divided
    setting: str

    @property
    def holds(self) -> bool:
        """Whether the ratio keeps its bound; one that is not a number does not."""
        if not self.bound:
            return True
        comparison, limit = self.bound.split()
        return COMPARISONS[comparison](self.ratio, float(limit))


HEADER = tuple(field.name for field in fields(Row))


def as_lines(rows: Sequence[Row]) -> list[str]:
    """Header and rows, in columns."""
    cells = [HEADER, *((*astuple(row)[:3], f"{row.ratio:.3g}", *astuple(row)[4:]) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """One line a row under a header."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(astuple(row) for row in rows)
