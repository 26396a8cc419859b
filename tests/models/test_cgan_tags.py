"""Words for pictures: what a vote counts, and the command that prints it."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from pl_genmodels.cli import main
from pl_genmodels.data import TaggedShapes
from pl_genmodels.layers import Features
from pl_genmodels.models.conditional_gan.cgan_tags import CGANTags
from pl_genmodels.networks import ConcatDiscriminator, ConcatGenerator, MLPDiscriminator, MLPGenerator
from pl_genmodels.networks.mirza import TwoWayDiscriminator
from tests.small import Batches, fit, gan, loader


def model_of_tags(dim=4, num_features=3):
    torch.manual_seed(0)
    generator = partial(ConcatGenerator, latent_dim=2, generator=partial(MLPGenerator, hidden_dim=8))
    discriminator = partial(ConcatDiscriminator, discriminator=partial(MLPDiscriminator, hidden_dim=8))
    return CGANTags((dim,), condition=Features(num_features), generator=generator, discriminator=discriminator)


def test_votes_are_counts_of_nearest_words():
    model, features, vectors = model_of_tags(), torch.randn(5, 3), 3 * torch.randn(7, 4)
    votes = model.votes(features, vectors, num_samples=20, num_nearest=2, seed=3)
    made = model.describe(features, 20, seed=3)
    assert made.shape == (5, 20, 4)
    wanted = torch.zeros(5, 7).long()
    for picture in range(5):
        for sample in range(20):
            cosines = torch.stack([F.cosine_similarity(made[picture, sample], word, 0) for word in vectors])
            wanted[picture, cosines.argsort(descending=True)[:2]] += 1
    assert torch.equal(votes, wanted)
    assert torch.equal(model.votes(features[3:], vectors, num_samples=20, num_nearest=2, seed=3), votes[3:])
    tags = model.tags(features, vectors, 7, num_samples=20, num_nearest=2, seed=3)
    assert all(sorted(row) == list(range(7)) for row in tags.tolist())
    assert bool((votes.gather(1, tags).diff(dim=1) <= 0).all())


def test_both_players_are_told_the_features(tmp_path):
    model = model_of_tags()
    batch = {"image": torch.randn(6, 4), "features": torch.randn(6, 3)}
    drawn = model.draw(batch)
    assert torch.equal(drawn["condition"], batch["features"])
    generated = model.generate(drawn)
    assert torch.equal(generated["image"], model.generator(drawn["latent"], batch["features"]))
    real, fake = (model.discriminator(each, batch["features"]) for each in (batch["image"], generated["image"]))
    terms = model.discriminator_terms(drawn, generated)
    assert torch.allclose(terms["adversarial"], F.softplus(-real) + F.softplus(fake))
    with pytest.raises(ValueError, match="a CGANTags needs 'features' too"):
        fit(model, Batches([{"image": batch["image"]}]), tmp_path)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda m: m.describe(torch.zeros(2, 3), 0), "num_samples: got 0, allowed is 1 or more"),
        (lambda m: m.describe(torch.zeros(2, 4), 1), r"features: got torch.float32 of shape \(2, 4\), allowed are 3"),
        (lambda m: m.describe(torch.full((2, 3), torch.nan), 1), "features: got .*, allowed are 3 finite numbers"),
        (
            lambda m: m.votes(torch.zeros(2, 3), torch.zeros(7, 5)),
            r"vectors: got shape \(7, 5\), allowed is \('V', 4\)",
        ),
        (lambda m: m.votes(torch.zeros(2, 3), torch.zeros(7, 4)), "num_nearest: got 20, allowed is 1 to 7"),
        (lambda m: m.tags(torch.zeros(2, 3), torch.zeros(7, 4), 8), "num_tags: got 8, allowed is 1 to 7"),
        (lambda m: Features(0), "num_features: got 0, allowed is 1 or more"),
    ],
)
def test_what_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(model_of_tags())


def test_the_papers_discriminator_of_tags():
    """ReLU of word and picture, maxout of three pieces of both."""
    make = partial(TwoWayDiscriminator, (5,), 6, 3, 4, 7, dropout=0.0, pieces=1, joint_pieces=3)
    network, word, features = make(), torch.randn(2, 5), torch.randn(2, 6)
    first, second = F.relu(network.of_image[0](word)), F.relu(network.of_condition[0](features))
    joint, _, last = network.joint
    pieces = joint.linear(torch.cat([first, second], 1)).view(2, 7, 3)
    assert torch.allclose(network(word, features), last(pieces.amax(2)).squeeze(1))
    for wrong in ({"pieces": 0}, {"joint_pieces": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: got"):
            TwoWayDiscriminator((5,), 6, **wrong)


# ---- the command


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tags")
    runner = fit(model_of_tags(16, 128), TaggedShapes(num_pictures=48), folder, max_steps=2)
    runner.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt"


def test_words_are_printed(checkpoint, tmp_path, capsys):
    main(["tags", "--ckpt_path", str(checkpoint), "--num_samples", "5"])
    *lines, last = capsys.readouterr().out.splitlines()
    words = TaggedShapes().words
    assert [line.split("\t")[0] for line in lines] == [f"test {number}" for number in range(12)]
    assert all(set(line.split("\t")[1].split(", ")) <= set(words) for line in lines)
    right = [words.index(word) // 3 for line in lines for word in line.split("\t")[1].split(", ")]
    share = sum(kind in right[3 * kind : 3 * kind + 3] for kind in range(12)) / 12
    assert last == f"a true tag among 3: {share:.3f}"


def test_words_of_given_pictures(checkpoint, tmp_path, capsys):
    from PIL import Image

    images, _ = TaggedShapes(num_pictures=48).pictures("test")
    for number in (5, 3):
        Image.fromarray(images[number].permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    main(["tags", "--ckpt_path", str(checkpoint), "--num_samples", "5"])
    lines = capsys.readouterr().out.splitlines()
    main(["tags", "--ckpt_path", str(checkpoint), "--num_samples", "5", "--input", str(tmp_path)])
    assert capsys.readouterr().out.splitlines() == [
        lines[number].replace(f"test {number}", f"{number}.png") for number in (3, 5)
    ]


def test_other_models_have_no_words(tmp_path, capsys):
    fit(gan(), loader(1), tmp_path).save_checkpoint(tmp_path / "gan.ckpt")
    with pytest.raises(SystemExit):
        main(["tags", "--ckpt_path", str(tmp_path / "gan.ckpt")])
    assert "tags: the checkpoint is of a GAN, allowed are models of tags: CGANTags" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["tags", "--ckpt_path", str(tmp_path / "gan.ckpt"), "--split", "rest"])
    assert "split: got 'rest', allowed are train, val, test" in capsys.readouterr().err
