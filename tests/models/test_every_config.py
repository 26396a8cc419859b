"""The contract that every config keeps. A new YAML is under it without a line of test code.

The work is done by `background.py`, beside the other tests; what one process has to keep is stated in `contract.py`.
"""

from __future__ import annotations

import inspect
import re

import pytest
import torch

from tests.conftest import ROOT
from tests.models import background, contract, harness, pair
from tests.models.contract import moved
from tests.models.harness import CONFIGS, assert_same

NAMES = [path.stem for path in CONFIGS]
every_config = pytest.mark.parametrize("name", NAMES)
every_case = pytest.mark.parametrize("name", [*NAMES, pair.LONG])


@every_config
@pytest.mark.tries("trains_samples_reloads_and_resumes")
def test_trains_samples_reloads_and_resumes(name, background):
    background.results(name, "trains_samples_reloads_and_resumes")


@every_config
@pytest.mark.tries("precisions_agree")
def test_precisions_agree(name, background):
    background.results(name, "precisions_agree")


@every_config
@pytest.mark.tries("stays_on_its_device")
def test_stays_on_its_device(name, background):
    background.results(name, "stays_on_its_device")


@every_case
@pytest.mark.tries("pair")
def test_two_processes_equal_one(name, background):
    """Plain ddp in double precision against one process on the whole batch, draws included.

    `wgan_gp_long` is gradient penalty, five critic steps, two micro-batches and clipping.
    """
    one, *ranks = background.results(name, "one", "rank0", "rank1")
    assert_equals_one_process(one, [rank["ddp"] for rank in ranks], 1e-12)
    assert not torch.equal(*(rank["first_draw"] for rank in ranks)), "all ranks would draw the same latents"


@every_case
@pytest.mark.tries("pair")
def test_two_sharded_processes_equal_one(name, background):
    """Parameters sharded by ModelParallelStrategy: the same training, resuming and loading, from file and folder."""
    one, *ranks = background.results(name, "one", "rank0", "rank1")
    if not any(rank["trainable"] for rank in ranks):  # nothing to shard, which the user is told
        assert all("none of whose networks can be sharded" in rank["refused"] for rank in ranks)
        return
    assert_equals_one_process(one, [put_together(rank, ranks) for rank in ranks], 1e-10)
    for rank in ranks:
        assert len(rank["wrong"]) == 3
        assert not any(rank["wrong"].values()), rank["wrong"]


def assert_equals_one_process(one, ranks, tolerance):
    """Ranks agree exactly, and with one reading of the draws of one process."""
    first, second = ranks
    start, idle = one["start"], one["idle"]
    assert_same(first, second)
    readings = [{key: state[key] - first[key] for key in trained(state)} for state in one["readings"]]
    errors = [max(float(error.abs().max()) / slack(key, idle) for key, error in each.items()) for each in readings]
    assert min(errors) <= tolerance, f"two processes differ from one by {errors}"
    assert any(moved(start[key], first[key]) for key in start), "nothing was trained"


def put_together(rank, ranks):
    """A rank's state with whole tensors in place of its parts."""
    assert rank["split"], "nothing is sharded"
    parts = {key: torch.cat([each["parts"][key] for each in ranks]) for key in rank["split"]}
    return {**rank["parts"], **parts}


def slack(key, idle):
    """Adam makes steps out of the rounding that is an idle parameter's whole gradient."""
    return 1e4 if key.removeprefix("model/").replace("_ema.", ".") in idle else 1.0


def trained(state):
    """Keys of all but running statistics, which are each rank's own until they are averaged."""
    return [key for key in state if "running_" not in key]


# ---- no config is left out


def test_every_config_is_in_every_row():
    names = [path.name for path in CONFIGS]
    assert names == sorted(path.name for path in (ROOT / "configs").iterdir() if path.is_file())
    rows = {name: row for name, row in globals().items() if name.startswith("test_")}
    del rows["test_every_config_is_in_every_row"]
    for name, row in rows.items():
        marks = {mark.name: mark for mark in row.pytestmark}
        assert marks.keys() == {"parametrize", "tries"}, name
        assert set(NAMES) <= set(marks["parametrize"].args[1]), name
        assert "background" in inspect.signature(row).parameters, name
    tried = {row.pytestmark[i].args[0] for row in rows.values() for i in (0, 1) if row.pytestmark[i].name == "tries"}
    assert tried == {background.PAIR, *(row.__name__ for row in contract.ROWS)}
    for part in (*rows.values(), background, contract, harness, pair):
        assert not re.search(r"\b(skip|xfail|importorskip)\b", inspect.getsource(part)), part
