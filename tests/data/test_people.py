"""Drawn people: what is known of them shows in the pictures, and some are never trained on."""

from __future__ import annotations

import math

import pytest
import torch

from pl_genmodels.data import People, rebuild
from pl_genmodels.data.people import render_people

SMALL = {"size": 32, "num_identities": 5, "num_held_out": 4, "num_poses": 3, "num_ages": 2}


def rendered(identity=0, yaw=0.0, age=0.0, size=64):
    longest = max(len(value) if isinstance(value, list) else 1 for value in (identity, yaw, age))
    spread = lambda value: torch.tensor(value if isinstance(value, list) else [value] * longest)
    return render_people(spread(identity), spread(yaw), spread(age), size).float() / 255


def test_a_person_is_the_same_wherever_it_is_drawn():
    alone, others = rendered(3), rendered([1, 3, 2])
    assert torch.equal(alone[0], others[1])
    assert not torch.allclose(others[0], others[1], atol=0.05)
    assert torch.equal(rendered(3), alone)
    small = torch.nn.functional.avg_pool2d(rendered(3, size=64), 2)
    assert (small - rendered(3, size=32)).abs().mean() < 0.02, "the same person at another size"


def mouth(images):
    """Mean column of what is red above all in the middle of the face, in shares of half the picture."""
    red = (images[:, 0] - images[:, 1:].amax(1) - 0.3).clamp(min=0)[:, 34:42]
    columns = torch.linspace(-1, 1, images.shape[-1])
    return (red.sum(1) * columns).sum(1) / red.sum((1, 2))


def test_a_turned_head_moves_the_mouth_and_nothing_below():
    who = next(k for k in range(20) if mouth(rendered(k)).abs() < 0.02)
    images = rendered(who, yaw=[-0.8, -0.4, 0.0, 0.4, 0.8])
    places = mouth(images)
    assert (places.diff() > 0.05).all()
    assert torch.allclose(places, -places.flip(0), atol=0.03), "to either side alike"
    assert torch.equal(images[:, :, 56:].amax(0), images[:, :, 56:].amin(0)), "shoulders stay"


def test_age_greys_the_hair_and_leaves_the_shirt():
    images = rendered(1, age=[0.0, 0.5, 1.0])
    hair = images[:, :, 9, 32]  # above the forehead
    colourful = (hair.amax(1) - hair.amin(1)).tolist()
    assert colourful[0] > colourful[1] > colourful[2]
    assert torch.equal(images[0, :, 60], images[2, :, 60])


def test_splits_hold_different_people_in_all_poses_and_ages():
    data = People(**SMALL)
    seen = {}
    for split in ("train", "val", "test"):
        items = data.load(split)
        factors = items.gather(torch.arange(len(items)))["factors"]
        assert len(items) == len(data.people_of(split)) * 6 == len(factors.unique(dim=0))
        seen[split] = set(factors[:, 0].tolist())
        assert seen[split] == set(data.people_of(split))
    assert [len(people) for people in seen.values()] == [5, 2, 2]
    assert not seen["train"] & seen["val"]
    assert not seen["val"] & seen["test"]


@pytest.mark.parametrize(("label", "classes"), [("identity", 5), ("pose", 3), ("age", 2)])
def test_the_label_is_the_factor_that_is_asked_for(label, classes):
    data = People(label=label, batch_size=6, **SMALL)
    assert data.num_classes == classes
    data.setup("fit")
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert torch.equal(batch["label"], batch["factors"][:, data.factor_names.index(label)])
    assert batch["image"].shape == (6, 3, 32, 32)
    assert batch["label"].max() < classes
    yaw = math.radians(60) * (batch["factors"][:, 1] - 1)
    expected = render_people(batch["factors"][:, 0], yaw, batch["factors"][:, 2], 32)
    assert torch.allclose(batch["image"], expected.float() / 127.5 - 1, atol=1e-6)
    again = rebuild(data.hparams)
    assert (again.label, again.factor_sizes) == (label, data.factor_sizes)
    assert again.fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"size": 8}, "size: got 8, allowed is 16 or more"),
        ({"num_poses": 0}, "num_poses: got 0"),
        ({"num_held_out": 3}, "num_held_out: got 3, allowed are even numbers of 2 or more"),
        ({"label": "name"}, "label: got 'name', allowed are identity, pose, age"),
    ],
)
def test_what_is_out_of_range_is_told(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        People(**arguments)


def test_others_are_the_same_person_otherwise_and_always_the_same():
    data = People(images_per_person=3, **SMALL)
    items = data.load("train")
    found = items.gather(torch.arange(len(items)))
    assert torch.equal(found["pose"], found["factors"][:, 1])
    assert found["others"].shape == (len(items), 2, 3, 32, 32)
    others = data.factors_of(data.others_of(items.indices).flatten()).unflatten(0, (-1, 2))
    assert torch.equal(others[..., 0], found["label"][:, None].expand(-1, 2))
    assert torch.equal(others[..., 1], found["other_poses"])
    three = torch.cat([data.indices_of(found["factors"])[:, None], data.others_of(items.indices)], 1)
    assert (three.sort(1)[0].diff() > 0).all(), "no picture is its own other"
    yaw = math.radians(60) * (others[:, 1, 1] - 1)
    expected = render_people(others[:, 1, 0], yaw, others[:, 1, 2].float(), 32)
    assert torch.equal(found["others"][:, 1], expected)
    again = rebuild(data.hparams).load("train").gather(torch.tensor([3, 7]))
    assert torch.equal(again["others"], found["others"][[3, 7]])
    assert "others" not in People(**SMALL).load("train")[0]
    transferred = data.on_after_batch_transfer(again, 0)["others"]
    assert transferred.min() >= -1
    assert transferred.dtype == torch.float32
    with pytest.raises(ValueError, match="images_per_person: got 7, allowed is 1 to 6"):
        People(images_per_person=7, **SMALL)
