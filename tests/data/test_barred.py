"""Pictures with and without something."""

from __future__ import annotations

import pytest
import torch
from torchvision.datasets import celeba

from pl_genmodels.data import BarredDigits, CelebAByAttribute, Digits, UnpairedSet
from tests.data.test_torchvision_sets import write_celeba


def test_the_bar_is_all_that_pairs_differ_in():
    data = BarredDigits(size=16)
    pairs = data.load("val").tensors
    source, target = pairs["source"], pairs["target"]
    assert source.shape == target.shape == (149, 1, 16, 16)
    assert data.bar_rows == slice(1, 3)
    assert target[:, :, :4].max() == 0, "digits leave room above"
    assert (target[:, :, 4:] > 0).any()
    below = torch.arange(16) >= 3
    assert torch.equal(source[:, :, below], target[:, :, below])
    bars = source[:, 0, data.bar_rows]
    assert torch.equal(bars[:, 0], bars[:, 1])
    assert set(bars.unique().tolist()) == {0, 255}
    assert torch.equal((bars[:, 0] > 0).sum(1), torch.full((149,), 4))
    lefts = bars[:, 0].argmax(1)
    assert set(lefts.tolist()) == set(range(13)), "at every place"
    ends = (bars[:, 0] > 0).int().diff(dim=1).abs().sum(1)
    assert ends.max() <= 2, "in one piece"
    assert torch.equal(data.load("val").tensors["source"], source)
    assert torch.equal(pairs["label"].sort().values, Digits().load("val").tensors["label"].sort().values)


def test_halves_train_that_share_no_digit():
    data = BarredDigits(size=16, channels=3, bars_per_digit=2)
    train = data.load("train")
    assert isinstance(train, UnpairedSet)
    assert (len(train), train.num_targets) == (1500, 750)
    sources, targets = (train.tensors[name][:, 0, 4:].flatten(1) for name in ("source", "target"))
    assert torch.equal(sources[:750], sources[750:])
    assert not torch.equal(train.tensors["source"][:750], train.tensors["source"][750:]), "bars are drawn anew"
    whole = data.labelled("train", "target").tensors["image"][:, 0, 4:].flatten(1)
    assert sorted(torch.cat([sources[:750], targets]).tolist()) == sorted(whole.tolist())
    assert train.tensors["source"].shape[1:] == data.source_shape == data.target_shape == (3, 16, 16)
    marked, plain = (data.labelled("train", name).tensors for name in ("source", "target"))
    assert torch.equal(marked["label"], plain["label"])
    assert marked["image"][:, :, :4].amax((1, 2, 3)).min() == 255


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"size": 8}, "size: got 8, allowed are 16, 32, 64"),
        ({"bars_per_digit": 0}, "bars_per_digit: got 0, allowed is 1 or more"),
        ({"flip": True}, "flip: got true"),
        ({"channels": 2}, "channels: got 2"),
    ],
)
def test_what_is_out_of_range(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        BarredDigits(**arguments)


def test_celebrities_are_divided_by_an_attribute(tmp_path, monkeypatch):
    write_celeba(tmp_path)
    monkeypatch.setattr(celeba, "check_integrity", lambda path, md5=None: True)
    data = CelebAByAttribute("A1", root=tmp_path, size=8, batch_size=2)
    assert not data.paired
    train = data.load("train")
    assert (train.num_sources, train.num_targets) == (1, 2)
    item = train[0]
    assert item["source"].shape == (3, 8, 8)
    assert item["source"][2].unique().tolist() == [1], "the file of that number has it"
    assert {int(train.target[k]["image"][2, 0, 0]) for k in range(2)} == {0, 2}
    batch = next(iter(data.domain_loader("train", "target")))
    assert batch["image"].shape == (2, 3, 8, 8)
    with pytest.raises(ValueError, match="has 0 images in the source domain"):
        data.load("val")
    with pytest.raises(ValueError, match="attribute: got 'Smile', allowed are A0, A1"):
        CelebAByAttribute("Smile", root=tmp_path).load("train")
    with pytest.raises(ValueError, match="crop: got 179"):
        CelebAByAttribute(crop=179)
