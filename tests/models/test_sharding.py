"""Parameters sharded by `ModelParallelStrategy` over two gloo processes against one process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

import pl_genmodels
from tests.conftest import ROOT
from tests.models import sharded_cases as cases
from tests.models.harness import assert_same


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What one pair of processes found out, all of it."""
    folder = tmp_path_factory.mktemp("sharded")
    worker = ROOT / "tests" / "models" / "shard_worker.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(worker)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, str(folder)], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def of_rank(folder, name, rank):
    return torch.load(folder / f"{name}.rank{rank}", weights_only=True)


@pytest.mark.parametrize("name", cases.CASES)
def test_two_sharded_processes_equal_one(name, folder, tmp_path):
    """Whatever the ranks' own initial weights; in double precision, since Adam amplifies rounding errors."""
    start = {key: value.clone() for key, value in cases.model(name).named_parameters()}
    _, one = cases.train(name, tmp_path)
    first, second = (of_rank(folder, name, rank) for rank in (0, 1))
    assert first["networks"] == cases.CASES[name][-1]
    assert first["blocks"] >= len(first["networks"]), "blocks of their own were asked for"
    assert_same(first["state"], second["state"])
    for state in (one, first["state"]):  # a rank's rows have statistics of their own
        for key in [key for key in state if "running_" in key]:
            del state[key]
    assert_same(one, first["state"], tolerance=1e-10)
    assert max((one[f"model/{key}"] - value).abs().max() for key, value in start.items()) > 1e-4, "nothing was trained"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_resumes_bit_for_bit_and_loads(kind, folder):
    for rank in (0, 1):
        found = of_rank(folder, f"resume-{kind}", rank)
        assert_same(found["straight"], found["resumed"])
    model = pl_genmodels.load(folder / f"end-{kind}.ckpt")
    assert_same(
        {f"model/{key}": value for key, value in model.state_dict().items()},
        {k: v for k, v in found["straight"].items() if k.startswith("model/")},
    )
    assert torch.allclose(model.sample(5, seed=3), found["samples"], atol=1e-6)
