"""Two processes under plain DDP against one process with two threads, on the same whole batch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.benchmarks.networks import setting
from tests.benchmarks.process_worker import SIZE
from tests.conftest import ROOT

WORKER, ROUNDS, CORES = "tests.benchmarks.process_worker", 3, 2
COMMANDS = {  # one thread to a core in both
    1: ["-m", WORKER, "1", str(CORES)],
    CORES: ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={CORES}", "-m", WORKER, str(CORES), "1"],
}


def images_per_second(num_processes):
    """Of the slowest process, which the others wait for."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(CORES // num_processes)}
    command = [sys.executable, *COMMANDS[num_processes]]
    done = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600)
    speeds = [float(line) for line in done.stdout.splitlines() if line.replace(".", "").isdigit()]
    assert len(speeds) == num_processes
    return min(speeds)


@pytest.mark.benchmark
@pytest.mark.skipif((os.cpu_count() or 1) < CORES, reason="needs two cores")
def test_two_processes_are_as_fast_as_two_threads(measured):
    """By the wall clock, so the machine should do nothing else; the best of alternating rounds on either side."""
    speeds = {1: [], CORES: []}
    for _ in range(ROUNDS):
        for num_processes, found in speeds.items():
            found.append(images_per_second(num_processes))
    load = os.getloadavg()[0]
    row = measured(
        "processes",
        "two processes (ddp, gloo)",
        "one with two threads",
        max(speeds[CORES]) / max(speeds[1]),
        ">= 0.9",
        unit="images/s by the wall clock",
        setting=f"cpu, {setting(SIZE)}, load {load:.1f}",
    )
    assert row.holds
