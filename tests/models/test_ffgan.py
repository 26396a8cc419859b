"""FF-GAN: every term by hand, who learns when, what reaches whom, and its use."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

import pl_genmodels
from pl_genmodels.callbacks import TranslationGrid, TranslationQuality
from pl_genmodels.data import TurnedPeople
from pl_genmodels.models.conditional_gan.ffgan import FFGAN
from pl_genmodels.networks import CodedTranslator, EncoderClassifier, MLPDiscriminator, MLPEncoder
from tests.small import Batches, fit

SHAPE, PEOPLE, COEFFICIENTS, COUNT = (3, 16, 16), 4, 5, 6


def small(**arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(CodedTranslator, channels=4, num_halvings=2, norm="none"),
        "regressor": partial(MLPEncoder, hidden_dim=8),
        "recogniser": partial(
            EncoderClassifier, num_classes=PEOPLE, encoder=partial(MLPEncoder, hidden_dim=8), num_features=6
        ),
        "discriminator": partial(MLPDiscriminator, hidden_dim=8),
    }
    counts = {"num_coefficients": COEFFICIENTS, "regressor_steps": 2, "recogniser_steps": 3}
    return FFGAN(SHAPE, SHAPE, **{**networks, **counts, **arguments})


def batch():
    generator = torch.Generator().manual_seed(1)
    source, target = torch.rand(2, COUNT, *SHAPE, generator=generator) * 2 - 1
    visible = torch.rand(COUNT, 1, *SHAPE[1:], generator=generator) < 0.4
    coefficients = torch.randn(COUNT, COEFFICIENTS, generator=generator)
    label = torch.arange(COUNT) % PEOPLE
    return {"source": source, "target": target, "visible": visible, "coefficients": coefficients, "label": label}


def close(found, wanted):
    return torch.allclose(found, wanted, atol=1e-6)


def test_terms_by_hand():
    importance = [1.0, 0.0, 2.0, 0.5, 1.0]
    weights = dict(
        zip(("l1", "smoothness", "symmetry", "adversarial", "identity", "feature"), range(2, 8), strict=True)
    )
    model = small(coefficient_weights=importance, **{f"{name}_weight": value for name, value in weights.items()})
    given = batch()
    generated = model.generate(given)
    fake, real = generated["target"], given["target"]
    told = model.regressor(given["source"])
    assert close(fake, model.generator["AtoB"](given["source"], told))

    found = model.regressor_terms(given, generated)["regression"]
    assert close(found, ((told - given["coefficients"]).square() @ torch.tensor(importance)))

    logits = lambda images: model.recogniser.classes(model.recogniser.encoder(images))
    entropy = lambda images: F.cross_entropy(logits(images), given["label"], reduction="none")
    found = model.recogniser_terms(given, generated)
    shown = {"source": given["source"], "target": real, "fake": fake}
    assert found.keys() == shown.keys()
    assert all(close(found[name], entropy(images)) for name, images in shown.items())
    assert model.recogniser_terms(given, {}).keys() == {"source", "target"}, "alone it sees no translations"

    judge = model.discriminator["B"]
    found = model.discriminator_terms(given, generated)["adversarial"]
    assert close(found, F.softplus(-judge(real)) + F.softplus(judge(fake)))

    mirrored = torch.flip(fake, [3])
    across = torch.stack([fake[..., i + 1] - fake[..., i] for i in range(15)], -1).abs().flatten(1).mean(1)
    along = torch.stack([fake[:, :, i + 1] - fake[:, :, i] for i in range(15)], -1).abs().flatten(1).mean(1)
    uneven = [(fake - mirrored).abs().mean(1)[k][given["visible"][k, 0]].mean() for k in range(COUNT)]
    wanted = {
        "l1": (fake - real).abs().flatten(1).mean(1),
        "smoothness": across + along,
        "symmetry": torch.stack(uneven),
        "adversarial": F.softplus(-judge(fake)),
        "identity": entropy(fake),
        "feature": (model.recogniser.encoder(fake) - model.recogniser.encoder(real)).square().mean(1),
    }
    found = model.generator_terms(given, generated)
    assert found.keys() == wanted.keys()
    assert all(close(found[name], weights[name] * term) for name, term in wanted.items())


def test_each_player_moves_its_own():
    model = small()
    given = batch()
    generated = model.generate(given)
    for term in model.generator_terms(given, generated).values():
        reached = torch.autograd.grad(term.mean(), list(model.generator.parameters()), retain_graph=True)
        assert all(part.abs().sum() > 0 for part in reached)
    others = list(model.regressor.parameters())
    total = sum(term.mean() for term in model.generator_terms(given, generated).values())
    assert not any(g is not None for g in torch.autograd.grad(total, others, allow_unused=True, retain_graph=True))


def test_first_the_regressor_then_the_recogniser_then_all(tmp_path):
    model = small()
    seen, optimize, generate = [], model.optimize, model.generate
    translated = []

    def noting(player, terms):
        seen[-1].append(player)
        optimize(player, terms)

    def generating(given):
        found = generate(given)
        translated.append(bool(found))
        return found

    step = model.training_step

    def training_step(batch, batch_idx):
        seen.append([])
        translated.clear()
        step(batch, batch_idx)
        assert any(translated) == (len(seen) > 5), "nobody translates before there is somebody to see it"

    model.optimize, model.generate, model.training_step = noting, generating, training_step
    runner = fit(model, Batches([batch()] * 8), tmp_path)
    assert seen == [["regressor"]] * 2 + [["recogniser"]] * 3 + [list(model.players)] * 3
    assert runner.global_step == model.generator_updates == 3


def test_frontal_pictures_by_way_of_the_coefficients(tmp_path):
    data = TurnedPeople(16, PEOPLE, 2, 3, batch_size=6)
    model, path = small(regressor_steps=1, recogniser_steps=0), tmp_path / "a.ckpt"
    runner = fit(model, data, tmp_path, callbacks=[TranslationGrid(12, num_samples=3), TranslationQuality()])
    runner.save_checkpoint(path)
    assert len(list((tmp_path / "translations").glob("*.png"))) == 2
    again = pl_genmodels.load(path)
    source = batch()["source"]
    told = again.regress(source)
    assert torch.equal(again.translate(source), again.generator["AtoB"](source, told).detach())
    with pytest.raises(ValueError, match=r"images: got shape \(6, 3, 8, 8\), allowed are \(B, 3, 16, 16\)"):
        again.translate(source[:, :, :8, :8])
    assert "coefficient_weights" not in again.state_dict()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_coefficients": 0}, "num_coefficients: got 0, allowed is 1 or more"),
        ({"regressor_steps": -1}, "regressor_steps: got -1"),
        ({"l1_weight": -1.0}, "l1_weight: got -1.0"),
        ({"coefficient_weights": [1.0]}, r"coefficient_weights: got \[1.0\], allowed are 5 numbers of 0 or more"),
    ],
)
def test_what_is_out_of_range(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**arguments)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"visible": None, "label": None}, "FFGAN needs label and visible too"),
        ({"label": torch.arange(COUNT)}, "label: got numbers from 0 to 5, allowed are 0 to 3"),
        ({"coefficients": torch.zeros(COUNT, 4)}, "num_coefficients: got 5, but the batch's coefficients"),
    ],
)
def test_batches_that_do_not_fit(changes, sentence, tmp_path):
    wrong = {key: value for key, value in {**batch(), **changes}.items() if value is not None}
    with pytest.raises(ValueError, match=sentence):
        fit(small(), Batches([wrong]), tmp_path)
