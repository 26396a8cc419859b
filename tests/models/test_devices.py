"""A pretended GPU: what it refuses and notes, that it computes as the CPU does, and that a broken step is found."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from pl_genmodels.data import Ring8
from pl_genmodels.losses import Gaussian
from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.models.gan.wgan_gp import WGANGP
from pl_genmodels.models.vae.vae import VAE
from tests.models.devices import OneDevice, stays_on_its_device
from tests.models.harness import Built, assert_same, fresh, snapshot, trainer
from tests.pretended_cuda import Steps, WrongDeviceError, pretended_cuda, trainer_options
from tests.small import gan


@pytest.fixture
def waited():
    with pretended_cuda() as waited:
        yield waited


def on_device(*shape):
    return torch.randn(*shape, device="cuda")


REFUSED = {
    "a sum": lambda x: x + torch.ones(3),
    "a matrix": lambda x: x @ torch.ones(3, 3),
    "a number among others": lambda x: torch.stack([x.sum(), torch.tensor(1.0)]),
    "a result on the CPU": lambda x: torch.zeros(()).add_(x.sum()),
    "a layer": lambda x: nn.Linear(3, 3)(x),
    "a generator": lambda x: torch.randn(3, device=x.device, generator=torch.Generator()),
    "filling by a generator": lambda x: x.normal_(generator=torch.Generator()),
    "an array": lambda x: x.numpy(),
    "integers": lambda x: x.long() @ x.long().T,
    "the CPU's autocast": lambda x: torch.autocast("cpu"),
}
ALLOWED = {
    "a number of the CPU": lambda x: x * torch.tensor(2.0) + torch.zeros(()),
    "a new tensor": lambda x: x + torch.arange(3, device=x.device) + x.new_zeros(3) + torch.zeros_like(x),
    "a copy": lambda x: x + torch.ones(3).to(x.device, non_blocking=True),
    "draws": lambda x: x[torch.randperm(2, device=x.device)] + torch.rand_like(x),
    "choices": lambda x: torch.where(x > 0, x, 0.0).masked_fill(x < 0, 1.0),
    "a mask that is filled": lambda x: x.clone().__setitem__(x > 0, 0.0),
}
WAITING = {
    "a value": lambda x: x.sum().item(),
    "a decision": lambda x: bool((x > 0).all()),
    "a list": lambda x: x.tolist(),
    "a way back": lambda x: x.cpu(),
    "a way there": lambda x: torch.ones(3).to(x.device),
    "numbers of Python": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "a mask": lambda x: x[x > 0],
    "places": lambda x: (x > 0).nonzero(),
    "a place": lambda x: x[x[:, 0].argmax()],
    "indices on the CPU": lambda x: x[torch.tensor([1, 0])],
    "classes": lambda x: nn.functional.one_hot(x.long().abs()),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refuses_what_a_gpu_refuses(what, waited):
    with pytest.raises(WrongDeviceError):
        REFUSED[what](on_device(2, 3))


@pytest.mark.parametrize("what", ALLOWED)
def test_takes_what_a_gpu_takes_without_waiting(what, waited, monkeypatch):
    monkeypatch.setattr(Steps, "strict_now", True)
    found = ALLOWED[what](on_device(2, 3))
    assert found is None or found.is_cuda
    assert not waited


@pytest.mark.parametrize("what", WAITING)
def test_notes_what_waits(what, waited, monkeypatch):
    x = on_device(2, 3)
    WAITING[what](x)
    assert not waited
    monkeypatch.setattr(Steps, "strict_now", True)
    WAITING[what](x)
    assert waited


def test_gradients_come_back_over_both_sides(waited):
    weight = nn.Parameter(torch.ones(3))
    (weight.to("cuda").square().sum().cpu() * 2).backward()
    assert not weight.grad.is_cuda
    assert torch.equal(weight.grad, torch.full((3,), 4.0))


def test_a_module_moves_with_what_is_shared_and_stays_the_same(waited):
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    both, weight = nn.Sequential(first, second), first.weight
    both.to("cuda")
    assert first.weight is second.weight is weight
    assert weight.is_cuda
    assert isinstance(weight, nn.Parameter)
    assert type(both.cpu()[0].weight) is nn.Parameter


def test_mixed_precision_and_the_optimisers_are_the_gpus(waited):
    layer = nn.Linear(3, 3).to("cuda")
    with torch.autocast("cuda", torch.bfloat16):
        assert layer(on_device(2, 3)).dtype == torch.bfloat16
        with torch.autocast("cuda", enabled=False):
            assert layer(on_device(2, 3)).dtype == torch.float32
    layer(on_device(2, 3)).sum().backward()
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    optimizer.step()
    assert all(value.is_cuda for state in optimizer.state.values() for value in state.values())


def test_products_of_two_devices_are_seen_on_the_meta_device_too():
    x = torch.ones(2, 3, device="meta")
    with OneDevice():
        assert (x @ x.T).is_meta
        with pytest.raises(AssertionError, match="mm"):
            x @ torch.ones(3, 2)


# ---- whole runs


def ring(model):
    data = Ring8(batch_size=4)
    data.prepare_data()
    data.setup("fit")
    return Built(model, data, [])


def test_a_run_computes_what_it_does_on_a_cpu(tmp_path):
    built, states = ring(gan(model=WGANGP, critic_steps=2)), []
    for where, options in ((contextlib.nullcontext, dict), (pretended_cuda, trainer_options)):
        with where():
            model, data, _ = fresh(built)
            torch.manual_seed(1)
            runner = trainer(tmp_path, max_epochs=1, limit_train_batches=5, **options())
            runner.fit(model, data)
            model.cpu()
            states.append(snapshot(model, runner))
    assert_same(*states)


@pytest.mark.parametrize("model", [gan, lambda: VAE((2,), likelihood=Gaussian())], ids=["gan", "vae"])
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-true", "64-true"])
def test_other_precisions_stay_on_the_device(precision, model, tmp_path):
    """The loss scaler of `16-mixed` is the device's; torch reads from it at each step whether that is left out."""
    with pretended_cuda() as waited:
        built, options = ring(model()), {"max_epochs": 1, "limit_train_batches": 4, "log_every_n_steps": 4}
        runner = trainer(tmp_path, callbacks=[Steps()], precision=precision, **options, **trainer_options())
        runner.fit(built.model, built.data)
        assert (built.model.loss_scaler is not None) == (precision == "16-mixed")
    assert precision == "16-mixed" or not waited


class OnTheCPU(GAN):
    def generator_terms(self, batch, generated):
        terms = super().generator_terms(batch, generated)
        return {name: term * torch.ones(len(term)) for name, term in terms.items()}


class AskingForAValue(GAN):
    def discriminator_terms(self, batch, generated):
        terms = super().discriminator_terms(batch, generated)
        return {name: term / max(1.0, term.abs().max().item()) for name, term in terms.items()}


class NotABuffer(GAN):
    def build(self, image_shape):
        super().build(image_shape)
        self.scale = torch.ones(image_shape)

    def generate(self, batch):
        return {name: image * self.scale for name, image in super().generate(batch).items()}


def test_a_right_model_stays_on_its_device(tmp_path):
    stays_on_its_device(ring(gan()), tmp_path)


def test_a_tensor_on_the_cpu_is_found(tmp_path):
    with pytest.raises(WrongDeviceError, match=r"mul.* on the GPU with tensors of \[\(4,\)\] on the CPU"):
        stays_on_its_device(ring(gan(model=OnTheCPU)), tmp_path)


def test_a_tensor_that_is_no_buffer_is_found(tmp_path):
    with pytest.raises(WrongDeviceError, match=r"tensors of \[\(2,\)\] on the CPU"):
        stays_on_its_device(ring(gan(model=NotABuffer)), tmp_path)


def test_a_step_that_waits_is_found(tmp_path):
    built = ring(gan(model=AskingForAValue))
    with pytest.raises(AssertionError, match="_local_scalar_dense"):
        stays_on_its_device(built, tmp_path)
