"""GANs of several generators: boosting, posterior samples, and who decodes which latent."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from pl_genmodels.callbacks import ExactResume, GeneratorEMA
from pl_genmodels.data import Ring8
from pl_genmodels.losses.boosting import boosting_weights, mixture_shares
from pl_genmodels.models.gan.adagan import AdaGAN
from pl_genmodels.models.gan.bayesian_gan import BayesianGAN
from pl_genmodels.models.sghmc import SGHMC, counted_normal
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator
from pl_genmodels.networks.ensemble import Stacked
from tests.models.harness import SaveAt, assert_equal, everything
from tests.small import fit, gan, loader

# ---- boosting


@pytest.mark.parametrize(
    ("mixture", "beta", "level", "weights"),
    [
        ([0.7, 0.2, 0.1, 0.0], 0.5, 0.86667, [0, 0.23333, 0.33333, 0.43333]),
        ([0.7, 0.2, 0.1, 0.0], 0.25, 0.63333, [0, 0.03333, 0.33333, 0.63333]),
        ([0.5, 0.5, 0.0, 0.0], 0.5, 1.0, [0, 0, 0.5, 0.5]),
        ([0.25, 0.25, 0.25, 0.25], 0.5, 1.0, [0.25, 0.25, 0.25, 0.25]),
        ([0.7, 0.2, 0.1, 0.0], 1.0, 1.0, [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_weights_of_data_by_hand(mixture, beta, level, weights):
    """Four points that are equally probable; weights here have the mean 1, the table's the sum 1."""
    ratio = torch.tensor(mixture) / 0.25
    found, lam = boosting_weights(ratio, beta)
    torch.testing.assert_close(found / 4, torch.tensor(weights, dtype=torch.float), atol=1e-5, rtol=0)
    assert lam.item() == pytest.approx(level, abs=1e-5)
    assert torch.equal(boosting_weights(ratio[2:], beta, among=ratio)[0], found[2:])


def test_any_weights_have_the_mean_one_and_fall_with_the_ratio():
    torch.manual_seed(0)
    for beta in (0.1, 0.5, 0.9):
        ratio = torch.randn(1000).exp().double()
        weights, _ = boosting_weights(ratio, beta)
        assert weights.mean().item() == pytest.approx(1)
        assert weights.min() == 0 or beta > 0.8
        assert (weights[ratio.argsort()].diff() <= 0).all()
    with pytest.raises(ValueError, match="beta: got 0"):
        boosting_weights(ratio, 0)


def test_shares_of_those_who_joined():
    assert mixture_shares([1, 1 / 2, 1 / 3, 1 / 4]).tolist() == pytest.approx([0.25] * 4)
    assert mixture_shares([1, 0.5, 0.5]).tolist() == [0.25, 0.25, 0.5]


def adagan(**arguments):
    small = {"num_components": 3, "component_updates": 4}
    return gan(model=AdaGAN, **{**small, **arguments})


def same(left, right):
    pairs = zip(left.parameters(), right.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_stage_keeps_its_generator_and_begins_anew(tmp_path):
    model = adagan()
    fresh = copy.deepcopy(model.components)
    assert not same(fresh[0], fresh[1])
    runner = fit(model, loader(4), tmp_path)
    assert model.stage == 1
    assert same(model.generator, fresh[1])
    assert same(model.discriminator, model.new_discriminator)
    assert same(model.weigher, model.classifier)
    assert not same(model.components[0], fresh[0])
    assert not any(optimizer.state for optimizer in runner.optimizers[1:])
    kept = copy.deepcopy(model.components[0])
    fit(model, loader(2), tmp_path)
    assert same(model.components[0], kept)
    assert not same(model.generator, fresh[1])
    assert not same(model.weigher, model.classifier)


def test_averaged_weights_begin_anew_too(tmp_path):
    model = adagan()
    fresh = copy.deepcopy(model.components)
    fit(model, loader(4), tmp_path, callbacks=[GeneratorEMA(half_life=100)])
    assert same(model.generator_ema, fresh[1])


def test_a_run_goes_on_in_another_stage(tmp_path):
    straight, resumed, path = adagan(), adagan(), tmp_path / "middle.ckpt"
    data = partial(Ring8, num_samples=80, batch_size=8)
    fit(straight, data(), tmp_path, callbacks=[ExactResume(), SaveAt(6, path)])
    fit(resumed, data(), tmp_path, callbacks=[ExactResume()], ckpt_path=path)
    assert straight.stage == resumed.stage == 2
    assert_equal(everything(dict(straight.state_dict())), everything(dict(resumed.state_dict())))


class Wall(torch.nn.Module):
    """Knows data by their first coordinate."""

    def forward(self, images):
        return 10 * images[:, 0]


def test_what_the_mixture_has_enough_of_weighs_nothing():
    model = adagan()
    model.generator_updates = 4
    model.weigher = Wall()  # on the left there are many samples already
    images = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(4, 1)
    assert torch.allclose(model.weights(images), torch.tensor([2.0, 0.0]).repeat(4), atol=0.05)
    model.generator_updates = 0
    assert model.weights(images).eq(1).all()


def test_latents_say_who_decodes_them():
    model = adagan()
    model.generator_updates = 8
    assert model.shares.tolist() == pytest.approx([1 / 3] * 3)
    latents = model.draw_latents(600, seed=1)
    z, members = model.chosen(latents)
    assert z.shape == (600, model.generator.latent_dim)
    assert members.bincount().sub(200).abs().max() < 50
    samples = model.decode(latents)
    with torch.no_grad():
        for number, network in enumerate([*model.components[:2], model.generator]):
            own = members == number
            torch.testing.assert_close(samples[own], network(z[own]))


def test_what_adagan_refuses():
    for name, value in {"num_components": 0, "component_updates": 0, "beta": 1.0, "clip": 0.5}.items():
        with pytest.raises(ValueError, match=f"{name}: got {value}"):
            adagan(**{name: value})


# ---- ensembles and posterior samples


def test_stacked_networks_are_their_members():
    torch.manual_seed(0)
    members = [DCGANDiscriminator((1, 16, 16), channels=4).double() for _ in range(3)]
    stacked, images = Stacked(members), torch.randn(6, 1, 16, 16, dtype=torch.double)
    torch.testing.assert_close(stacked(images), torch.stack([m(images) for m in members], 1))
    running = members[2].layers[3].running_mean
    torch.testing.assert_close(getattr(stacked, "layers/3/running_mean")[2], running)
    stacked.eval()
    who = torch.tensor([2, 0, 0, 1, 2, 2])
    alone = torch.stack([members[k].eval()(images[i : i + 1])[0] for i, k in enumerate(who)])
    torch.testing.assert_close(stacked(images, who), alone)
    own = torch.randn(6, 3, 1, 16, 16, dtype=torch.double)
    torch.testing.assert_close(stacked(own, each=True), torch.stack([m(own[:, k]) for k, m in enumerate(members)], 1))


def bayesian(**arguments):
    return gan(model=BayesianGAN, **{"num_generators": 3, "num_discriminators": 2, **arguments})


def test_every_network_plays_against_all_of_the_other_kind():
    model, image = bayesian(), torch.randn(5, 2)
    batch = model.draw({"image": image})
    assert batch["latent"].shape == (5, 3, 3)
    generated = model.generate(batch)
    logits = lambda images: model.discriminator(images)  # (N, 2)
    real, fake = logits(image), torch.stack([logits(generated["image"][:, g]) for g in range(3)])
    of_discriminators = sum(F.softplus(-real[:, d]) + F.softplus(fake[g, :, d]) for d in range(2) for g in range(3))
    of_generators = sum(F.softplus(-fake[g, :, d]) for d in range(2) for g in range(3))
    torch.testing.assert_close(model.discriminator_terms(batch, generated)["adversarial"], of_discriminators)
    torch.testing.assert_close(model.generator_terms(batch, generated)["adversarial"], of_generators)
    torch.testing.assert_close(model.judge(image), real.mean(1))


def test_posterior_samples_differ_and_all_are_drawn_from():
    model = bayesian()
    latents = model.draw_latents(300, seed=0)
    z, members = model.chosen(latents)
    assert members.bincount().tolist() == pytest.approx([100] * 3, abs=40)
    samples, one = model.decode(latents), model.generator(z, torch.zeros_like(members))
    assert (samples - one).abs().amax(1)[members > 0].min() > 1e-3
    torch.testing.assert_close(samples[members == 0], one[members == 0])


def test_convolutions_and_batch_statistics_of_several_networks(tmp_path):
    """As in the paper: every generator keeps statistics of its own, and samples by them."""
    networks = {
        "generator": partial(DCGANGenerator, channels=2),
        "discriminator": partial(DCGANDiscriminator, channels=2),
    }
    model = gan((1, 8, 8), BayesianGAN, num_generators=3, **networks)
    fit(model, loader(2, (1, 8, 8)), tmp_path)
    names = [name for name, _ in model.generator.named_buffers() if "running_mean" in name]
    means = dict(model.generator.named_buffers())[names[0]]
    assert means.shape[0] == 3
    assert all(means[0].ne(other).all() for other in means[1:])
    assert model.sample(5, seed=0).isfinite().all()


def test_what_does_not_go_with_several_networks():
    with pytest.raises(ValueError, match="num_generators: got 0"):
        bayesian(num_generators=0)
    with pytest.raises(ValueError, match="replay_size: got some"):
        bayesian(replay_size=4)


# ---- SGHMC


def test_noise_is_normal_and_its_own_at_every_place_and_step():
    x, y = (counted_normal(torch.arange(200_000), seed) for seed in (7, 8))
    assert x.mean().abs() < 0.01
    assert x.var().item() == pytest.approx(1, abs=0.01)
    assert x.pow(4).mean().item() == pytest.approx(3, abs=0.1)
    assert (x * y).mean().abs() < 0.01
    assert (x[1:] * x[:-1]).mean().abs() < 0.01
    assert torch.equal(counted_normal(torch.tensor([5]), 7), x[5:6])


@pytest.mark.parametrize(("friction", "lr", "steps"), [(0.5, 1e-2, 600), (0.1, 1e-2, 1500)])
def test_parameters_become_samples_of_the_posterior(friction, lr, steps):
    """Of 4,000 weights with a normal prior of deviation 2, given three data that say 1/2 (x - 1)^2 each.

    The posterior is N(12 / 13, 4 / 13).
    """
    weights = torch.zeros(4000, requires_grad=True)
    sampler, means, squares = SGHMC([weights], lr=lr, friction=friction, num_data=3, prior_std=2.0), [], []
    for step in range(steps):
        weights.grad = weights.detach() - 1
        sampler.step()
        if step > steps // 2 and step % 20 == 0:
            means.append(weights.mean().item())
            squares.append(weights.var().item())
    assert sum(means) / len(means) == pytest.approx(12 / 13, abs=0.02)
    assert sum(squares) / len(squares) == pytest.approx(4 / 13, rel=0.07)


def test_a_resumed_sampler_goes_on_with_its_noise():
    start = torch.randn(6)
    one, two = (start.clone().requires_grad_() for _ in range(2))
    straight = SGHMC([one], lr=1e-2)
    for step in range(4):
        one.grad = one.detach().clone()
        straight.step()
        if step == 1:
            state, value = copy.deepcopy(straight.state_dict()), one.detach().clone()
    two.data.copy_(value)
    resumed = SGHMC([two], lr=1.0)
    resumed.load_state_dict(state)
    for _ in range(2):
        two.grad = two.detach().clone()
        resumed.step()
    assert torch.equal(one, two)


def test_what_sghmc_refuses():
    for name, value in {"lr": 0.0, "friction": 0.0, "num_data": 0, "prior_std": -1.0}.items():
        with pytest.raises(ValueError, match=f"{name}: got {value}"):
            SGHMC([torch.zeros(1)], **{name: value})
