"""Runs of several processes by every launcher, all at once, because most of their time is the start of Python.

Where the start itself is not what is tried, a fork of the tests' process spares it. Forks are made before any test has
run: nothing has used a GPU by then, which could not be used in a fork any more.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import warnings

import torch

from tests.conftest import ROOT

FORK = multiprocessing.get_context("fork")
PATIENCE = 900  # seconds until a test gives up on processes that wait for ever; nothing is measured by it


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


class Fork(FORK.Process):
    """A fork that waits like a process of its own."""

    def wait(self, timeout):
        self.join(timeout)
        assert self.exitcode is not None, f"still at work after {timeout} seconds"
        return self.exitcode


class Launch:
    """Processes of one run, which share a folder for their results."""

    def __init__(self, folder, role):
        self.folder, self.role = folder / role, role
        self.folder.mkdir()
        self.processes = []
        self.common = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MASTER_PORT": free_port()}

    def start(self, prefix=()):
        """A Python of its own, with `prefix` between it and the worker."""
        arguments = [sys.executable, *prefix, "-m", "tests.models.strategy_worker", self.role, str(self.folder)]
        with self.log().open("w") as err:
            options = {"stdout": err, "stderr": err, "start_new_session": True}
            process = subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, **self.common}, **options)
        self.processes.append(process)

    def fork(self, work, environment):
        """A fork of this process that does some work, which may end by `sys.exit`."""
        process = Fork(target=self.forked, args=(work, {**self.common, **environment}))
        process.start()
        self.processes.append(process)

    def forked(self, work, environment):
        os.setsid()
        os.environ.update(environment)
        with self.log().open("w", buffering=1) as log:  # by lines: ranks end without a flush
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
            sys.stdout = sys.stderr = log
            warnings.simplefilter("ignore")
            work(self.folder)

    def log(self, number=None):
        return self.folder / f"err{len(self.processes) if number is None else number}"

    def statuses(self):
        """Exit statuses, once all have ended by themselves."""
        return [process.wait(PATIENCE) for process in self.processes]

    def said(self, number=0):
        return self.log(number).read_text()

    def load(self, name):
        return torch.load(self.folder / name, weights_only=True)


def start_all(folder):
    """The runs, by name."""
    from tests.models import strategy_worker

    nodes, unequal, script = (Launch(folder, role) for role in ("nodes", "tasks", "script"))
    address = ["--master_addr", "127.0.0.1", "--master_port", nodes.common["MASTER_PORT"]]
    for node in "01":
        torchrun = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1", *address]
        nodes.start([*torchrun, "--node_rank", node])
    script.start()
    task = {"SLURM_NTASKS": "3", "SLURM_NTASKS_PER_NODE": "3", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}
    job = {"SLURM_JOB_ID": "31", "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "127.0.0.1"}
    unequal.fork(strategy_worker.tasks, {**task, **job})
    return {"nodes": nodes, "unequal": unequal, "script": script}


def start_sharded(folder):
    """The pair of processes that `test_sharding` asks."""
    from tests.models import shard_worker

    launch = Launch(folder, "sharded")
    launch.fork(shard_worker.run, {"CUDA_VISIBLE_DEVICES": ""})
    return launch


def stop_all(runs):
    """Kill what is left of them, with those that they started."""
    for run in runs:
        for process in run.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
