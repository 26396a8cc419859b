"""AC-GAN and InfoGAN: what the discriminator's second head says, and who learns from it."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pl_genmodels.callbacks import ClusterAccuracy, CodeTraversals
from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.cli import main
from pl_genmodels.data import Sprites
from pl_genmodels.layers import Codes, Labels
from pl_genmodels.losses import R1
from pl_genmodels.metrics.clustering import confusion, majority_accuracy, matched_accuracy
from pl_genmodels.models.conditional_gan.acgan import ACGAN
from pl_genmodels.models.conditional_gan.infogan import InfoGAN
from pl_genmodels.models.engine import split
from pl_genmodels.networks import (
    AuxiliaryDiscriminator,
    ConcatGenerator,
    InfoGANDiscriminator,
    InfoGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
)
from tests.models.harness import Recorder
from tests.small import Batches, fit, gan
from tests.test_cli import fails

SHAPE, COUNT = (1, 8, 8), 6


def small(model, condition, **arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(ConcatGenerator, latent_dim=4, generator=partial(MLPGenerator, hidden_dim=8)),
        "discriminator": partial(AuxiliaryDiscriminator, discriminator=partial(MLPDiscriminator, hidden_dim=8)),
    }
    return model(SHAPE, condition=condition, **{**networks, **arguments})


def batch():
    image = torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {"image": image, "label": torch.arange(COUNT) % 3}


def played(model):
    """A drawn batch, what is generated of it, and the two players' terms."""
    drawn = model.draw(batch())
    generated = model.generate(drawn)
    return drawn, generated, model.discriminator_terms(drawn, generated), model.generator_terms(drawn, generated)


# ---- AC-GAN


def test_both_players_want_the_class_named_and_only_one_the_source():
    model = small(ACGAN, Labels(3), penalties=[R1(2.0)], class_weight=0.5)
    drawn, generated, of_d, of_g = played(model)
    (real, said_real), (fake, said_fake) = model.discriminator(drawn["image"]), model.discriminator(generated["image"])
    entropy = partial(F.cross_entropy, target=drawn["label"], reduction="none")
    assert of_d.keys() == {"adversarial", "class_real", "class_fake", "r1"}
    assert torch.allclose(of_d["adversarial"], F.softplus(-real) + F.softplus(fake))
    assert torch.allclose(of_d["class_real"], 0.5 * entropy(said_real))
    assert torch.allclose(of_d["class_fake"], 0.5 * entropy(said_fake))
    assert of_g.keys() == {"adversarial", "class"}
    assert torch.allclose(of_g["adversarial"], F.softplus(-fake))
    assert torch.allclose(of_g["class"], 0.5 * entropy(said_fake))


def test_a_discriminator_that_knows_nothing_costs_log_2_and_log_k():
    model = small(ACGAN, Labels(10))
    for layer in (model.discriminator.head[-1], model.discriminator.judge.layers[-1]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    _, _, of_d, _ = played(model)
    assert sum(of_d.values()).mean().item() == pytest.approx(2 * math.log(2) + 2 * math.log(10), rel=1e-5)


def test_the_generators_larger_batch_keeps_its_labels():
    model = small(ACGAN, Labels(3), generator_batch_factor=2)
    drawn = model.draw_for_clock(model.draw(batch()))
    generated = model.generate(drawn)
    terms = model.generator_terms(drawn, generated)
    _, said = model.discriminator(generated["image"])
    assert torch.allclose(terms["class"], F.cross_entropy(said, (torch.arange(COUNT) % 3).repeat(2), reduction="none"))


def test_each_part_of_a_larger_batch_keeps_its_classes():
    """Samples are divided by themselves: the second third of them does not belong to the second third of the labels."""
    model = small(ACGAN, Labels(3), generator_batch_factor=2)
    labels = torch.tensor([0, 1, 2, 2, 0, 0])
    for _, part in split(model.draw_for_clock(model.draw({**batch(), "label": labels})), COUNT, 3):
        generated = model.generate(part)
        _, said = model.discriminator(generated["image"])
        told = part["condition"].argmax(1)
        assert len(told) == 4
        found = model.generator_terms(part, generated)["class"]
        assert torch.allclose(found, F.cross_entropy(said, told, reduction="none"))


@pytest.mark.parametrize(("model", "condition"), [(ACGAN, Labels(3)), (InfoGAN, Codes([3], 1))])
def test_earlier_samples_are_not_replayed_under_other_conditions(model, condition):
    with pytest.raises(ValueError, match="replay_size: got 8, allowed is 0 with conditions, which are not kept"):
        small(model, condition, replay_size=8)


def test_classes_are_named():
    model = small(ACGAN, Labels(3))
    image = batch()["image"]
    assert torch.equal(model.classify(image), model.discriminator(image)[1].argmax(1))


# ---- InfoGAN

CODES = Codes([3, 4], 2)


def test_terms_are_the_negative_bounds():
    model = small(InfoGAN, CODES, categorical_weight=2.0, continuous_weight=0.5)
    drawn, generated, of_d, of_g = played(model)
    code, (_, said) = drawn["code"], model.discriminator(generated["image"])
    log_q = F.log_softmax(said[:, :3], 1)[torch.arange(COUNT), code[:, 0].long()]
    log_q = log_q + F.log_softmax(said[:, 3:7], 1)[torch.arange(COUNT), code[:, 1].long()]
    for terms in (of_d, of_g):
        assert terms.keys() == {"adversarial", "categorical", "continuous"}
        assert torch.allclose(terms["categorical"], -2.0 * (log_q + math.log(12)), atol=1e-5)
        normal = torch.distributions.Normal(said[:, 7:], 1.0).log_prob(code[:, 2:])
        assert torch.allclose(terms["continuous"], -0.5 * (normal + math.log(2)).sum(1), atol=1e-5)
    assert torch.equal(drawn["condition"], CODES.vectors(code))


def test_no_code_no_information_and_a_copied_one_gives_all_of_it():
    model = small(InfoGAN, Codes([10], 0))
    nn.init.zeros_(model.discriminator.head[-1].weight)
    nn.init.zeros_(model.discriminator.head[-1].bias)
    assert played(model)[2]["categorical"].abs().max() < 1e-5
    code = torch.arange(10.0)[:, None]
    said = 50 * model.codes.vectors(code)
    assert torch.allclose(model.found_terms(said, {"code": code})["categorical"], torch.tensor(-math.log(10)))


def test_codes_are_drawn_anew_for_the_generators_own_turn():
    model = small(InfoGAN, CODES, fresh_latents=True)
    drawn = model.draw(batch())
    again = model.draw_for_clock(drawn)
    assert not torch.equal(drawn["code"], again["code"])
    assert torch.equal(again["condition"], CODES.vectors(again["code"]))


def test_what_is_read_off_samples():
    model = small(InfoGAN, CODES)
    image = batch()["image"]
    found = model.represent(image)
    assert found.shape == (COUNT, CODES.dim)
    assert torch.allclose(found[:, :3].sum(1), torch.ones(COUNT))
    assert torch.allclose(found[:, 7:], model.discriminator(image)[1][:, 7:])
    assert torch.equal(model.cluster(image), found[:, :3].argmax(1))
    with pytest.raises(ValueError, match="categories: got none"):
        small(InfoGAN, Codes([], 1)).cluster(image)
    with pytest.raises(ValueError, match="continuous_weight: got -1"):
        small(InfoGAN, CODES, continuous_weight=-1)


def test_codes_from_the_command_line_and_scores_of_disentanglement(tmp_path, capsys):
    model, path = small(InfoGAN, Codes([3], 1)), str(tmp_path / "a.ckpt")
    data = Sprites(8, shapes=["square"], num_scales=2, num_orientations=1, num_x=8, num_y=8, batch_size=64)
    fit(model, data, tmp_path).save_checkpoint(path)
    out = tmp_path / "rows.png"
    main(["sample", "--ckpt_path", path, "--code", "0..2,-1..1:2", "--columns", "3", "--out", str(out)])
    rows = [model.sample(3, code=torch.tensor([c, x]), seed=0) for c in range(3) for x in (-1.0, 1.0)]
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(grid_picture(torch.cat(rows), 3, 8)))
    assert "code: got shape (1, 1), allowed are 2 numbers" in fails(
        capsys, "sample", "--ckpt_path", path, "--code", "1"
    )
    main(["encode", "--ckpt_path", path, "--out", str(tmp_path / "codes.npz"), "--split", "test"])
    assert np.load(tmp_path / "codes.npz")["codes"].shape[1] == 4
    capsys.readouterr()
    main(["evaluate", "--ckpt_path", path, "--metrics", "[disentanglement]"])
    printed = capsys.readouterr().out
    for score in ("beta-vae", "factor-vae", "mig", "sap", "dci-disentanglement", "dci-completeness"):
        assert f"{score}-factors128: " in printed


def test_traversals_of_codes(tmp_path):
    model = small(InfoGAN, Codes([3], 1))
    fit(model, Batches([batch()]), tmp_path, callbacks=[CodeTraversals(6, num_steps=4, span=1.5, seed=1)])
    latent = model.draw_latents(1, seed=1)
    drawn = torch.stack([model.sample(1, code=torch.tensor([c, torch.nan]), seed=1)[0] for c in (0.0, 1, 2, 0)])
    found = np.asarray(Image.open(tmp_path / "codes" / "000000006.png"))
    assert np.array_equal(found[: 9 * 8], np.asarray(grid_picture(drawn, 4, 8))[: 9 * 8])
    assert found.shape[0] == (2 * 9 + 1) * 8
    values = torch.linspace(-1.5, 1.5, 4)
    rows = [torch.stack([torch.full((4,), float(c)), values], 1) for c in range(3)]  # of one of the categories
    rows = [np.asarray(grid_picture(model.decode(latent.expand(4, -1), code=row), 4, 8)) for row in rows]
    assert sum(np.array_equal(found[9 * 8 :], row) for row in rows) == 1
    with pytest.raises(ValueError, match="CodeTraversals: got GAN, allowed are models with codes"):
        fit(gan(SHAPE), Batches([batch()]), tmp_path, callbacks=[CodeTraversals()])


def test_the_papers_networks():
    count = lambda network: sum(parameter.numel() for parameter in network.parameters())
    assert count(InfoGANGenerator((1, 28, 28))) == 6_652_481
    judge = InfoGANDiscriminator((1, 28, 28))
    assert count(judge) == 6_558_144 + 1_025
    for outputs, size in ((14, 133_262), (12, 133_004)):
        whole = AuxiliaryDiscriminator((1, 28, 28), outputs, InfoGANDiscriminator, hidden_dim=128)
        assert count(whole.head) == size
    with pytest.raises(ValueError, match="InfoGANGenerator: got images of 10x8, allowed are sides that 4 divides"):
        InfoGANGenerator((1, 10, 8))


# ---- clusters


def test_matches_of_clusters_and_classes():
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    assert matched_accuracy(confusion(torch.tensor([2, 2, 0, 0, 1, 1]), labels, 3, 3)) == 1
    split = confusion(torch.tensor([0, 0, 0, 0, 1, 2]), labels, 4, 3)
    assert matched_accuracy(split) == pytest.approx(3 / 6)
    assert majority_accuracy(split) == pytest.approx(4 / 6)
    assert split.tolist() == [[2, 2, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_clusters_of_held_out_images_are_logged(tmp_path):
    model, recorder = small(InfoGAN, Codes([3], 0)), Recorder()
    batches = [batch(), {**batch(), "image": -batch()["image"]}]

    images, labels = (torch.cat([each[key] for each in batches]) for key in ("image", "label"))
    loader = DataLoader(TensorDataset(images, labels), COUNT)
    runner = fit(model, Batches(batches), tmp_path, callbacks=[ClusterAccuracy()], logger=recorder, limit_val_batches=2)
    runner.validate(model, loader, verbose=False)
    logged = dict(recorder.rows[-1][1])
    clusters = model.cluster(images)
    counts = confusion(clusters, labels, 3, 3)
    assert logged["val/clustering_accuracy"] == pytest.approx(matched_accuracy(counts))
    assert logged["val/clusters_used"] == len(clusters.unique())
    with pytest.raises(ValueError, match="ClusterAccuracy: got GAN, allowed are models that cluster"):
        fit(gan(SHAPE), Batches([batch()]), tmp_path, callbacks=[ClusterAccuracy()])
