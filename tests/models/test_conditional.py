"""GANs that are told what to make: how labels, properties and codes reach both players and come from a user."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import pl_genmodels
from pl_genmodels.callbacks import CollapseMonitor, ConditionGrid
from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.cli import main
from pl_genmodels.cli.export import generator_of
from pl_genmodels.layers import Attributes, Codes, Labels
from pl_genmodels.losses import R1, GradientPenalty
from pl_genmodels.models.autoregressive.gated_pixel_cnn import GatedPixelCNN
from pl_genmodels.models.conditional_gan.cgan import CGAN
from pl_genmodels.models.conditions import rows_of, values_for
from pl_genmodels.models.latents import draw_latents
from pl_genmodels.models.vae.cvae import CVAE
from pl_genmodels.networks import (
    ConcatDiscriminator,
    ConcatGenerator,
    GatedPixelCNNNetwork,
    MLPDiscriminator,
    MLPGenerator,
    UniformPrior,
)
from tests.small import Batches, fit, gan
from tests.test_cli import fails

SHAPE = (1, 8, 8)


def cgan(condition=Labels(3), image_shape=SHAPE, **arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(ConcatGenerator, latent_dim=4, generator=partial(MLPGenerator, hidden_dim=8)),
        "discriminator": partial(ConcatDiscriminator, discriminator=partial(MLPDiscriminator, hidden_dim=8)),
    }
    return CGAN(image_shape, condition=condition, **{**networks, **arguments})


def batch(count=6, **entries):
    image = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {"image": image, "label": torch.arange(count) % 3, **entries}


def saved(model, path, tmp_path):
    """A checkpoint of a model that has seen two batches."""
    runner = fit(model, Batches([batch(), batch()]), tmp_path)
    runner.save_checkpoint(path)
    return str(path)


def test_terms_are_of_pairs():
    model = cgan(penalties=[R1(2.0)])
    drawn = model.draw(batch())
    generated = model.generate(drawn)
    vectors = F.one_hot(drawn["label"], 3).float()
    assert torch.equal(generated["image"], model.generator(drawn["latent"], vectors))
    terms = model.discriminator_terms(drawn, generated)
    real, fake = model.discriminator(drawn["image"], vectors), model.discriminator(generated["image"], vectors)
    assert torch.allclose(terms["adversarial"], F.softplus(-real) + F.softplus(fake), atol=1e-6)
    image = drawn["image"].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.discriminator(image, vectors).sum(), image)
    assert torch.allclose(terms["r1"], gradient.flatten(1).square().sum(1), rtol=1e-4)
    terms = model.generator_terms(drawn, generated)
    assert torch.allclose(terms["adversarial"], F.softplus(-fake), atol=1e-6)


def test_the_generators_own_batch_has_the_same_conditions():
    model = cgan(generator_batch_factor=2)
    drawn = model.draw_for_clock(model.draw(batch()))
    assert torch.equal(drawn["condition"], F.one_hot(torch.arange(6) % 3, 3).float().repeat(2, 1))
    assert model.generate(drawn)["image"].shape == (12, *SHAPE)


def test_penalties_at_mixed_points_are_told(tmp_path):
    model = cgan(penalties=[GradientPenalty(1.0)])
    fit(model, Batches([batch(), batch()]), tmp_path, callbacks=[CollapseMonitor(every_n_images=6)])
    assert model.generator_updates == 2


def test_samples_are_of_what_is_asked():
    model = cgan().eval()
    turns = model.sample(7, seed=3)
    for label in range(3):
        alike = model.sample(7, label=label, seed=3)
        same = [bool(torch.equal(*pair)) for pair in zip(alike, turns, strict=True)]
        assert same == [index % 3 == label for index in range(7)]
    assert torch.allclose(model.sample(3, seed=3, first=4), turns[4:], atol=1e-6)
    latents = model.draw_latents(7, seed=3)
    assert torch.equal(model.decode(latents, torch.arange(7) % 3), turns)
    assert torch.equal(model.decode(latents), model.sample(7, label=0, seed=3)), "a path of latents keeps its label"


def test_what_is_left_open_is_drawn_of_the_seed():
    condition, device = Codes([4], 1), torch.device("cpu")
    drawn = values_for(condition, None, 100, device, seed=1)
    assert torch.equal(values_for(condition, None, 30, device, seed=1, first=70), drawn[70:])
    partly = values_for(condition, torch.tensor([2.0, torch.nan]), 100, device, seed=1)
    assert torch.equal(partly[:, 0], torch.full((100,), 2.0))
    assert torch.equal(partly[:, 1], drawn[:, 1])
    assert not torch.equal(drawn, values_for(condition, None, 100, device, seed=2))


def test_conditions_of_a_seed_are_not_its_latents_again():
    device = torch.device("cpu")
    codes = values_for(Codes([], 1), None, 500, device, seed=1)
    latents = draw_latents(UniformPrior(), 500, 1, device, seed=1)
    assert torch.corrcoef(torch.cat([codes, latents], 1).T)[0, 1].abs() < 0.2


def test_a_batch_without_its_condition_or_with_another_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"batch: has keys \['image', 'label'\], but a CGAN needs 'attributes' too"):
        fit(cgan(Attributes(2)), Batches([batch()]), tmp_path)
    with pytest.raises(ValueError, match=r"label: got \[2\], allowed are 0 to 1, the model's 2 classes"):
        fit(cgan(Labels(2)), Batches([batch()]), tmp_path)
    with pytest.raises(ValueError, match="replay_size: got 4"):
        cgan(replay_size=4)


# ---- rows of a grid


@pytest.mark.parametrize(
    ("condition", "text", "values"),
    [
        (Labels(10), "3", [3]),
        (Labels(10), "0..3", [0, 1, 2, 3]),
        (Labels(10), "7, 2..3", [7, 2, 3]),
        (Attributes(3), "1,0..1,0", [[1, 0, 0], [1, 1, 0]]),
        (Codes([3], 2), "1..2,-1..1:3,0.5", [[c, x, 0.5] for c in (1, 2) for x in (-1, 0, 1)]),
    ],
)
def test_rows_from_text(condition, text, values):
    assert rows_of(condition, text).tolist() == values


@pytest.mark.parametrize(
    ("condition", "text", "sentence"),
    [
        (Labels(10), "0..10", r"label: got \[10\], allowed are 0 to 9"),
        (Labels(10), "cat", r"label: got 'cat', allowed are a number, a..b, a..b:n and _"),
        (Labels(10), "5..3", r"label: got '5..3'"),
        (Codes([3], 1), "1", r"code: got shape \(1, 1\), allowed are 2 numbers"),
        (Attributes(3), "1,0", r"attributes: got shape \(1, 2\), allowed are 3 zeros and ones"),
    ],
)
def test_wrong_texts(condition, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        rows_of(condition, text)


def pixel_cnn():
    network = partial(GatedPixelCNNNetwork, channels=4, num_layers=1, head_channels=4)
    return GatedPixelCNN(SHAPE, network=network, num_classes=3)


MODELS = {"cgan": cgan, "cvae": lambda: CVAE(SHAPE, num_classes=3, latent_dim=2), "gated_pixel_cnn": pixel_cnn}


@pytest.mark.parametrize("name", MODELS)
def test_one_row_a_label_from_a_checkpoint(name, tmp_path):
    path, out = saved(MODELS[name](), tmp_path / "a.ckpt", tmp_path), tmp_path / "rows.png"
    model = pl_genmodels.load(path)
    main(["sample", "--ckpt_path", path, "--label", "0..2", "--columns", "4", "--out", str(out), "--seed", "1"])
    rows = torch.cat([model.sample(4, label=torch.full((4,), label), seed=1) for label in range(3)])
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(grid_picture(rows, 4, 8)))
    main(["sample", "--ckpt_path", path, "--label", "2", "--num_samples", "5", "--out", str(tmp_path / "one.npz")])
    found = np.load(tmp_path / "one.npz")["samples"] / 127.5 - 1
    expected = model.sample(5, label=torch.full((5,), 2), seed=0).numpy()
    assert np.abs(found - expected).max() <= 1 / 127.5


def test_wishes_that_cannot_be_fulfilled(tmp_path, capsys):
    path = saved(cgan(), tmp_path / "a.ckpt", tmp_path)
    ask = partial(fails, capsys, "sample", "--ckpt_path", path, "--out", str(tmp_path / "a.png"))
    assert "label: got [12], allowed are 0 to 2, the model's 3 classes" in ask("--label", "12")
    assert "code: got 1,0.5, but a CGAN is conditional on label" in ask("--code", "1,0.5")
    assert "num_samples: got 4, allowed with 3 of label are multiples of it" in ask(
        "--label", "0..2", "--num_samples", "4"
    )
    plain = saved(gan(SHAPE), tmp_path / "b.ckpt", tmp_path)
    assert "label: got 1, but a GAN knows no labels" in fails(capsys, "sample", "--ckpt_path", plain, "--label", "1")


def test_grids_while_training(tmp_path):
    model = cgan()
    grids = [ConditionGrid(6, columns=3), ConditionGrid(6, rows="2,0", columns=2)]
    grids[1].key = "some"
    fit(model, Batches([batch(), batch()]), tmp_path, callbacks=grids)
    files = sorted((tmp_path / "conditions").glob("*.png"))
    assert [file.stem for file in files] == ["000000000", "000000006", "000000012"]
    rows = torch.cat([model.sample(3, label=label, seed=0) for label in range(3)])
    assert np.array_equal(np.asarray(Image.open(files[-1])), np.asarray(grid_picture(rows, 3, 8)))
    rows = torch.cat([model.sample(2, label=label, seed=0) for label in (2, 0)])
    some = Image.open(tmp_path / "some" / "000000012.png")
    assert np.array_equal(np.asarray(some), np.asarray(grid_picture(rows, 2, 8)))
    with pytest.raises(ValueError, match="ConditionGrid: got GAN, allowed are models with a condition"):
        fit(gan(SHAPE), Batches([batch()]), tmp_path, callbacks=[ConditionGrid()])
    with pytest.raises(ValueError, match=r"label: got \[3\]"):
        fit(cgan(), Batches([batch()]), tmp_path, callbacks=[ConditionGrid(rows="3")])


def test_an_exported_generator_takes_latents_with_their_condition(tmp_path):
    path, out = saved(cgan(), tmp_path / "a.ckpt", tmp_path), tmp_path / "a.pt2"
    main(["export", "--ckpt_path", path, "--format", "torch_export", "--out", str(out)])
    latents, condition = torch.randn(5, 4), torch.eye(3)[[0, 1, 2, 0, 1]]
    found = torch.export.load(str(out)).module()(torch.cat([latents, condition], 1))
    assert torch.allclose(found, generator_of(path, "AtoB").eval()(latents, condition), atol=1e-5)
