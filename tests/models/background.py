"""Tries every config in processes of its own, beside the other tests.

A fork of the tests' process reads the configs and forks again, into a pair of ranks, so that libraries are imported and
configs parsed once. What was found of a case lies in a folder, as `<name>.<part>`: what one process, each rank and each
row of the contract found, with the seconds of a core that it took; `<name>.<part>.error` says what went wrong.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
import torch.distributed as dist

from pl_genmodels.models import sharding
from tests.conftest import pass_over_imports
from tests.models.contract import BATCH_SIZE, ROWS
from tests.models.harness import fresh
from tests.models.pair import BLOCK, RANKS, TIMEOUT, Case, on_a_rank, on_one_process

PAIR = "pair"  # what is asked for beside the rows of the contract
FORK = multiprocessing.get_context("fork")


@contextlib.contextmanager
def found(folder, name, part):
    """Leaves what was found in the dictionary given, or what went wrong."""
    began, result = time.process_time(), {}
    try:
        yield result
    except Exception:
        (folder / f"{name}.{part}.error").write_text(traceback.format_exc())
    else:
        # so that whoever waits for it never sees half of it
        torch.save({**result, "seconds": time.process_time() - began}, folder / f"{name}.{part}.begun")
        os.replace(folder / f"{name}.{part}.begun", folder / f"{name}.{part}")


def play(rank, cases, folder, meeting):
    """One rank of the pair."""
    sharding.BLOCK_PARAMETERS = BLOCK
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(RANKS), NODE_RANK="0")
    dist.init_process_group("gloo", f"file://{meeting}", timeout=TIMEOUT, rank=rank, world_size=RANKS)
    for case in cases:
        with found(folder, case.name, f"rank{rank}") as result:
            result |= on_a_rank(case, folder, rank)
        if not (folder / f"{case.name}.rank{rank}").exists():
            break  # the other one must not wait for it
    sys.stdout.flush()
    os._exit(0)


def start_pair(cases, folder, attempt):
    """Two forks that train the cases."""
    meeting = folder / f"meeting{attempt}"
    for case in cases:  # that failed only because one before it did
        for path in folder.glob(f"{case.name}.rank*.error"):
            path.unlink()
    pair = [FORK.Process(target=play, args=(rank, cases, folder, meeting)) for rank in range(RANKS)]
    for process in pair:
        process.start()
    return pair


def run(folder, wanted):
    """All cases; a failing one does not keep the others from being tried."""
    cases = []
    for name in wanted:
        with found(folder, name, "config"):
            cases.append(Case.read(name))
    pass_over_imports()
    left, attempt = [case for case in cases if PAIR in wanted[case.name]], 0
    pair = start_pair(left, folder, attempt)
    for case in cases:
        if PAIR in wanted[case.name]:
            with found(folder, case.name, "one") as result:
                result |= on_one_process(case, folder)
        for row in ROWS:
            if row.__name__ in wanted[case.name]:
                own = folder / f"{case.name}.{row.__name__}.files"
                own.mkdir()
                built = fresh(case.described)
                built.data.batch_size = BATCH_SIZE
                with found(folder, case.name, row.__name__):
                    row(built, own)
    while left:
        for process in pair:
            process.join()
        done = [all((folder / f"{case.name}.rank{rank}").exists() for rank in range(RANKS)) for case in left]
        left = left[done.index(False) + 1 :] if False in done else []
        if left:
            attempt += 1
            pair = start_pair(left, folder, attempt)


def work(folder, wanted):
    """The fork's life: a group of its own, behind the other tests, which nobody helps, and output into a file."""
    os.setpgrp()
    os.nice(10)
    with (folder / "log").open("w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        sys.stdout = sys.stderr = log
        run(folder, wanted)
    os._exit(0)


class Background:
    """The background as the tests see it."""

    def __init__(self, folder, wanted):
        self.folder = Path(folder)
        self.seconds = {}  # of a core, by case and part
        self.process = FORK.Process(target=work, args=(self.folder, wanted))
        self.process.start()

    def results(self, name, *parts):
        """What was found of some parts of a case; waits for them."""
        found = []
        for part in ("config", *parts):
            path, error = (self.folder / f"{name}.{part}{suffix}" for suffix in ("", ".error"))
            while not path.exists() and not error.exists() and self.process.is_alive():
                self.process.join(0.1)
            assert not error.exists(), f"{part}: {error.read_text()}"
            assert path.exists(), (self.folder / "log").read_text()[-3000:]
            found.append(torch.load(path, weights_only=True))
            self.seconds[name, part] = found[-1]["seconds"]
        return found[1:]

    def close(self):
        """Stop whatever still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
