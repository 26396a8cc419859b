"""Tricks that any GAN can take: each with each objective, and what they do to a round."""

from __future__ import annotations

import copy
import warnings
from functools import partial

import pytest
import torch

from pl_genmodels.layers import DiffAugment, InstanceNoise
from pl_genmodels.losses import (
    R1,
    FDivergence,
    Hinge,
    LabelledLoss,
    LabelNoise,
    LeastSquares,
    LeCam,
    Minimax,
    NonSaturating,
    Relativistic,
    RelativisticAverage,
    Wasserstein,
)
from pl_genmodels.models.gan.ganhacks import GANHacks
from pl_genmodels.models.gan.improved_gan import ImprovedGAN
from pl_genmodels.models.gan.unrolled_gan import UnrolledGAN
from pl_genmodels.models.lookahead import Lookahead
from pl_genmodels.models.optimizers import GANAdam, HistoricalAdam
from pl_genmodels.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    MinibatchDiscriminator,
    MLPDiscriminator,
    MLPGenerator,
    NoisyGenerator,
    PackedDiscriminator,
    VirtualBatchNormGenerator,
)
from tests.models.harness import Recorder
from tests.small import fit, gan, loader

SMALL_D = partial(MLPDiscriminator, hidden_dim=8, num_layers=1)
SMALL_G = partial(MLPGenerator, latent_dim=3, hidden_dim=8, num_layers=1, batch_norm=True)
OBJECTIVES = [
    Minimax(),
    NonSaturating(),
    LeastSquares(),
    Hinge(),
    Wasserstein(),
    Relativistic(),
    RelativisticAverage(),
    FDivergence(),
]
TRICKS = {
    "label_noise": lambda loss: {"loss": LabelNoise(loss)},
    "lecam": lambda loss: {"loss": LeCam(loss)},
    "instance_noise": lambda loss: {"loss": loss, "augmentations": [InstanceNoise(0.1, 100)]},
    "diffaugment": lambda loss: {"loss": loss, "augmentations": [DiffAugment()]},
    "replay": lambda loss: {"loss": loss, "replay_size": 12},
    "packing": lambda loss: {"loss": loss, "discriminator": partial(PackedDiscriminator, discriminator=SMALL_D)},
    "minibatch": lambda loss: {"loss": loss, "discriminator": partial(MinibatchDiscriminator, discriminator=SMALL_D)},
    "virtual_batch_norm": lambda loss: {
        "loss": loss,
        "generator": partial(VirtualBatchNormGenerator, generator=SMALL_G, num_reference=4),
    },
    "noise_in_layers": lambda loss: {"loss": loss, "generator": partial(NoisyGenerator, generator=SMALL_G, std=0.1)},
    "feature_matching": lambda loss: {"loss": loss, "model": ImprovedGAN},
    "historical": lambda loss: {
        "loss": loss,
        "optimizer_generator": HistoricalAdam,
        "optimizer_discriminator": HistoricalAdam,
    },
    "unrolled": lambda loss: {"loss": loss, "model": partial(UnrolledGAN, unrolled_steps=2)},
}


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("loss", OBJECTIVES, ids=lambda loss: type(loss).__name__)
def test_every_trick_with_every_objective(trick, loss, tmp_path):
    """Two rounds each: finite, and both players learn; or the sentence that says why not."""
    shape = (1, 8, 8) if trick == "diffaugment" else (2,)
    if trick == "label_noise" and not isinstance(loss, LabelledLoss):
        with pytest.raises(ValueError, match="which has no labels to change"):
            TRICKS[trick](loss)
        return
    model, recorder = gan(shape, **TRICKS[trick](copy.deepcopy(loss))), Recorder()
    before = {name: value.clone() for name, value in model.named_parameters()}
    fit(model, loader(2, shape), tmp_path, logger=recorder)
    assert len(dict(recorder.rows)) == 2
    assert all(torch.isfinite(torch.tensor(value)) for _, row in recorder.rows for value in row.values())
    moved = [name for name, p in model.named_parameters() if not torch.equal(p, before[name])]
    assert all(any(name.startswith(player) for name in moved) for player in model.players), "a player stood still"


def test_no_trick_is_on_by_itself():
    model, image = gan(), torch.randn(3, 2)
    assert model.augment(image) is image
    assert model.shown("discriminator", {"image": image})["image"] is image


def test_the_hacks_are_on_together_and_each_can_be_turned_off():
    def on(model):
        return {
            "soft labels": isinstance(model.loss, LabelNoise),
            "noisy inputs": any(isinstance(each, InstanceNoise) for each in model.augmentations),
            "replay": model.replay_size > 0,
            "noisy layers": isinstance(model.generator, NoisyGenerator),
        }

    assert all(on(GANHacks((2,))).values())
    without = {"loss": NonSaturating(), "augmentations": [], "replay_size": 0, "generator": SMALL_G}
    for name, (argument, value) in zip(on(GANHacks((2,))), without.items(), strict=True):
        assert [key for key, active in on(GANHacks((2,), **{argument: value})).items() if not active] == [name]


def test_each_player_has_an_optimiser_of_its_own_kind():
    model = gan(optimizer_discriminator=partial(torch.optim.SGD, lr=0.1))
    optimizers, _ = model.configure_optimizers()
    kinds = dict(zip(model.players, map(type, optimizers), strict=True))
    assert kinds == {"discriminator": torch.optim.SGD, "generator": GANAdam}


# ---- historical averaging


def test_historical_adam_is_adam_on_the_loss_with_the_distance_from_the_mean():
    torch.manual_seed(0)
    start, target, weight = torch.randn(5).double(), torch.randn(5).double(), 0.3
    ours, plain = (start.clone().requires_grad_() for _ in range(2))
    historical, adam = HistoricalAdam([ours], lr=0.1, historical_weight=weight), GANAdam([plain], lr=0.1)
    past = []
    for _ in range(6):
        historical.zero_grad()
        (ours - target).square().sum().backward()
        historical.step()
        past.append(plain.detach().clone())
        mean = torch.stack(past).mean(0)
        adam.zero_grad()
        ((plain - target).square().sum() + weight * (plain - mean).square().sum()).backward()
        adam.step()
    assert torch.allclose(ours, plain, rtol=0, atol=1e-12)
    other = HistoricalAdam([ours.detach().clone().requires_grad_()], lr=0.1, historical_weight=weight)
    other.load_state_dict(historical.state_dict())
    (kept,) = (state["historical_mean"] for state in other.state.values())
    assert torch.allclose(kept, torch.stack(past).mean(0))


# ---- replay


def test_only_the_discriminator_sees_earlier_samples():
    model = gan(replay_size=4)
    torch.manual_seed(0)
    old, new = torch.zeros(4, 2), torch.ones(16, 2)
    model.shown("discriminator", {"image": old})
    seen = model.shown("discriminator", {"image": new})["image"]
    assert set(seen.flatten().tolist()) == {0.0, 1.0}
    assert model.shown("generator", {"image": new})["image"] is new
    with pytest.raises(ValueError, match="replay_size: got -1"):
        gan(replay_size=-1)


# ---- unrolling

OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, lr=0.1),
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "dampened": partial(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.3),
    "adam": partial(GANAdam, lr=0.1),
    "adam_decay": partial(torch.optim.Adam, lr=0.1, weight_decay=0.1),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "with moments"])
def test_steps_looked_ahead_are_the_optimisers_own(name, warm):
    torch.manual_seed(0)
    network = SMALL_D((2,)).double()
    optimizer = OPTIMIZERS[name](network.parameters())
    points = torch.randn(6, 2).double()

    def loss(values):
        return torch.func.functional_call(network, values, (points,)).square().mean()

    def steps(number):
        for _ in range(number):
            optimizer.zero_grad()
            loss(dict(network.named_parameters())).backward()
            optimizer.step()

    steps(3 if warm else 0)
    state = copy.deepcopy(optimizer.state_dict())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    ahead = Lookahead(network, optimizer)
    for _ in range(3):
        gradients = torch.autograd.grad(loss(ahead.values), list(ahead.values.values()), create_graph=True)
        ahead.step(dict(zip(ahead.values, gradients, strict=True)))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert str(optimizer.state_dict()) == str(state)
    steps(3)
    for key, value in network.named_parameters():
        assert torch.allclose(ahead.values[key], value, rtol=0, atol=1e-9), key


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
def test_the_generators_gradient_goes_through_the_steps(name):
    """Against finite differences in double precision."""
    torch.manual_seed(0)
    model = gan(model=partial(UnrolledGAN, unrolled_steps=3)).double()
    optimizer = OPTIMIZERS[name](model.discriminator.parameters())
    model.lookahead = lambda: Lookahead(model.discriminator, optimizer)
    batch = {"image": torch.randn(6, 2).double(), "latent": torch.randn(6, 3).double()}
    parameter, size = model.generator.layers[0].weight, 1e-5
    direction = torch.randn_like(parameter)

    def value():
        return model.generator_terms(batch, model.generate(batch))["adversarial"].mean()

    (gradient,) = torch.autograd.grad(value(), parameter)
    with torch.no_grad():
        parameter.add_(size * direction)
        above = value()
        parameter.sub_(2 * size * direction)
        below = value()
    assert float((gradient * direction).sum()) == pytest.approx(float(above - below) / (2 * size), rel=1e-3)


def test_what_is_looked_ahead_is_not_remembered():
    """The generator's turn leaves a loss's memory of the discriminator's logits alone."""
    model = gan(model=UnrolledGAN, loss=LeCam())
    optimizer = OPTIMIZERS["sgd"](model.discriminator.parameters())
    model.lookahead = lambda: Lookahead(model.discriminator, optimizer)
    batch = {"image": torch.randn(6, 2), "latent": torch.randn(6, 3)}
    model.discriminator_terms(batch, model.generate(batch))
    before = copy.deepcopy(model.loss.state_dict())
    model.generator_terms(batch, model.generate(batch))
    assert before["steps"] == 1
    assert all(torch.equal(value, before[name]) for name, value in model.loss.state_dict().items())


@pytest.mark.parametrize(
    ("optimizer", "named"),
    [
        (HistoricalAdam, "HistoricalAdam"),
        (partial(torch.optim.Adam, amsgrad=True), "Adam with amsgrad"),
        (torch.optim.AdamW, "AdamW with decoupled_weight_decay"),
        (partial(torch.optim.RMSprop, momentum=0.5), "RMSprop with momentum"),
        (torch.optim.Adagrad, "Adagrad"),
    ],
)
def test_an_optimiser_that_cannot_be_unrolled(optimizer, named, tmp_path):
    model = gan(model=UnrolledGAN, optimizer_discriminator=optimizer)
    with pytest.raises(ValueError, match=f"optimizer_discriminator: got {named}, whose step cannot be differentiated"):
        fit(model, loader(1), tmp_path)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_penalty_of_single_samples_and_a_norm_of_the_batch(batch_norm, tmp_path):
    """A gradient of the sum of logits is then not that of each sample."""
    networks = {
        "generator": partial(DCGANGenerator, latent_dim=3, channels=2),
        "discriminator": partial(DCGANDiscriminator, channels=2, batch_norm=batch_norm),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(gan((1, 16, 16), penalties=[R1()], **networks), loader(1, (1, 16, 16)), tmp_path)
    assert any("penalties: got r1, of gradients sample by sample" in str(each.message) for each in caught) == batch_norm


def test_what_unrolling_does_not_go_with():
    with pytest.raises(ValueError, match="penalties: got some, allowed are none"):
        gan(model=UnrolledGAN, penalties=[R1()])
    with pytest.raises(ValueError, match="generator_batch_factor: got 2, allowed is 1"):
        gan(model=UnrolledGAN, generator_batch_factor=2)
    with pytest.raises(ValueError, match="unrolled_steps: got -1"):
        gan(model=UnrolledGAN, unrolled_steps=-1)
