"""Compiled networks: the same numbers, a bounded number of graphs, the same checkpoints."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch._inductor.exc import InvalidCxxCompiler

import pl_genmodels
from pl_genmodels.callbacks import GeneratorEMA
from pl_genmodels.losses import R1, GradientPenalty, SpectralNorm
from pl_genmodels.models import compilation
from pl_genmodels.models.gan.dcgan import DCGAN
from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.models.gan.wgan_gp import WGANGP
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator
from tests.models.harness import SaveAt, assert_same, snapshot
from tests.models.test_likelihood import Gaussian
from tests.small import BATCH, Batches, fit, gan, samples

SHAPE = (1, 8, 8)
DESCENT = partial(torch.optim.SGD, lr=0.05)


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """The back end that makes graphs and their derivatives without generating code; nothing kept from other tests."""
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def graphs():
    return counters["stats"]["unique_graphs"]


def small(model=DCGAN, batch_norm=True, **arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(DCGANGenerator, channels=4, latent_dim=3),
        "discriminator": partial(DCGANDiscriminator, channels=4, batch_norm=batch_norm),
        "optimizer_generator": DESCENT,
        "optimizer_discriminator": DESCENT,
    }
    return model(SHAPE, **{**networks, **arguments})


def batches(num_batches, rows=BATCH):
    torch.manual_seed(3)
    images = samples(num_batches, SHAPE, rows).split(rows)
    return Batches({"image": x, "latent": torch.randn(rows, 3)} for x in images)


def assert_close(left, right):
    assert left.keys() == right.keys()
    for key, value in left.items():
        assert torch.allclose(value.double(), right[key].double(), rtol=0, atol=1e-5), key


CASES = {
    "dcgan": partial(small),
    "wgan_gp": partial(small, WGANGP, batch_norm=False, critic_steps=1),
    "spectral norm and r1": partial(small, GAN, batch_norm=False, constraints=[SpectralNorm()], penalties=[R1(1.0)]),
}


@pytest.mark.parametrize("name", CASES)
def test_compiled_networks_compute_the_same(name, tmp_path):
    """And with a number of graphs that neither turns nor rounds increase."""
    states, made = [], []
    for compiled in (False, True):
        model = CASES[name](compile=compiled)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        model.on_train_batch_end = lambda *args: made.append(graphs())
        fit(model, batches(20), tmp_path)
        states.append(model.state_dict())
    assert_close(*states)
    assert any((states[0][key] - value).abs().max() > 1e-3 for key, value in before.items()), "nothing was trained"
    of_compiled = made[20:]
    assert made[19] == 0
    assert of_compiled[0] > 0
    # the trial, G, and D with and without a gradient for its weights
    assert of_compiled == [of_compiled[0]] * 20
    assert of_compiled[0] <= 4


@pytest.mark.benchmark
def test_generated_code_computes_the_same(monkeypatch, tmp_path):
    """Not in the default run: making code takes most of a minute."""
    monkeypatch.setattr(compilation, "BACKEND", "inductor")
    states = []
    for compiled in (False, True):
        model = gan(
            compile=compiled,
            penalties=[GradientPenalty()],
            optimizer_generator=DESCENT,
            optimizer_discriminator=DESCENT,
        )
        torch.manual_seed(3)
        data = Batches({"image": x, "latent": torch.randn(BATCH, 3)} for x in samples(3).split(BATCH))
        fit(model, data, tmp_path)
        states.append(model.state_dict())
    assert_close(*states)
    assert graphs() > 0


def test_micro_batches_of_other_sizes_and_the_last_batch(tmp_path):
    """A second size becomes a symbol, and only a size of 1 is special."""
    torch.manual_seed(3)
    images = [samples(1, batch=rows) for rows in (10, 10, 7, 5, 10, 8, 9, 7, 5)]
    data = Batches({"image": image, "latent": torch.randn(len(image), 3)} for image in images)
    states, made = [], []
    for compiled in (False, True):
        model = gan(compile=compiled, optimizer_generator=DESCENT, optimizer_discriminator=DESCENT)
        model.on_train_batch_end = lambda *args: made.append(graphs())
        fit(model, data, tmp_path, accumulate_grad_batches=3, gradient_clip_val=1.0)
        states.append(model.state_dict())
    assert_close(*states)
    of_compiled = made[len(images) :]
    assert 0 < of_compiled[0] < of_compiled[3] == of_compiled[-1]


def test_checkpoints_know_nothing_of_it(tmp_path):
    """They go from one to the other, and averaged weights are copied and sampled as without it."""
    torch.manual_seed(3)
    data = Batches({"image": x, "latent": torch.randn(BATCH, 3)} for x in samples(3).split(BATCH))
    path, ends, keys = tmp_path / "middle.ckpt", [], []
    for first, second in ((False, False), (True, False), (False, True), (True, True)):
        model = gan(compile=first)
        fit(model, data, tmp_path, max_epochs=2, callbacks=[GeneratorEMA(20.0), SaveAt(3, path)])
        keys.append(list(torch.load(path, weights_only=True)["state_dict"]))
        resumed = gan(compile=second)
        runner = fit(resumed, data, tmp_path, max_epochs=2, callbacks=[GeneratorEMA(20.0)], ckpt_path=path)
        ends.append(snapshot(resumed, runner))
        assert pl_genmodels.load(path).sample(2, seed=0).shape == (2, 2)
        assert resumed.hparams["compile"] == second
    assert keys == [keys[0]] * 4
    for end in ends[1:]:
        assert_same(ends[0], end, tolerance=1e-5)


def test_samples_are_drawn_without_compiling(tmp_path):
    model = small(compile=True)
    fit(model, batches(1), tmp_path)
    made = graphs()
    for number in (1, 5, 9):
        assert model.sample(number).shape == (number, *SHAPE)
    assert model.generator.training
    assert graphs() == made


class WritesItsEnd(DCGAN):
    def on_train_end(self):
        super().on_train_end()
        torch.save({**self.state_dict(), "graphs": graphs()}, f"{self.trainer.default_root_dir}/rank{self.global_rank}")


def test_two_processes(tmp_path):
    """Plain ddp: the same as without compiling, and the replicas stay equal."""
    ends = {}
    for compiled in (False, True):
        fit(small(WritesItsEnd, compile=compiled), batches(3), tmp_path, strategy="ddp_fork", devices=2)
        ends[compiled] = [torch.load(tmp_path / f"rank{rank}") for rank in (0, 1)]
        made = [end.pop("graphs") > 0 for end in ends[compiled]]
        assert made == [compiled] * 2
        assert_same(*ends[compiled])
    assert_close(ends[False][0], ends[True][0])


class Encoded(Gaussian):
    """With a network, and one that only lends its weights."""

    def build(self, image_shape):
        super().build(image_shape)
        torch.manual_seed(0)
        self.heads = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        self.fixed = nn.Linear(2, 2).requires_grad_(False)

    def terms(self, batch):
        image = batch["image"]
        return super().terms({"image": image + self.heads[1](self.heads[0](image)) + self.fixed(image)})


def test_models_with_one_objective(tmp_path):
    states = []
    for compiled in (False, True):
        model = Encoded((2,), DESCENT, compile=compiled)
        fit(model, Batches({"image": x} for x in samples(3).split(BATCH)), tmp_path)
        states.append(model.state_dict())
    assert_close(*states)
    assert graphs() == 3, "the trial and the two heads"


class GoesThroughGradients(GAN):
    differentiates_gradients = True


def test_systems_that_differentiate_gradients_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="compile: got true, allowed with GoesThroughGradients is false: its step goes"
    ):
        fit(gan(model=GoesThroughGradients, compile=True), Batches([samples(1)]), tmp_path)


def test_a_machine_without_a_compiler_says_so(monkeypatch, tmp_path):
    def broken(graph, inputs):
        raise InvalidCxxCompiler

    monkeypatch.setattr(compilation, "BACKEND", broken)
    with pytest.raises(ValueError, match=r"compile: got true, allowed here is false: torch.compile .*C\+\+") as e:
        fit(gan(compile=True), Batches([samples(1)]), tmp_path)
    assert "\n" not in str(e.value)
