"""Few labels for many images."""

import pytest
import torch

from pl_genmodels.data import Digits, Faces, Ring8, rebuild


def told(data):
    labels = data.load("train").tensors["label"]
    return labels, (labels >= 0).nonzero().flatten().tolist()


def test_as_many_labels_of_each_class_as_asked_for():
    everything = Digits(size=8).load("train").tensors
    data = Digits(size=8, labels_per_class=3)
    labels, known = told(data)
    assert labels[known].bincount().tolist() == [3] * 10
    assert torch.equal(labels[known], everything["label"][known])
    assert labels[labels < 0].unique().tolist() == [-1]
    assert torch.equal(data.load("train").tensors["image"], everything["image"])
    for split in ("val", "test"):
        assert torch.equal(data.load(split).tensors["label"], Digits(size=8).load(split).tensors["label"])


def test_the_seed_chooses_and_a_checkpoint_remembers():
    data = Digits(size=8, labels_per_class=2, seed=5)
    assert told(data)[1] == told(rebuild(data.hparams))[1]
    assert told(data)[1] != told(Digits(size=8, labels_per_class=2, seed=6))[1]
    assert data.fingerprint != Digits(size=8).fingerprint


def test_every_image_comes_with_a_labelled_one():
    data = Digits(size=8, labels_per_class=1, batch_size=50, flip=True)
    train, (labels, known) = data.load("train"), told(data)
    seen = []
    for raw in data.train_dataloader():
        assert raw["labelled_image"].shape == raw["image"].shape
        for image, label in zip(raw["labelled_image"], raw["labelled_label"], strict=True):
            (index,) = [one for one in known if torch.equal(train.tensors["image"][one], image)]
            assert label == labels[index] >= 0
            seen.append(index)
    assert [seen.count(index) for index in known] == [150] * 10, "all take turns alike"
    assert len(set(seen[:50])) > 5, "a batch brings several"
    raw["flip"][:] = True
    out = data.on_after_batch_transfer(raw, 0)
    assert torch.equal(out["labelled_image"], (raw["labelled_image"].float() / 127.5 - 1).flip(-1))
    item = train[7]
    assert torch.equal(item["image"], train.tensors["image"][7])
    assert item["labelled_label"] >= 0


def test_points_and_black_and_white_pictures_too():
    labels, known = told(Ring8(num_samples=400, labels_per_class=2))
    assert labels[known].bincount().tolist() == [2] * 8
    static = Digits(size=8, labels_per_class=1, binarize="static").load("train")
    assert static[0]["labelled_image"].unique().tolist() == [0, 255]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (Digits(size=8, labels_per_class=0), "labels_per_class: got 0, allowed for Digits train is 1 to 1"),
        (Digits(size=8, labels_per_class=1000), "labels_per_class: got 1000, allowed for Digits train is 1 to 1"),
        (
            Faces(labels_per_class=1),
            "labels_per_class: got 1, allowed for Faces train is none, because it has no",
        ),
    ],
)
def test_labels_that_there_are_not(data, sentence):
    with pytest.raises(ValueError, match=sentence):
        data.load("train")
    assert len(data.load("val"))
