"""Image translation: the objectives are the papers', and what is special about each system holds."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

import pl_genmodels
from pl_genmodels.callbacks import GeneratorEMA
from pl_genmodels.layers import ImagePool
from pl_genmodels.losses import absolute_error, per_sample, squared_error
from pl_genmodels.models.engine import average_buffers, rank_local_state
from pl_genmodels.models.schedules import ConstantThenLinear
from pl_genmodels.models.translation.cyclegan import CycleGAN
from pl_genmodels.models.translation.pix2pix import Pix2Pix
from pl_genmodels.networks import (
    MLPDiscriminator,
    MLPTranslator,
    PatchDiscriminator,
    ResNetTranslator,
    Translator,
    UNetTranslator,
)
from tests.models.harness import SaveAt, assert_same, snapshot
from tests.small import Batches, fit

RESNET = partial(ResNetTranslator, channels=4, num_blocks=1, num_halvings=1)
PATCH = partial(PatchDiscriminator, channels=4, num_layers=1)
UNET = partial(UNetTranslator, channels=4, num_dropouts=2)
SHAPE = (3, 16, 16)


class SeedEachBatch(Callback):
    """The random state as a function of the step."""

    def on_train_batch_start(self, trainer, *args):
        torch.manual_seed(trainer.global_step)


def cyclegan(source_shape=SHAPE, target_shape=SHAPE, **options):
    torch.manual_seed(0)
    return CycleGAN(source_shape, target_shape, **{"generator": RESNET, "discriminator": PATCH, **options})


def pix2pix(source_shape=(1, 16, 16), target_shape=SHAPE, **options):
    torch.manual_seed(0)
    networks = {"generator": UNET, "discriminator": partial(PATCH, norm="batch")}
    return Pix2Pix(source_shape, target_shape, **{**networks, **options})


def batch_of(source_shape=SHAPE, target_shape=SHAPE, number=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"source": source_shape, "target": target_shape}
    return {name: torch.rand(number, *shape, generator=generator) * 2 - 1 for name, shape in shapes.items()}


def terms_of(model, batch, player="generator"):
    return getattr(model, f"{player}_terms")(batch, model.generate(batch))


class Same(Translator):
    """The identity, with one weight so that there is something to train."""

    def __init__(self, source_shape, target_shape):
        super().__init__(source_shape, target_shape)
        self.weight = nn.Parameter(torch.ones(()))

    def convert(self, image):
        return self.weight * image


# ---- CycleGAN


def test_identities_close_every_cycle():
    terms = terms_of(cyclegan(generator=Same), batch_of())
    for name in ("cycle_source", "cycle_target", "identity_source", "identity_target"):
        assert torch.equal(terms[name], torch.zeros(4))


def test_cyclegan_minimises_the_papers_objective():
    """Written out with one call a picture; the model batches what it may."""
    model, batch = cyclegan(cycle_weight=7.0, identity_weight=0.3).double(), batch_of()
    batch = {name: value.double() for name, value in batch.items()}
    g, f = model.generator["AtoB"], model.generator["BtoA"]
    d_a, d_b = model.discriminator["A"], model.discriminator["B"]
    terms = terms_of(model, batch)
    for row in range(4):
        a, b = batch["source"][row : row + 1], batch["target"][row : row + 1]
        expected = {
            "adversarial_target": (d_b(g(a)) - 1).square().mean(),
            "adversarial_source": (d_a(f(b)) - 1).square().mean(),
            "cycle_source": 7 * (f(g(a)) - a).abs().mean(),
            "cycle_target": 7 * (g(f(b)) - b).abs().mean(),
            "identity_target": 7 * 0.3 * (g(b) - b).abs().mean(),
            "identity_source": 7 * 0.3 * (f(a) - a).abs().mean(),
        }
        assert terms.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(terms[name][row], value)
        a_hat, b_hat = f(b), g(a)
        opponent = model.discriminator_terms(batch, model.generate(batch))
        torch.testing.assert_close(
            opponent["adversarial_target"][row], 0.5 * ((d_b(b) - 1).square().mean() + d_b(b_hat).square().mean())
        )
        torch.testing.assert_close(
            opponent["adversarial_source"][row], 0.5 * ((d_a(a) - 1).square().mean() + d_a(a_hat).square().mean())
        )


def test_both_cycles_train_both_generators():
    model, batch = cyclegan(identity_weight=0.0), batch_of()
    for name in ("cycle_source", "cycle_target"):
        model.zero_grad()
        terms_of(model, batch)[name].sum().backward()
        assert all((weight.grad != 0).any() for key, weight in model.generator.named_parameters() if "weight" in key)


class Calls:
    """Counts the calls of networks and the rows they get."""

    def __init__(self, networks):
        self.rows = {name: [] for name in networks}
        for name, network in networks.items():
            network.register_forward_pre_hook(lambda _, args, name=name: self.rows[name].append(len(args[0])))


@pytest.mark.parametrize(("norm", "rows"), [("instance", [8, 4]), ("batch", [4, 4, 4])])
def test_one_call_takes_what_may_share_a_batch(norm, rows):
    """Translation with identity, then the way back; real with generated. Batch normalisation keeps them apart."""
    model = cyclegan(generator=partial(RESNET, norm=norm), discriminator=partial(PATCH, norm=norm))
    batch = batch_of()
    calls = Calls({**model.generator, **model.discriminator})
    generated = model.generate(batch)
    model.generator_terms(batch, generated)
    assert calls.rows["AtoB"] == calls.rows["BtoA"] == rows
    assert calls.rows["A"] == calls.rows["B"] == [4]
    model.discriminator_terms(batch, {name: value.detach() for name, value in generated.items()})
    assert calls.rows["A"] == calls.rows["B"] == [4, *([8] if norm == "instance" else [4, 4])]


def test_opponents_do_not_pay_for_identity_terms():
    model, batch = cyclegan(), batch_of()
    with torch.no_grad():
        assert model.generate(batch).keys() == {"source", "target"}


def test_only_the_discriminators_see_the_pool(tmp_path):
    model, seen = cyclegan(pool_size=4), {"discriminator": [], "generator": []}
    for player, log in seen.items():
        compute = getattr(model, f"{player}_terms")

        def spy(batch, generated, log=log, compute=compute):
            log.append(generated["target"].detach().clone())
            return compute(batch, generated)

        setattr(model, f"{player}_terms", spy)
    fit(model, Batches(batch_of(seed=seed) for seed in range(6)), tmp_path)
    differs = [not torch.equal(old, new) for old, new in zip(seen["discriminator"], seen["generator"], strict=True)]
    assert not differs[0]  # the pool was filled with these
    assert any(differs[1:])
    assert model.pool["target"].count == 4
    earlier = torch.cat(seen["generator"])
    assert all((earlier == shown).flatten(1).all(1).any() for shown in torch.cat(seen["discriminator"]))


def test_stop_and_resume_with_a_full_pool(tmp_path):
    """Pool, learning rates and both optimisers, bit for bit; the stop lies in the middle of an epoch."""
    schedule = partial(ConstantThenLinear, constant_epochs=1, decay_epochs=2)
    options = {"pool_size": 6, "scheduler_generator": schedule, "scheduler_discriminator": schedule}
    batches = Batches(batch_of(seed=seed) for seed in range(4))
    path = tmp_path / "middle.ckpt"
    straight = cyclegan(**options)
    seeds = SeedEachBatch()
    first = fit(straight, batches, tmp_path, max_epochs=3, callbacks=[GeneratorEMA(), seeds, SaveAt(8, path)])
    again = cyclegan(**options)
    second = fit(again, batches, tmp_path, max_epochs=3, callbacks=[GeneratorEMA(), SeedEachBatch()], ckpt_path=path)
    assert_same(snapshot(straight, first), snapshot(again, second))
    assert_same(rank_local_state(straight), rank_local_state(again))
    rates = [optimizer.param_groups[0]["lr"] for optimizer in second.optimizers]
    assert rates == [optimizer.param_groups[0]["lr"] for optimizer in first.optimizers]
    assert rates == [0.0, 0.0]
    assert second.global_step == 12


def test_pools_stay_with_their_rank(monkeypatch):
    """Running statistics are averaged over ranks; the pool is not."""
    module = nn.ModuleDict({"norm": nn.BatchNorm1d(2), "pool": ImagePool((2,), size=3)})
    module["pool"](torch.ones(3, 2))
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(1))
    monkeypatch.setattr(torch.distributed, "broadcast", lambda tensor, rank: tensor.add_(1))
    average_buffers(module, 2)
    assert torch.equal(module["pool"].kept, torch.ones(3, 2))
    assert module["pool"].count == 3
    assert torch.equal(module["norm"].running_var, torch.ones(2))
    assert torch.equal(module["norm"].running_mean, torch.full((2,), 0.5))


def test_each_rank_gets_its_own_pool_back(tmp_path):
    """A checkpoint of two ranks, as rank 1 reads it."""
    model = cyclegan(pool_size=4)
    runner = fit(model, Batches([batch_of()]), tmp_path)
    path = tmp_path / "ranks.ckpt"
    runner.save_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["pl_genmodels"]["rank_local"] == []  # one rank: the state dict has it
    mine = {key: value for key, value in checkpoint["state_dict"].items() if key.startswith("pool.")}
    assert len(mine) == 4
    others = {key: torch.full_like(value, 3) for key, value in mine.items()}
    checkpoint["pl_genmodels"]["rank_local"] = [mine, others]
    again = cyclegan(pool_size=4)
    again._trainer = type("Ranks", (), {"world_size": 2, "global_rank": 1, "state": runner.state})()
    again.on_load_checkpoint(checkpoint)
    again._trainer = None
    again.load_state_dict(checkpoint["state_dict"])
    assert (again.pool["source"].kept == 3).all()


def test_the_rate_is_constant_and_then_falls():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2e-4)
    schedule = ConstantThenLinear(optimizer)
    for epoch in range(250):
        factor = 1 - max(0, epoch + 1 - 100) / 101 if epoch < 200 else 0
        assert optimizer.param_groups[0]["lr"] == pytest.approx(2e-4 * factor)
        optimizer.step()
        schedule.step()


def test_schedules_advance_by_epochs(tmp_path):
    schedule = partial(ConstantThenLinear, constant_epochs=1, decay_epochs=1)
    runner = fit(
        cyclegan(scheduler_generator=schedule, scheduler_discriminator=None), Batches([batch_of()] * 3), tmp_path
    )
    rates = [optimizer.param_groups[0]["lr"] for optimizer in runner.optimizers]
    assert rates == [2e-4, pytest.approx(1e-4)]


# ---- pix2pix


def test_pix2pix_minimises_the_papers_objective():
    model = pix2pix(generator=partial(UNET, dropout=0.0, num_dropouts=0))
    batch = batch_of((1, 16, 16))
    generated = model.generate(batch)
    logits = model.discriminator["pair"](torch.cat([batch["source"], generated["target"]], 1))
    real = model.discriminator["pair"](torch.cat([batch["source"], batch["target"]], 1))
    terms = model.generator_terms(batch, generated)
    torch.testing.assert_close(terms["adversarial"], -logits.sigmoid().log().mean((1, 2, 3)))
    error = (generated["target"] - batch["target"]).abs().mean((1, 2, 3))
    torch.testing.assert_close(terms["l1"], 100 * error)
    expected = -0.5 * (real.sigmoid().log() + (1 - logits.sigmoid()).log()).mean((1, 2, 3))
    torch.testing.assert_close(model.discriminator_terms(batch, generated)["adversarial"], expected)


def test_the_discriminator_sees_the_source():
    model, batch = pix2pix(), batch_of((1, 16, 16))
    generated = {"target": batch["target"]}
    other = {**batch, "source": -batch["source"]}
    before, after = (model.generator_terms(each, generated)["adversarial"] for each in (batch, other))
    assert (before - after).abs().min() > 1e-4


def test_translations_are_noisy_at_test_time_and_repeat_for_a_seed():
    model, images = pix2pix(), batch_of((1, 16, 16))["source"]
    assert (model.translate(images) - model.translate(images)).abs().max() > 1e-3
    torch.testing.assert_close(model.translate(images, seed=1), model.translate(images, seed=1))
    state = torch.get_rng_state()
    model.translate(images, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_translation_does_not_depend_on_its_batch():
    """Batch normalisation at test time takes each picture's own statistics, not running ones."""
    model = pix2pix(generator=partial(UNET, dropout=0.0, num_dropouts=0))
    images = batch_of((1, 16, 16))["source"]
    together = model.translate(images)
    torch.testing.assert_close(together, torch.cat([model.translate(image[None]) for image in images]))
    model.train()
    with torch.no_grad():  # in training, a batch of one has the same statistics
        torch.testing.assert_close(together[:1], model(images[:1]))


def test_there_is_no_way_back():
    model, images = pix2pix(), torch.rand(2, 3, 16, 16)
    for use in (partial(model.translate, images, "BtoA"), partial(model.reconstruct, images[:, :1])):
        with pytest.raises(ValueError, match=r"direction: got 'BtoA', which a Pix2Pix has not, allowed: AtoB$"):
            use()


# ---- what every translation does


def test_samples_of_other_channels_are_refused(tmp_path):
    sentence = r"batch: got target of shape \(1, 16, 16\), but the model's target_shape is \(3, 16, 16\); allowed are 3"
    with pytest.raises(ValueError, match=sentence):
        fit(cyclegan(), Batches([batch_of(target_shape=(1, 16, 16))]), tmp_path)
    with pytest.raises(ValueError, match=r"images: got shape \(2, 1, 8, 8\), allowed for BtoA are 3 channels, \(B, 3"):
        cyclegan((1, 16, 16), identity_weight=0.0).translate(torch.zeros(2, 1, 8, 8), "BtoA")


def test_translates_both_ways_and_any_size():
    model = cyclegan((1, 16, 16), identity_weight=0.0)
    images = torch.rand(2, 1, 21, 40) * 2 - 1
    there = model.translate(images)
    assert there.shape == (2, 3, 21, 40)
    back = model.translate(there, "BtoA")
    assert back.shape == images.shape
    torch.testing.assert_close(model.reconstruct(images), back)
    with pytest.raises(ValueError, match=r"direction: got 'atob', .* allowed: AtoB and BtoA"):
        model.translate(images, "atob")


def test_panels_name_the_columns():
    batch = batch_of((1, 16, 16))
    two_way = cyclegan((1, 16, 16), identity_weight=0.0)
    columns = two_way.panels(batch)
    assert list(columns) == ["source", "translation", "reconstruction", "target"]
    assert torch.equal(columns["source"], batch["source"])
    assert torch.equal(columns["target"], batch["target"])
    torch.testing.assert_close(columns["reconstruction"], two_way.translate(columns["translation"], "BtoA"))
    back = two_way.panels(batch, "BtoA")
    assert torch.equal(back["source"], batch["target"])
    torch.testing.assert_close(back["translation"], two_way.translate(batch["target"], "BtoA"))
    assert list(pix2pix().panels(batch)) == ["source", "translation", "target"]
    assert list(pix2pix().panels({"source": batch["source"]})) == ["source", "translation"]


def test_shapes_come_from_the_data(tmp_path):
    model = cyclegan(None, None, identity_weight=0.0)
    assert not model.is_built
    batch = batch_of((1, 16, 16))
    fit(model, Batches([(batch["source"], batch["target"])]), tmp_path)
    assert (model.source_shape, model.target_shape, model.image_shape) == ((1, 16, 16), SHAPE, SHAPE)
    assert model.hparams["source_shape"] == [1, 16, 16]
    assert model.generator["BtoA"].target_shape == (1, 16, 16)


def test_identity_terms_need_equal_shapes():
    with pytest.raises(ValueError, match=r"identity_weight: got 0.5 for sources .* allowed is 0 where the"):
        cyclegan((1, 16, 16))


def test_averaged_generators_translate(tmp_path):
    model = cyclegan()
    runner = fit(model, Batches(batch_of(seed=seed) for seed in range(3)), tmp_path, callbacks=[GeneratorEMA(1e6)])
    trained, averaged = (dict(each.named_parameters()) for each in (model.generator, model.generator_ema))
    assert trained.keys() == averaged.keys()
    assert not torch.equal(trained["AtoB.layers.1.weight"], averaged["AtoB.layers.1.weight"])
    images = batch_of()["source"]
    runner.save_checkpoint(tmp_path / "last.ckpt")
    again = pl_genmodels.load(tmp_path / "last.ckpt")
    for direction in model.directions:
        torch.testing.assert_close(again.translate(images, direction), model.generator_ema[direction](images))


def test_points_are_translated_too(tmp_path):
    model = cyclegan(
        (2,),
        (2,),
        generator=partial(MLPTranslator, hidden_dim=8),
        discriminator=partial(MLPDiscriminator, hidden_dim=8),
    )
    fit(model, Batches([batch_of((2,), (2,))] * 2), tmp_path)
    assert model.translate(torch.randn(5, 2), "BtoA").shape == (5, 2)


# ---- per-sample errors


def test_errors_are_means_over_each_sample():
    one, two = torch.zeros(2, 1, 1, 2), torch.tensor([1.0, -3.0, 0.0, 2.0]).view(2, 1, 1, 2)
    assert absolute_error(one, two).tolist() == [2, 1]
    assert squared_error(one, two).tolist() == [5, 2]
    assert per_sample(torch.tensor([1.0, 2.0])).tolist() == [1, 2]
