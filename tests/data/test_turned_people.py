"""Turned people with their frontal pictures: coefficients and visibility are those of the renderer."""

from __future__ import annotations

import math

import pytest
import torch

from pl_genmodels.data import TurnedPeople, rebuild
from pl_genmodels.data.people import MEASURES, Looks, render_people
from pl_genmodels.data.turned_people import visible_from_front

SMALL = {"size": 32, "num_identities": 5, "num_held_out": 4, "num_poses": 5}


def test_pairs_are_the_same_person_from_two_sides():
    data = TurnedPeople(num_ages=2, batch_size=10, **SMALL)
    items = data.load("train")
    found = items.gather(torch.arange(len(items)))
    factors = data.people.factors_of(items.indices)
    yaw, age = math.radians(60) * (factors[:, 1] / 2 - 1), factors[:, 2].float()
    assert torch.equal(found["source"], render_people(factors[:, 0], yaw, age, 32))
    assert torch.equal(found["target"], render_people(factors[:, 0], torch.zeros(len(items)), age, 32))
    front = factors[:, 1] == 2
    assert torch.equal(found["source"][front], found["target"][front])
    assert torch.equal(found["target"], found["target"].flip(3)), "from the front everybody is symmetric"
    assert torch.equal(found["label"], factors[:, 0])
    assert {int(number) for number in data.load("test").gather(torch.arange(20))["label"]} <= {7, 8}
    again = rebuild(data.hparams)
    assert again.fingerprint == data.fingerprint
    data.setup("fit")
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert batch["source"].shape == (10, *data.source_shape)
    assert batch["source"].min() >= -1
    assert batch["visible"].dtype == torch.bool


def test_coefficients_are_the_turn_and_measures_in_units_of_their_range():
    names = ["mouth", "yaw", "hair"]
    data = TurnedPeople(coefficients=names, **SMALL)
    found = data.read(torch.arange(25))
    factors = data.people.factors_of(torch.arange(25))
    assert torch.allclose(found["coefficients"][:, 1], factors[:, 1] / 2.0 - 1)
    for place, name in ((0, "mouth"), (2, "hair")):
        low, high = MEASURES[name]
        measure = Looks(factors[:, 0]).measures[name].flatten()
        assert torch.allclose(low + (high - low) * (found["coefficients"][:, place] + 1) / 2, measure, atol=1e-6)
    assert found["coefficients"].abs().max() <= 1


def test_what_is_in_sight_covers_the_face_less_the_more_it_turns():
    who = torch.zeros(5, dtype=torch.long)
    yaw = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])
    found = visible_from_front(who, yaw, 64)
    assert torch.equal(found[0], found[4].flip(2)), "to either side alike"
    sizes = found.flatten(1).sum(1)
    assert sizes[0] < sizes[1] < sizes[2]
    assert torch.equal(found[2], found[2].flip(2))
    # an eye of the frontal picture that a turn hides: painted skin in the source, out of sight in the mask
    of = Looks(who).measures
    angle = of["eyes"][0, 0, 0].item()
    column = lambda a: int((of["width"][0, 0, 0].item() * math.sin(a) + 1) * 32)
    row = int((1 - 0.2) * 32)
    beyond = torch.tensor([math.pi / 2 - angle + 0.1])
    assert found[2, 0, row, column(angle)]
    assert not visible_from_front(who[:1], beyond, 64)[0, 0, row, column(angle)]
    assert visible_from_front(who[:1], beyond, 64)[0, 0, row, column(-angle)]
    skin = render_people(who[:1], torch.zeros(1), torch.zeros(1), 64)[0]
    covered = found[2, 0, 30:36]
    assert (skin[:, 30:36][:, ~covered] != skin[:, 33, 32][:, None]).any(0).all(), "nothing of the face is left out"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"coefficients": ["yaw", "yaw"]}, r"coefficients: got \['yaw', 'yaw'\], allowed are some of yaw, width"),
        ({"size": 8}, "size: got 8, allowed is 16 or more"),
    ],
)
def test_what_is_out_of_range_is_told(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        TurnedPeople(**{**SMALL, **arguments})
