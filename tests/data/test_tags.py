"""Tags: words of pictures, as pairs of a vector and features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pl_genmodels.data import TaggedFeatures, TaggedShapes
from pl_genmodels.data.tags import render_shapes


def test_shapes_are_what_their_words_say():
    kinds, places = torch.arange(12), torch.tensor([[7, 8]]).expand(12, -1)
    images = render_shapes(kinds, torch.full((12,), 4), places)
    assert images.dtype == torch.uint8
    inside = images.amax(1) > 0
    square, disc, cross = inside[:3]
    assert square[3:12, 4:13].all()
    assert square.sum() == 81
    assert disc.sum() == sum(x * x + y * y <= 16 for x in range(-4, 5) for y in range(-4, 5))
    assert cross.sum() == 2 * 9 * 3 - 9
    assert bool(((disc | cross) <= square).all())
    words = TaggedShapes().words
    assert words[:3] == ["red square", "scarlet box", "crimson block"]
    assert words[33:] == ["yellow cross", "golden plus", "amber star"]
    assert len(set(words)) == 36
    red, green = images[0].flatten(1).amax(1), images[3].flatten(1).amax(1)
    assert red.argmax() == 0
    assert green.argmax() == 1


def test_pairs_of_a_picture_and_each_of_its_words():
    data = TaggedShapes(num_pictures=48, word_dim=5, batch_size=7)
    train = data.load("train")
    assert len(train) == 3 * 48
    assert data.image_shape == (5,)
    features, pairs = data.tagged("train")
    assert torch.equal(pairs[:, 0].bincount(), torch.full((48,), 3))
    batch = train.gather(torch.arange(3 * 48))
    assert torch.equal(batch["image"], data.word_vectors[batch["word"]])
    assert torch.equal(batch["features"], features[pairs[:, 0]])
    _, kinds = data.pictures("train")
    assert torch.equal(batch["word"] // 3, kinds.repeat_interleave(3))
    assert torch.equal(train[5]["image"], batch["image"][5])
    assert torch.allclose(data.word_vectors.square().mean(1), torch.ones(36))
    shuffled = next(iter(data.train_dataloader()))
    assert {key: value.shape[0] for key, value in shuffled.items() if key != "noise"}.items() >= {
        ("image", 7),
        ("features", 7),
        ("word", 7),
    }


def test_features_are_standardised_and_tell_the_kinds_apart():
    data = TaggedShapes()
    features, _ = data.tagged("train")
    assert torch.allclose(features.mean(0), torch.zeros(128), atol=1e-4)
    others, _ = data.tagged("test")
    (_, kinds), (_, theirs) = data.pictures("train"), data.pictures("test")
    weights = torch.linalg.lstsq(features, torch.nn.functional.one_hot(kinds).float()).solution
    assert ((others @ weights).argmax(1) == theirs).float().mean() > 0.95
    assert not torch.equal(data.pictures("val")[0], data.pictures("test")[0])


def write(path, **changed):
    generator = np.random.default_rng(0)
    arrays = {
        "features": generator.normal(size=(10, 4)),
        "tags": np.array([[0, 2], [0, 1], [3, 0], [7, 1], [8, 0], [9, 2], [9, 1]]),
        "words": np.array(["sea", "sky", "sun"]),
        "vectors": generator.normal(size=(3, 6)).astype(np.float32),
    }
    np.savez(path, **{**arrays, **changed})
    return arrays


def test_a_file_of_features(tmp_path):
    written = write(tmp_path / "tags.npz")
    data = TaggedFeatures(tmp_path / "tags.npz", val_fraction=0.4, word_dim=6)
    assert data.words == ["sea", "sky", "sun"]
    assert [len(data.load(split)) for split in ("train", "val", "test")] == [3, 1, 3]
    features, pairs = data.tagged("test")
    assert torch.equal(features, torch.from_numpy(written["features"][8:]).float())
    assert pairs.tolist() == [[0, 0], [1, 2], [1, 1]]
    last = data.load("test")[2]
    assert torch.equal(last["image"], torch.from_numpy(written["vectors"][1]))
    assert torch.equal(last["features"], features[1])
    with pytest.raises(ValueError, match="input: got pictures, but features of TaggedFeatures come from its file"):
        data.picture_shape  # noqa: B018


@pytest.mark.parametrize(
    "changed",
    [
        {"vectors": np.zeros((3, 5))},
        {"tags": np.array([[10, 0]])},
        {"tags": np.array([[0, 3]])},
        {"tags": np.array([0, 1])},
        {"words": np.array([["sea"], ["sky"], ["sun"]])},
    ],
)
def test_files_of_other_things(tmp_path, changed):
    write(tmp_path / "tags.npz", **changed)
    with pytest.raises(ValueError, match=r"path: .* has .*, allowed are features \(N, K\), tags"):
        TaggedFeatures(tmp_path / "tags.npz", word_dim=6).load("train")


def test_what_is_no_such_file(tmp_path):
    (tmp_path / "tags.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"allowed is a \.npz file of features and tags"):
        TaggedFeatures(tmp_path / "tags.npz").load("train")
    write(tmp_path / "tags.npz", words=np.array(["sea", 3, None], dtype=object))
    with pytest.raises(ValueError, match=r"allowed is a \.npz file of features and tags"):
        TaggedFeatures(tmp_path / "tags.npz").load("train")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: TaggedShapes(num_pictures=47), "num_pictures: got 47, allowed is 48 or more"),
        (lambda: TaggedShapes(word_dim=1), "word_dim: got 1, allowed is 2 or more"),
        (lambda: TaggedFeatures("x.npz", val_fraction=0.0), r"val_fraction: got 0\.0, allowed is more than 0"),
    ],
)
def test_what_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
