"""Age-cGAN: the search for a person's latents leaves all weights alone, and who learns what."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from pl_genmodels.callbacks import EditGrid
from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.cli import main
from pl_genmodels.data import Digits, People
from pl_genmodels.layers import Labels
from pl_genmodels.models.conditional_gan.age_cgan import AgeCGAN
from pl_genmodels.networks import ConcatDiscriminator, ConcatGenerator, MLPDiscriminator, MLPEncoder, MLPGenerator
from tests.small import Batches, fit, gan
from tests.test_cli import fails

SHAPE, COUNT = (1, 8, 8), 6


def small(**arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(ConcatGenerator, latent_dim=4, generator=partial(MLPGenerator, hidden_dim=16)),
        "discriminator": partial(ConcatDiscriminator, discriminator=partial(MLPDiscriminator, hidden_dim=8)),
        "encoder_latent": partial(MLPEncoder, hidden_dim=8),
        "encoder_condition": partial(MLPEncoder, hidden_dim=8),
        "recogniser": partial(MLPEncoder, hidden_dim=16),
    }
    return AgeCGAN(SHAPE, **{"condition": Labels(3), "num_features": 5, **networks, **arguments})


def batch(**entries):
    image = torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = {"label": torch.arange(COUNT) % 3, "identity": torch.arange(COUNT) % 2}
    return {"image": image, **labels, **entries}


def test_terms_by_hand():
    model = small(num_identities=2)
    drawn = model.draw(batch())
    generated = model.generate(drawn)
    own = F.one_hot(drawn["label"], 3).float()
    terms = model.discriminator_terms(drawn, generated)
    real, fake = (model.discriminator(image, own) for image in (drawn["image"], generated["image"]))
    assert terms.keys() == {"adversarial"}, "no pairs with wrong ages"
    assert torch.allclose(terms["adversarial"], F.softplus(-real) + F.softplus(fake))
    terms = model.encoder_terms(drawn, generated)
    assert terms.keys() == {"latent", "condition", "identity"}
    cosines = F.cosine_similarity(model.recogniser(drawn["image"])[:, None], model.people.weight[None], dim=2)
    assert torch.allclose(terms["identity"], F.cross_entropy(16 * cosines, drawn["identity"], reduction="none"))
    assert torch.allclose(model.recognise(drawn["image"]).norm(dim=1), torch.ones(COUNT))
    model.recogniser_noise = 0.5
    torch.manual_seed(1)
    found = model.encoder_terms(drawn, generated)["identity"]
    torch.manual_seed(1)
    noisy = drawn["image"] + 0.5 * torch.randn(COUNT, *SHAPE)
    cosines = F.cosine_similarity(model.recogniser(noisy)[:, None], model.people.weight[None], dim=2)
    assert torch.allclose(found, F.cross_entropy(16 * cosines, drawn["identity"], reduction="none"))


def test_a_recogniser_with_own_weights_stays_as_it_is(tmp_path):
    model = small()
    before = {key: value.clone() for key, value in model.recogniser.state_dict().items()}
    assert not any(p.requires_grad for p in model.recogniser.parameters())
    assert "identity" not in model.encoder_terms(model.draw(batch()), {})
    fit(model, Batches([batch()] * 3), tmp_path)
    assert all(torch.equal(value, before[key]) for key, value in model.recogniser.state_dict().items())
    assert not model.train().recogniser.training
    learns = small(num_identities=2)
    fit(learns, Batches([batch()] * 3), tmp_path)
    assert not any(torch.equal(value, before[key]) for key, value in learns.recogniser.state_dict().items())


def test_the_search_finds_the_person_and_changes_no_weight():
    model, ages = small().eval(), batch()["label"]
    image = model.decode(model.draw_latents(COUNT, seed=1), ages)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [p.requires_grad for p in model.parameters()]
    found = model.preserve(image, ages)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())

    def distance(latents):
        return (model.recognise(model.decode(latents, ages)) - model.recognise(image)).square().sum(1)

    start = model.preserve(image, ages, num_steps=0)
    bound = torch.special.ndtri(torch.tensor(0.98))
    assert torch.allclose(start.points, model.encode(image).clamp(-bound, bound))
    torch.testing.assert_close(found.trace[0], distance(start.points))
    torch.testing.assert_close(found.losses, distance(found.points))
    assert (found.trace.diff(dim=0) <= 0).all()
    assert found.losses.mean() < 0.1 * start.losses.mean()
    assert found.points.abs().max() <= bound + 1e-6


def test_a_picture_of_the_generator_is_found_at_once():
    model = small().eval()
    latents, ages = model.draw_latents(COUNT, seed=0).clamp(-2, 2), batch()["label"]
    model.encode = lambda image: latents
    found = model.preserve(model.decode(latents, ages), ages)
    assert found.losses.abs().max() < 1e-10
    torch.testing.assert_close(found.points, latents)


def test_pixels_and_other_features_are_compared_where_they_are_given():
    model = small(recogniser=None).eval()
    image = batch()["image"]
    found = model.preserve(image, 1, features=lambda images: images.flatten(1))
    torch.testing.assert_close(found.losses, (model.decode(found.points, 1) - image).flatten(1).square().sum(1))
    with pytest.raises(ValueError, match="features: none given, but this AgeCGAN has no recogniser"):
        model.edit(image)
    with pytest.raises(ValueError, match=r"label: got \[5\], allowed are 0 to 2"):
        small().preserve(image, 5)


def test_edits_are_made_of_the_latents_that_were_found():
    model = small().eval()
    image = batch()["image"]
    points = model.preserve(image, model.read(image)).points
    assert torch.allclose(model.edit(image, 2), model.decode(points, 2))
    assert torch.allclose(model.reconstruct(image), model.decode(points, model.read(image)))
    both = model.edits(image, torch.tensor([2, 0]))
    assert both.shape == (COUNT, 2, *SHAPE)
    assert torch.allclose(both[:, 0], model.edit(image, 2), atol=1e-6)
    assert torch.allclose(both[:, 1], model.edit(image, 0), atol=1e-6)


@pytest.fixture(scope="module")
def last(tmp_path_factory):
    """A checkpoint after one batch, and the folder of its run."""
    folder = tmp_path_factory.mktemp("run")
    model = small(condition=Labels(10), search_steps=3)
    runner = fit(model, Digits(8, batch_size=50), folder, max_steps=1, callbacks=[EditGrid(50, num_samples=2)])
    runner.save_checkpoint(folder / "last.ckpt")
    return folder, model


def test_edits_while_training(last, tmp_path):
    folder, model = last
    found = np.asarray(Image.open(folder / "edits" / "000000050.png"))
    chosen = torch.linspace(0, 148, 2).round().long()
    images = Digits(8).load("val").tensors["image"][chosen].float() / 127.5 - 1
    rows = torch.cat([images[:, None], model.edits(images, torch.arange(10))], 1)
    assert np.array_equal(found, np.asarray(grid_picture(rows.flatten(0, 1), 11, 8)))
    with pytest.raises(ValueError, match="EditGrid: got GAN, allowed are models with a latent and encode and edits"):
        fit(gan(SHAPE), Batches([batch()]), tmp_path, callbacks=[EditGrid()])


def test_edits_from_the_command_line(last, tmp_path, capsys):
    folder, model = last
    path, out = str(folder / "last.ckpt"), str(tmp_path / "out.png")
    pixels = Digits(8).load("val").tensors["image"][0]
    Image.fromarray(pixels[0].numpy()).save(tmp_path / "one.png")
    image = pixels[None].float() / 127.5 - 1
    for options, values in (([], torch.arange(10)), (["--label", "7,2"], torch.tensor([7, 2]))):
        main(["change", "--ckpt_path", path, "--input", str(tmp_path / "one.png"), "--out", out, *options])
        rows = torch.cat([image, model.edits(image, values)[0]])
        assert np.array_equal(np.asarray(Image.open(out)), np.asarray(grid_picture(rows, len(rows), 8)))
    for options, sentence in (
        (["--label", "12"], "label: got [12], allowed are 0 to 9"),
        (["--attributes", "1"], "attributes: got 1, but a AgeCGAN is conditional on label"),
        (["--out", "a.txt"], "out: got 'a.txt', allowed is a .png file"),
    ):
        arguments = ["change", "--ckpt_path", path, "--input", str(tmp_path / "one.png"), *options]
        assert sentence in fails(capsys, *arguments)


def test_people_say_who_they_are():
    data = People(label="age", num_poses=2)
    items = data.load("train").gather(torch.arange(20))
    assert torch.equal(items["identity"], items["factors"][:, 0])
    assert torch.equal(items["label"], items["factors"][:, 2])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_features": 0}, "num_features: got 0, allowed is 1 or more"),
        ({"recogniser_noise": -0.1}, "recogniser_noise: got -0.1, allowed is 0 or more"),
        ({"search_steps": -1}, "search_steps: got -1"),
        ({"search_tail": 0.5}, "search_tail: got 0.5, allowed is more than 0 and less than 0.5"),
        ({"num_identities": 2, "recogniser": None}, "num_identities: got 2, allowed is 0 without a recogniser"),
    ],
)
def test_what_is_out_of_range(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**arguments)


def test_people_have_to_be_named(tmp_path):
    with pytest.raises(
        ValueError, match="batch: has no 'identity', but a recogniser that learns needs 'identity' from 0"
    ):
        fit(small(num_identities=2, condition=Labels(10)), Digits(8), tmp_path)
    with pytest.raises(ValueError, match="batch: has identities from 0 to 2, but a recogniser that learns needs"):
        fit(small(num_identities=2), Batches([batch(identity=torch.arange(COUNT) % 3)]), tmp_path)
