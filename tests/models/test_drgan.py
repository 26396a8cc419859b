"""DR-GAN: both players' terms by hand, what each logit learns from, several pictures of an identity, and its use."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import pl_genmodels
from pl_genmodels.callbacks import TranslationGrid
from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.data import People
from pl_genmodels.models.conditional_gan.drgan import DRGAN
from pl_genmodels.networks import MLPEncoder, MLPGenerator, RotatingGenerator
from tests.small import Batches, fit

SHAPE, PEOPLE, POSES, COUNT = (3, 16, 16), 4, 3, 6


def small(weighted=False, **arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(
            RotatingGenerator,
            num_features=5,
            latent_dim=2,
            encoder=partial(MLPEncoder, hidden_dim=8),
            decoder=partial(MLPGenerator, hidden_dim=8),
            weighted=weighted,
        ),
        "discriminator": partial(MLPEncoder, hidden_dim=8),
    }
    counts = {"num_identities": PEOPLE, "num_poses": POSES}
    return DRGAN(SHAPE, **{**networks, **counts, **arguments})


def batch(others=0, count=COUNT):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(count, 1 + others, *SHAPE, generator=generator) * 2 - 1
    pose = torch.randint(POSES, (count, 1 + others), generator=generator)
    found = {"image": image[:, 0], "pose": pose[:, 0], "label": torch.arange(count) % PEOPLE}
    return {**found, "others": image[:, 1:], "other_poses": pose[:, 1:]} if others else found


def by_hand(model, images, identities, poses):
    """Means of -log p of identities and poses over m pictures each, (B, m, C, H, W), (B, m) and (B, m) to (B,)."""
    said = model.discriminator(images.flatten(0, 1)).unflatten(0, images.shape[:2])
    who = said[..., : PEOPLE + 1].log_softmax(-1).gather(-1, identities[..., None]).squeeze(-1)
    how = said[..., PEOPLE + 1 :].log_softmax(-1).gather(-1, poses[..., None]).squeeze(-1)
    return -who.mean(1), -how.mean(1)


@pytest.mark.parametrize("others", [0, 2])
def test_terms_by_hand(others):
    model = small(weighted=True, pose_weight=0.5)
    drawn = model.draw(batch(others))
    made = model.generate(drawn)["image"]
    number = others + 2 if others else 1
    assert made.shape == (COUNT, number, *SHAPE), "of each picture, and of all of them"
    encoded = model.generator.encoder(model.pictures(drawn).flatten(0, 1)).unflatten(0, (COUNT, -1))
    features, weights = encoded[..., :-1], encoded[..., -1:].sigmoid()
    codes = [*features.unbind(1), (weights * features).sum(1) / weights.sum(1)][:number]
    told = [F.one_hot(drawn["wanted"], POSES), drawn["latent"]]
    images = torch.stack([model.generator.decoder(torch.cat([code, *told], 1)) for code in codes], 1)
    assert torch.allclose(made, images, atol=1e-6), "one pose and one latent for an identity"

    every = lambda values, count: values[:, None].expand(-1, count)
    terms = model.generator_terms(drawn, {"image": made})
    who, how = by_hand(model, made, every(drawn["label"], number), every(drawn["wanted"], number))
    assert torch.allclose(terms["identity"], who, atol=1e-6)
    assert torch.allclose(terms["pose"], 0.5 * how, atol=1e-6)
    terms = model.discriminator_terms(drawn, {"image": made})
    poses = torch.cat([drawn["pose"][:, None], drawn["other_poses"]], 1) if others else drawn["pose"][:, None]
    who, how = by_hand(model, model.pictures(drawn), every(drawn["label"], others + 1), poses)
    nobody = torch.full((COUNT, number), PEOPLE)
    assert torch.allclose(terms["identity"], who, atol=1e-6)
    assert torch.allclose(terms["pose"], 0.5 * how, atol=1e-6)
    assert torch.allclose(terms["fake"], by_hand(model, made, nobody, torch.zeros_like(nobody))[0], atol=1e-6)


def gradient_of_logits(model, term):
    """Mean absolute gradient of each logit's bias."""
    bias = model.discriminator.layers[-1].bias
    return torch.autograd.grad(term.mean(), bias, retain_graph=True)[0]


def test_what_each_logit_learns_from():
    model = small()
    assert model.discriminator.num_features == PEOPLE + 1 + POSES
    drawn = model.draw(batch())
    generated = model.generate(drawn)
    of_d, of_g = (getattr(model, f"{player}_terms")(drawn, generated) for player in model.players)
    poses = slice(PEOPLE + 1, None)
    assert not gradient_of_logits(model, of_d["fake"])[poses].any(), "poses are learnt from real pictures only"
    assert gradient_of_logits(model, of_d["pose"])[poses].all()
    nobody = gradient_of_logits(model, of_g["identity"])[PEOPLE]
    assert nobody > 0, "the generator pays for being taken for nobody"
    assert gradient_of_logits(model, of_d["fake"])[PEOPLE] < 0
    for term in of_g.values():
        of_parts = torch.autograd.grad(term.mean(), list(model.generator.parameters()), retain_graph=True)
        assert all(part.any() for part in of_parts)


def test_poses_asked_for_are_drawn_from_all_of_them_whatever_the_pictures_show():
    model = small()
    torch.manual_seed(0)
    given = batch(count=3000)
    wanted = model.draw(given)["wanted"]
    assert torch.bincount(wanted, minlength=POSES).float().div(3000).sub(1 / POSES).abs().max() < 0.04
    assert (wanted == given["pose"]).float().mean().sub(1 / POSES).abs() < 0.04
    latent = model.draw(given)["latent"]
    assert -1 <= latent.min() < -0.99 < 0.99 < latent.max() <= 1


def test_equal_weights_are_a_mean_and_one_picture_needs_none():
    model = small(weighted=True)
    images = model.pictures(batch(2))
    last = model.generator.encoder.layers[-1]
    with torch.no_grad():
        last.weight[-1] = 0
    features, joint = model.generator.codes(images)
    assert torch.allclose(joint, features.mean(1), atol=1e-6)
    for weight in (-200.0, 0.0, 50.0):
        with torch.no_grad():
            last.bias[-1] = weight
        assert torch.allclose(model.generator.codes(images)[1], joint, atol=1e-6)
        assert torch.allclose(model.encode(images[:, 0]), features[:, 0], atol=1e-6)
    plain = small()
    assert plain.generator.encoder.num_features == 5
    features, joint = plain.generator.codes(images)
    assert torch.allclose(joint, features.mean(1), atol=1e-6)


def test_the_discriminator_waits_once_it_is_strong():
    model = small(generator_steps=4, strong_after=3)
    played = []
    for model.generator_updates in range(12):
        played.append(model.plays("discriminator"))
    assert played == [True, True, True, True, False, False, False, True, False, False, False, True]


def test_turns_people_and_shows_it(tmp_path):
    data = People(16, PEOPLE, 2, POSES, 2, images_per_person=3, batch_size=8)
    model, path = small(weighted=True), tmp_path / "a.ckpt"
    runner = fit(model, data, tmp_path, callbacks=[TranslationGrid(24, num_samples=3)])
    runner.save_checkpoint(path)
    indices = torch.linspace(0, len(data.load("val")) - 1, 3).round().long()
    shown = data.on_after_batch_transfer(data.load("val").gather(indices), 0)
    given = torch.cat([shown["image"][:, None], shown["others"]], 1)
    again = pl_genmodels.load(path)
    rows = [*given.unbind(1), *(again.rotate(given, pose, seed=0) for pose in range(POSES))]
    found = np.asarray(Image.open(tmp_path / "translations" / "000000024.png"))
    assert np.array_equal(found, np.asarray(grid_picture(torch.stack(rows, 1).flatten(0, 1), 6, 4)))
    assert torch.equal(again.translate(given, seed=0), rows[4])
    mixed = again.rotate(given, torch.tensor([2, 0, 1]), seed=0)
    assert torch.allclose(mixed, torch.stack([rows[5][0], rows[3][1], rows[4][2]]), atol=1e-6)
    assert again.predict_step(shown, 0).shape == (3, *SHAPE)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_identities": 1}, "num_identities: got 1, allowed is 2 or more"),
        ({"num_poses": 1}, "num_poses: got 1, allowed is 2 or more"),
        ({"pose_weight": -1.0}, "pose_weight: got -1.0"),
        ({"generator_steps": 0}, "generator_steps: got 0"),
        ({"front": 3}, "front: got 3, allowed are 0 to 2"),
    ],
)
def test_what_is_out_of_range(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**arguments)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pose": None}, "needs 'pose' too"),
        ({"pose": torch.full((COUNT,), 3)}, "pose: got numbers from 3 to 3, allowed are 0 to 2"),
        ({"label": torch.arange(COUNT)}, "label: got numbers from 0 to 5, allowed are 0 to 3"),
    ],
)
def test_batches_that_do_not_fit(changes, sentence, tmp_path):
    wrong = {key: value for key, value in {**batch(), **changes}.items() if value is not None}
    with pytest.raises(ValueError, match=sentence):
        fit(small(), Batches([wrong]), tmp_path)


def test_pictures_and_poses_that_there_are_not():
    model = small()
    with pytest.raises(ValueError, match=r"images: got shape \(2, 3, 8, 8\), allowed are \(3, 16, 16\)"):
        model.translate(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match="pose: got 3, allowed are 0 to 2"):
        model.rotate(batch()["image"], 3)
    with pytest.raises(ValueError, match="direction: got 'BtoA', which a DRGAN has not"):
        model.translate(batch()["image"], "BtoA")
