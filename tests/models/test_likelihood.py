"""The base of models with one objective, on a Gaussian whose maximum-likelihood solution is known."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

import pl_genmodels
from pl_genmodels.callbacks import CollapseMonitor, GeneratorEMA
from pl_genmodels.models.likelihood import LikelihoodModule
from pl_genmodels.types import Paper
from tests.models.harness import Recorder, SaveAt, assert_same, trainer


class Gaussian(LikelihoodModule):
    paper = Paper("A normal distribution", "Gauss", 1809, "https://example.org", "nothing")

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        optimizer: Callable[[Iterable], Optimizer] = functools.partial(torch.optim.Adam, lr=0.05),
        **kwargs,
    ):
        super().__init__(image_shape, optimizer, **kwargs)

    @property
    def is_built(self):
        return hasattr(self, "mean")

    def build(self, image_shape):
        self.mean = nn.Parameter(torch.zeros(image_shape))
        self.log_scale = nn.Parameter(torch.zeros(image_shape))

    def terms(self, batch):
        z = (batch["image"] - self.mean) * torch.exp(-self.log_scale)
        return {"quadratic": 0.5 * z.square().sum(1), "volume": self.log_scale.sum().expand(len(z))}

    def sample(self, num_samples, *, seed=None, first=0):
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        noise = torch.randn(first + num_samples, *self.image_shape, generator=generator)[first:]
        return (self.mean + noise * self.log_scale.exp()).detach()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(256, 2, generator=generator) * torch.tensor([0.5, 2.0]) + torch.tensor([1.0, -1.0])


def test_reaches_maximum_likelihood_and_logs_every_term(data, tmp_path):
    model, recorder = Gaussian(), Recorder()
    schedule = functools.partial(torch.optim.lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.01, total_iters=600)
    model.scheduler_factory = schedule
    runner = trainer(tmp_path, logger=recorder, max_steps=600, max_epochs=-1, log_every_n_steps=50)
    runner.limit_val_batches = 1.0
    runner.fit(model, DataLoader([data] * 100, batch_size=None), DataLoader(data, batch_size=256))
    assert torch.allclose(model.mean, data.mean(0), atol=1e-2)
    assert torch.allclose(model.log_scale.exp(), data.std(0, correction=0), rtol=1e-2)
    assert model.images_seen == 600 * 256
    rows = [row for _, row in recorder.rows if "train/quadratic" in row]
    assert len(rows) == 12
    for row in rows:
        assert row["loss"] == pytest.approx(row["train/quadratic"] + row["train/volume"], abs=1e-4)
    assert {"val/quadratic", "val/volume", "val/loss"} <= {key for _, row in recorder.rows for key in row}
    assert runner.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.05 * 0.01, rel=1e-3)


def test_clipping_and_accumulation_are_lightnings_own(data, tmp_path):
    model = Gaussian((2,), functools.partial(torch.optim.SGD, lr=1.0))
    model.configure_model()
    options = {"max_epochs": 1, "accumulate_grad_batches": 2, "gradient_clip_val": 0.1}
    runner = trainer(tmp_path, **options)
    runner.fit(model, DataLoader(data, batch_size=128))
    assert runner.global_step == 1
    moved = torch.cat([model.mean.detach(), model.log_scale.detach()]).norm()
    assert moved == pytest.approx(0.1, rel=1e-4)


def test_reloads_and_resumes(data, tmp_path):
    loader = DataLoader(data, batch_size=32)
    path = tmp_path / "middle.ckpt"
    straight = Gaussian()
    runner = trainer(tmp_path, max_epochs=4, callbacks=[SaveAt(16, path)])
    runner.fit(straight, loader)
    runner.save_checkpoint(tmp_path / "end.ckpt")
    assert torch.equal(pl_genmodels.load(tmp_path / "end.ckpt").sample(3, seed=1), straight.sample(3, seed=1))
    resumed = Gaussian()
    trainer(tmp_path, max_epochs=4).fit(resumed, loader, ckpt_path=path, weights_only=True)
    assert_same(dict(straight.named_parameters()), dict(resumed.named_parameters()))
    assert resumed.images_seen == straight.images_seen


def test_unknown_interval_is_refused():
    with pytest.raises(ValueError, match="scheduler_interval: got 'batch'"):
        Gaussian((2,), scheduler_interval="batch")


@pytest.mark.parametrize("callback", [CollapseMonitor, GeneratorEMA])
def test_callbacks_of_generators_refuse_it(callback, data, tmp_path):
    with pytest.raises(ValueError, match=f"{callback.__name__}: got Gaussian"):
        trainer(tmp_path, max_epochs=1, callbacks=[callback()]).fit(Gaussian(), DataLoader(data, batch_size=64))
