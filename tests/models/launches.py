"""Runs of several processes by every launcher, all at once, because most of their time is the start of Python."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys

import torch

from tests.conftest import ROOT

PATIENCE = 900  # seconds until a test gives up on processes that wait for ever; nothing is measured by it


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


class Launch:
    """Processes of one run, which share a folder for their results."""

    def __init__(self, folder, role, prefixes, environments):
        self.folder = folder / role
        self.folder.mkdir()
        common = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MASTER_PORT": free_port()}
        command = ["-m", "tests.models.strategy_worker", role, str(self.folder)]
        self.processes = []
        for number, (prefix, own) in enumerate(zip(prefixes, environments, strict=True)):
            with open(self.folder / f"err{number}", "w") as err:
                arguments = [sys.executable, *prefix(common["MASTER_PORT"]), *command]
                options = {"stdout": err, "stderr": err, "start_new_session": True}
                self.processes.append(subprocess.Popen(arguments, cwd=ROOT, env={**common, **own}, **options))

    def statuses(self):
        """Exit statuses, once all have ended by themselves."""
        return [process.wait(PATIENCE) for process in self.processes]

    def said(self, number=0):
        return (self.folder / f"err{number}").read_text()

    def load(self, name):
        return torch.load(self.folder / name, weights_only=True)


def start_all(folder):
    """The runs, by name."""
    address = ["--master_addr", "127.0.0.1", "--master_port"]
    torchrun = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1", *address]
    on_node = [lambda port, node=node: [*torchrun, port, "--node_rank", node] for node in "01"]
    task = {"SLURM_NTASKS": "3", "SLURM_NTASKS_PER_NODE": "3", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}
    job = {"SLURM_JOB_ID": "31", "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "127.0.0.1"}
    return {
        "nodes": Launch(folder, "nodes", on_node, [{}, {}]),
        "unequal": Launch(folder, "tasks", [lambda port: []], [{**task, **job}]),
        "script": Launch(folder, "script", [lambda port: []], [{}]),
    }


def stop_all(runs):
    """Kill what is left of them, with those that they started."""
    for run in runs.values():
        for process in run.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
