"""Parameters sharded by `ModelParallelStrategy` over two gloo processes against one process."""

from __future__ import annotations

import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from PIL import Image
from torch import nn
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING

import pl_genmodels
from pl_genmodels.callbacks import ExactResume, GeneratorEMA
from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.checkpoints import CheckpointError
from pl_genmodels.data import Loader, TensorSet
from pl_genmodels.metrics import evaluate
from pl_genmodels.models.folder_checkpoints import CONTENTS, contents
from pl_genmodels.models.gan.wgan_gp import WGANGP
from pl_genmodels.models.sharding import large_blocks
from tests.models import sharded_cases as cases
from tests.models.harness import assert_same, snapshot, trainer
from tests.small import Batches, samples


@pytest.fixture
def folder(sharded):
    """What one pair of processes found out, all of it."""
    assert sharded.statuses() == [0], sharded.said()[-3000:]
    return sharded.folder


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
    """The checkpoint was written in the middle of an epoch and of a round; to write it changed nothing."""
    for rank in (0, 1):
        found = of_rank(folder, f"resume-{kind}", rank)
        assert_same(found["straight"], found["resumed"])
    updates = {key[:10]: int(value) for key, value in found["straight"].items() if key.endswith("/step")}
    assert updates == {"optimizer0": 12, "optimizer1": 6}
    model = pl_genmodels.load(folder / f"end-{kind}.ckpt")
    trained = {key: value for key, value in found["straight"].items() if key.startswith("model/")}
    assert_same({f"model/{key}": value for key, value in model.state_dict().items()}, trained)
    assert torch.allclose(model.sample(5, seed=3), found["samples"], atol=1e-6)


def test_one_process_continues_from_a_file(folder, tmp_path):
    """Nothing is left to train, so that the state is the one that was saved, optimisers included."""
    model = cases.model("dcgan", 5).float()
    runner = trainer(tmp_path, max_epochs=2, callbacks=[GeneratorEMA(half_life=20), ExactResume()])
    data = Loader(TensorSet({"image": samples(6, cases.PICTURES, 16)}), 8, shuffle=True, drop_last=True, seed=5)
    runner.fit(model, data, ckpt_path=folder / "end-file.ckpt", weights_only=True)
    assert_same(snapshot(model, runner), of_rank(folder, "resume-file", 0)["straight"])


def test_a_file_keeps_the_order_of_an_optimisers_parameters(folder, tmp_path):
    """The second discriminator's moments come first, as in the optimiser, and nothing is left to train."""
    runner = trainer(tmp_path, max_epochs=1, callbacks=[ExactResume()])
    model = cases.Backwards(cases.POINTS, **cases.mlp)
    data = Batches([{"image": part} for part in samples(3).split(8)])
    runner.fit(model, data, ckpt_path=folder / "backwards.ckpt", weights_only=True)
    assert_same(snapshot(model, runner), of_rank(folder, "backwards", 0))


def test_a_sharded_run_continues_from_a_file_of_one_process(folder):
    """No batch was left; averaged weights, which the file lacks, start from its generator."""
    saved = torch.load(folder / "one.ckpt", weights_only=True)
    state = of_rank(folder, "continues", 0)
    weights = saved["state_dict"]
    average = {
        key.replace("generator.", "generator_ema.", 1): v for key, v in weights.items() if key[:10] == "generator."
    }
    expected = {f"model/{key}": value for key, value in {**weights, **average}.items()}
    for index, optimizer in enumerate(saved["optimizer_states"]):
        for key, entry in optimizer["state"].items():
            expected |= {f"optimizer{index}/{key}/{name}": value for name, value in entry.items()}
    del state["counters"]
    assert_same(expected, state)


def test_callbacks_that_draw_samples(folder):
    """Rank 1's generator broke after five updates: both went back to an earlier one and finished."""
    first, second = (of_rank(folder, "watched", rank) for rank in (0, 1))
    assert_same(first["state"], second["state"])
    assert all(bool(value.isfinite().all()) for value in first["state"].values())
    path = folder / "watched" / "checkpoints" / "last.ckpt"
    model = pl_genmodels.load(path)
    real = [{"image": samples(5, cases.PICTURES, 3)}]
    (fid,) = evaluate(model, real, cases.Columns(), num_samples=cases.NUM_FAKE, split="val").values()
    values = first["values"]
    assert values == second["values"]
    assert values["fid"] == pytest.approx(fid, rel=1e-3)
    picture = folder / "watched" / "samples" / f"{model.images_seen:09d}.png"
    drawn = np.asarray(grid_picture(model.sample(6, seed=0), 3, scale=4), dtype=int)
    assert np.abs(np.asarray(Image.open(picture), dtype=int) - drawn).max() <= 1


def test_ranks_may_have_different_numbers_of_batches(folder):
    first, second = (of_rank(folder, "uneven", rank) for rank in (0, 1))
    assert (first["drawn"], second["drawn"]) == ([3] * 3, [3] * 2)
    assert first["loss"] == second["loss"]


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_other_precisions(precision, folder):
    first, second = (of_rank(folder, precision, rank) for rank in (0, 1))
    assert_same(first, second)
    assert all(bool(value.isfinite().all()) for value in first.values())
    half = torch.bfloat16 if precision == "bf16-true" else torch.float32
    types = {key: torch.float32 if key.startswith("generator_ema.") else half for key in first}
    assert {key: value.dtype for key, value in first.items()} == types
    start = dict(cases.model("dcgan", 0).float().named_parameters())
    matrices = [key for key, value in start.items() if value.ndim > 1]  # a gain near 1 moves by less than bfloat16 sees
    assert not [key for key in matrices if torch.equal(start[key].to(half), first[key])]


def attached(model, **options):
    """A model that knows its Trainer, before any process is started."""
    runner = Trainer(accelerator="cpu", logger=False, **options)
    runner.strategy.connect(model)
    model.trainer = runner
    return model


@pytest.mark.parametrize(("sizes", "got"), [((), "'auto'"), ((1, 2), "2")])
def test_tensor_parallelism_is_refused_with_what_to_pass(sizes, got):
    for model in (cases.model("gan"), cases.model("line")):
        model = attached(model, strategy=ModelParallelStrategy(*sizes), devices=2)
        with pytest.raises(ValueError, match=f"tensor_parallel_size: got {got}, allowed is 1") as found:
            model.configure_callbacks()
        assert "pass ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)" in str(found.value)


class ShardsEverything(WGANGP):
    def replicated_players(self):
        return set()


def test_a_penalty_and_a_sharded_discriminator_exclude_each_other():
    model = ShardsEverything(**cases.CASES["wgan_gp"][1])
    with pytest.raises(ValueError, match="penalties: got gradient_penalty and a sharded discriminator"):
        model.networks_to_shard()


def test_a_folder_that_runs_code_is_refused(folder, tmp_path):
    copy = tmp_path / "copy.ckpt"
    shutil.copytree(folder / "end-folder.ckpt", copy)

    class Payload:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'ran'}",))

    (copy / ".metadata").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CheckpointError, match="more than tensors and plain values"):
        pl_genmodels.load(copy)
    assert not (tmp_path / "ran").exists()


def test_blocks():
    """Large items of sequences, inner ones first, and none that shares a parameter with the rest."""
    wide = nn.Linear(40, 40)
    tied = nn.Linear(40, 40)
    network = nn.Module()
    network.sequence = nn.Sequential(nn.Sequential(wide, nn.Linear(2, 2)), tied, nn.Linear(40, 2))
    network.head = nn.Linear(40, 40)
    network.head.weight = tied.weight
    network.blocks = nn.ModuleList([nn.Sequential(nn.Linear(40, 40), nn.ReLU()), nn.Linear(40, 40)])
    assert large_blocks(network, 1000) == [wide, network.blocks[0][0]]


class Looked:
    """Pickles as a look-up of an attribute."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return getattr, self.arguments


def test_a_table_of_contents_looks_up_members_of_enumerations_only(tmp_path):
    """As Python 3.11.2 pickles a member; anything else could reach code."""
    table = tmp_path / CONTENTS
    table.write_bytes(pickle.dumps(Looked(_MEM_FORMAT_ENCODING, "TORCH_CONTIGUOUS_FORMAT")))
    assert contents(tmp_path) is _MEM_FORMAT_ENCODING.TORCH_CONTIGUOUS_FORMAT
    for kind, name in ((_MEM_FORMAT_ENCODING, "__init__"), (torch.Size, "__getattribute__")):
        table.write_bytes(pickle.dumps(Looked(kind, name)))
        with pytest.raises(pickle.UnpicklingError, match=f"{kind.__name__}.{name} has no place"):
            contents(tmp_path)
