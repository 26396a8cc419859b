"""PixelCNN++ in training: its layers start from the first batch, once, and averaged weights judge and draw."""

from __future__ import annotations

import functools

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import pl_genmodels
from pl_genmodels.callbacks import GeneratorEMA
from pl_genmodels.layers.weight_norm import start_from_data
from pl_genmodels.losses import DiscretizedLogisticMixture
from pl_genmodels.models.autoregressive.pixel_cnn_pp import PixelCNNPP
from pl_genmodels.networks import PixelCNNPPNetwork
from tests.models.harness import Recorder, trainer

STILL = functools.partial(torch.optim.SGD, lr=0.0)


def small(optimizer=STILL, dropout=0.5):
    torch.manual_seed(0)
    network = functools.partial(PixelCNNPPNetwork, channels=4, num_blocks=1, num_resolutions=2, dropout=dropout)
    return PixelCNNPP((3, 4, 4), network=network, likelihood=DiscretizedLogisticMixture(2), optimizer=optimizer)


@pytest.fixture
def loader():
    images = torch.rand(16, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return DataLoader(TensorDataset(images), batch_size=8)


def gains(model):
    return {name: value.clone() for name, value in model.state_dict().items() if name.endswith(("gain", "bias"))}


def test_layers_start_from_the_first_batch_and_never_again(loader, tmp_path):
    model = small()
    first = model.likelihood.quantize(next(iter(loader))[0])
    expected = start_from_data(model.network.eval(), lambda: model.network(first))
    model.network.train()
    runner = trainer(tmp_path, max_epochs=1)
    runner.fit(model, loader)  # two batches, by a rate of 0
    found = gains(model.network)
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
    assert model.network.training
    weights_only = small()
    weights_only.load_state_dict(model.state_dict())  # without the count of images
    trainer(tmp_path, max_epochs=1).fit(weights_only, DataLoader(loader.dataset, batch_size=16))
    assert all(torch.equal(value, found[name]) for name, value in gains(weights_only.network).items())


def test_averaged_weights_start_with_the_layers_and_are_judged_and_drawn_from(loader, tmp_path):
    average, recorder = GeneratorEMA(half_life=1e9, ramp_up=0), Recorder()  # so slow that it stands still
    model = small(functools.partial(torch.optim.Adam, lr=0.05))
    runner = trainer(tmp_path, max_epochs=3, callbacks=[average], logger=recorder)
    runner.limit_val_batches = 1.0
    runner.fit(model, loader, loader)
    start = small()
    trainer(tmp_path, max_epochs=1).fit(start, loader)  # by a rate of 0
    kept, wanted = model.network_ema.state_dict(), start.network.state_dict()
    assert all(torch.allclose(kept[name], wanted[name], atol=1e-5) for name in wanted)
    images = loader.dataset.tensors[0]
    validated = [row["val/nll"] for _, row in recorder.rows if "val/nll" in row][-1]
    assert validated == pytest.approx(-start.log_likelihood(images).mean().item(), rel=1e-4)
    assert validated > 1.02 * -model.terms({"image": images})["nll"].mean().item(), "nothing was learned"
    assert torch.allclose(model.sample(4, seed=0), start.sample(4, seed=0), atol=1e-6)
    runner.save_checkpoint(tmp_path / "model.ckpt")
    loaded = pl_genmodels.load(tmp_path / "model.ckpt")
    assert torch.equal(loaded.sample(4, seed=0), model.sample(4, seed=0))


def test_nobody_trains_the_average(loader, tmp_path):
    model = small(functools.partial(torch.optim.Adam, lr=0.05))
    runner = trainer(tmp_path, max_epochs=1, callbacks=[GeneratorEMA()])
    runner.fit(model, loader)
    trained = {id(p) for group in runner.optimizers[0].param_groups for p in group["params"]}
    assert trained == {id(p) for p in model.network.parameters()}
