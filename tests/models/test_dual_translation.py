"""DiscoGAN and DualGAN: the objectives are the papers', and who plays when."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.models.translation.discogan import DiscoGAN
from pl_genmodels.models.translation.dualgan import DualGAN
from pl_genmodels.networks import (
    DCGANDiscriminator,
    EncoderDecoderTranslator,
    MLPDiscriminator,
    MLPTranslator,
    PatchDiscriminator,
    UNetTranslator,
)
from tests.learning.bench import CountSteps, EachBatch
from tests.models.harness import Recorder, SaveAt, assert_same, snapshot
from tests.models.test_translation import SHAPE, SeedEachBatch, batch_of, terms_of
from tests.small import Batches, fit

NAMES = {"A": "source", "B": "target"}
MLPS = {
    "generator": partial(MLPTranslator, hidden_dim=8),
    "discriminator": partial(MLPDiscriminator, hidden_dim=8, num_layers=3),
}


def discogan(source_shape=SHAPE, target_shape=SHAPE, **options):
    torch.manual_seed(0)
    networks = {
        "generator": partial(EncoderDecoderTranslator, channels=4, num_halvings=2),
        "discriminator": partial(DCGANDiscriminator, channels=4),
    }
    return DiscoGAN(source_shape, target_shape, **{**networks, **options})


def dualgan(source_shape=SHAPE, target_shape=SHAPE, **options):
    torch.manual_seed(0)
    networks = {
        "generator": partial(UNetTranslator, channels=4, num_dropouts=2),
        "discriminator": partial(PatchDiscriminator, channels=4, num_layers=1),
    }
    return DualGAN(source_shape, target_shape, **{**networks, **options})


def in_double(model, batch):
    return model.double(), {name: value.double() for name, value in batch.items()}


def leaky(values):
    return nn.functional.leaky_relu(values, 0.2)


# ---- DiscoGAN


@pytest.mark.parametrize("updates", [9, 10])
def test_discogan_minimises_the_papers_objective(updates):
    """Written out; the share of the reconstruction changes after ten updates."""
    model, batch = in_double(discogan((2,), (2,), **MLPS, curriculum_updates=10), batch_of((2,), (2,)))
    model.generator_updates = updates
    rate = 0.01 if updates < 10 else 0.5
    terms = terms_of(model, batch)
    opponent = terms_of(model, batch, "discriminator")
    for domain, way, back in (("A", "BtoA", "AtoB"), ("B", "AtoB", "BtoA")):
        name, other = NAMES[domain], NAMES["B" if domain == "A" else "A"]
        network = model.discriminator[domain]
        real, fake = batch[name], model.generator[way](batch[other])
        again = model.generator[way](model.generator[back](real))
        d_real, d_fake = network(real).sigmoid(), network(fake).sigmoid()
        torch.testing.assert_close(opponent[f"adversarial_{name}"], -0.5 * (d_real.log() + (1 - d_fake).log()))
        torch.testing.assert_close(terms[f"adversarial_{name}"], -0.1 * (1 - rate) * d_fake.log())
        error = (again - real).square().mean(1)
        torch.testing.assert_close(terms[f"reconstruction_{name}"], rate * 0.25 * error)
        first, second, third = (network.layers[place] for place in (0, 2, 4))
        expected = 0
        for depth in (2, 3):
            means = []
            for points in (real, fake):
                hidden = leaky(second(leaky(first(points))))
                means.append((hidden if depth == 2 else leaky(third(hidden))).mean(0))
            expected += (means[0] - means[1]).square().mean()
        assert expected > 1e-6
        torch.testing.assert_close(terms[f"features_{name}"], (0.9 * (1 - rate) * expected).expand(4))


def test_features_are_matched_as_means_over_the_batch():
    """Real samples in another order change nothing; one real sample for all of them does."""
    model, batch = in_double(discogan(), batch_of())
    generated = {name: value.detach() for name, value in model.generate(batch).items()}

    def matched(real):
        return model._judge_features("B", real, generated["target"])[1]

    torch.testing.assert_close(matched(batch["target"].flip(0)), matched(batch["target"]))
    assert (matched(batch["target"][:1].expand(4, -1, -1, -1)) - matched(batch["target"])).abs().min() > 1e-6
    torch.testing.assert_close(matched(generated["target"]), torch.zeros(4, dtype=torch.double))


@pytest.mark.parametrize("make", [discogan, partial(dualgan, generator=partial(UNetTranslator, channels=4, dropout=0))])
def test_swapping_domains_and_networks_changes_nothing(make):
    model, batch = in_double(make(), batch_of())
    before = {player: terms_of(model, batch, player) for player in model.players}
    g, d = model.generator, model.discriminator
    g["AtoB"], g["BtoA"] = g["BtoA"], g["AtoB"]
    d["A"], d["B"] = d["B"], d["A"]
    swapped = {"source": batch["target"], "target": batch["source"]}
    for player in model.players:
        after = terms_of(model, swapped, player)
        for name, value in before[player].items():
            term, domain = name.rsplit("_", 1)
            torch.testing.assert_close(after[f"{term}_{'target' if domain == 'source' else 'source'}"], value)


def test_both_reconstructions_and_features_train_both_generators():
    model, batch = discogan(), batch_of()
    reached = {"features_source": ["BtoA"], "features_target": ["AtoB"]}
    reached |= {f"reconstruction_{name}": ["AtoB", "BtoA"] for name in NAMES.values()}
    for name, ways in reached.items():
        model.zero_grad()
        terms_of(model, batch)[name].sum().backward()
        for way in ways:
            assert all((p.grad != 0).any() for k, p in model.generator[way].named_parameters() if "weight" in k), name


@pytest.mark.parametrize(("generator_steps", "expected"), [(1, [6, 6]), (2, [3, 6]), (3, [2, 6])])
def test_two_generator_updates_for_one_of_the_discriminators(generator_steps, expected, tmp_path):
    model, count = discogan((2,), (2,), **MLPS, generator_steps=generator_steps), CountSteps()
    weight = EachBatch(lambda module: module.discriminator["A"].layers[0].weight.detach().clone())
    runner = fit(model, Batches([batch_of((2,), (2,))] * 6), tmp_path, callbacks=[count, weight])
    assert count.steps == expected
    assert runner.global_step == 6
    moved = [not torch.equal(a, b) for a, b in zip(weight.values, weight.values[1:], strict=False)]
    assert moved == [(index + 1) % generator_steps == 0 for index in range(1, 6)]


def test_stop_between_two_generator_updates_and_resume(tmp_path):
    """After three updates, with the discriminators due in the next one, and before the curriculum's end."""
    batches = Batches(batch_of(seed=seed) for seed in range(3))
    path = tmp_path / "middle.ckpt"
    options = {"curriculum_updates": 5}
    runs = []
    for extra in (
        {"callbacks": [SeedEachBatch(), SaveAt(3, path)]},
        {"callbacks": [SeedEachBatch()], "ckpt_path": path},
    ):
        model, rows = discogan(**options), Recorder()
        runner = fit(model, batches, tmp_path, max_epochs=2, logger=rows, log_every_n_steps=1, **extra)
        runs.append((snapshot(model, runner), rows.rows))
    assert_same(runs[0][0], runs[1][0])
    assert [row for row in runs[0][1] if row[0] >= 3] == runs[1][1]


def test_discriminators_without_features_are_refused():
    patches = partial(PatchDiscriminator, channels=4, num_layers=1)
    with pytest.raises(ValueError, match=r"feature_weight: got 0.9 with a PatchDiscriminator, .* allowed is 0$"):
        discogan(discriminator=patches)
    terms = terms_of(discogan(discriminator=patches, feature_weight=0.0), batch_of())
    assert sorted({name.split("_")[0] for name in terms}) == ["adversarial", "reconstruction"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"rate": 1.5}, "rate: got 1.5, allowed is 0 to 1"),
        ({"curriculum_rate": -0.1}, "curriculum_rate: got -0.1, allowed is 0 to 1"),
        ({"generator_steps": 0}, "generator_steps: got 0, allowed is 1 or more"),
    ],
)
def test_discogan_refuses(option, message):
    with pytest.raises(ValueError, match=message):
        discogan(**option)


# ---- DualGAN


def test_dualgan_minimises_the_papers_objective():
    model = dualgan((2,), (2,), **MLPS, source_weight=30.0, target_weight=7.0)
    model, batch = in_double(model, batch_of((2,), (2,)))
    u, v, g_a, g_b = batch["source"], batch["target"], model.generator["AtoB"], model.generator["BtoA"]
    of_u, of_v = model.discriminator["A"], model.discriminator["B"]
    terms = terms_of(model, batch)
    torch.testing.assert_close(terms["adversarial_target"], -of_v(g_a(u)))
    torch.testing.assert_close(terms["adversarial_source"], -of_u(g_b(v)))
    torch.testing.assert_close(terms["recovery_source"], 30 * (g_b(g_a(u)) - u).abs().mean(1))
    torch.testing.assert_close(terms["recovery_target"], 7 * (g_a(g_b(v)) - v).abs().mean(1))
    opponent = terms_of(model, batch, "discriminator")
    torch.testing.assert_close(opponent["adversarial_target"], of_v(g_a(u)) - of_v(v))
    torch.testing.assert_close(opponent["adversarial_source"], of_u(g_b(v)) - of_u(u))


def test_critics_that_say_nothing_leave_the_recoveries():
    model, batch = dualgan((2,), (2,), **MLPS), batch_of((2,), (2,))
    with torch.no_grad():
        for parameter in model.discriminator.parameters():
            parameter.zero_()
    terms = terms_of(model, batch)
    assert all(torch.equal(value, torch.zeros(4)) for name, value in terms.items() if name.startswith("adversarial"))
    assert all((value > 0).all() for name, value in terms.items() if name.startswith("recovery"))


def test_the_critics_loss_changes_its_sign_with_real_and_generated_swapped():
    model, batch = in_double(dualgan(), batch_of())
    generated = {name: value.detach() for name, value in model.generate(batch).items()}
    there, back = model.discriminator_terms(batch, generated), model.discriminator_terms(generated, batch)
    for name, value in there.items():
        assert (value.abs() > 1e-6).all()
        torch.testing.assert_close(back[name], -value)


def largest(network):
    return max(float(p.detach().abs().max()) for p in network.parameters())


def test_critics_stay_within_their_bounds(tmp_path):
    bound = EachBatch(lambda module: largest(module.discriminator))
    model, count = dualgan(clip=0.01), CountSteps()
    assert bound.measure(model) <= 0.01
    runner = fit(model, Batches([batch_of(seed=seed) for seed in range(6)]), tmp_path, callbacks=[bound, count])
    assert all(value == pytest.approx(0.01) for value in bound.values)
    assert count.steps == [6, 2]
    assert runner.global_step == 2
    assert largest(model.generator) > 0.02


def test_dualgan_is_noisy_at_test_time():
    model, images = dualgan(), batch_of()["source"]
    for direction in model.directions:
        assert (model.translate(images, direction) - model.translate(images, direction)).abs().max() > 1e-4
        torch.testing.assert_close(*(model.translate(images, direction, seed=1) for _ in range(2)))
