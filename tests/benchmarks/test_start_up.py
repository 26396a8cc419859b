"""What the command line costs beyond its libraries."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from statistics import median

import pytest

from tests.conftest import ROOT


def processor_seconds(*command):
    """User and system time of a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *command], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.benchmark
def test_the_command_line_starts_nearly_as_fast_as_its_libraries(measured):
    ours, libraries = [], []
    for _ in range(3):
        ours.append(processor_seconds("-m", "pl_genmodels", "list"))
        libraries.append(processor_seconds("-c", "import lightning.pytorch, torchvision"))
    row = measured(
        "start-up",
        "pl_genmodels list",
        "import lightning.pytorch, torchvision",
        median(ours) / median(libraries),
        "<= 1.5",
        unit="time",
        setting="cpu, one process each",
    )
    assert row.holds
