"""Age-cGAN shows drawn people at other ages and keeps who they are: rows as in `test_gan.py`."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.learning.bench import Check, assert_learns
from tests.learning.test_translation import from_config

pytestmark = pytest.mark.learning

LAST = {"age_cgan": (0.0392, 0.264, 0.0017, 0.997, 0.844)}  # measured last, in the order of the checks


@cache
def reader(images, labels, classes, steps=500):
    """A classifier that has nothing of the model's, of drawn people with noise."""
    torch.manual_seed(1)
    halvings = [nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.ReLU()) for a, b in ((3, 32), (32, 64), (64, 64))]
    network = nn.Sequential(*halvings, nn.Flatten(), nn.Linear(64 * 16, classes))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(steps):
        rows = torch.randint(len(images), (64,))
        loss = F.cross_entropy(network(images[rows] + 0.1 * torch.randn(64, *images.shape[1:])), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.requires_grad_(False).eval()


@cache
def people(data):
    """All pictures that train, in [-1, 1], with people and ages."""
    items = data.load("train")
    found = items.gather(torch.arange(len(items)))
    return found["image"] / 127.5 - 1, found["identity"], found["label"]


def share(network, images, wanted):
    return (network(images).argmax(1) == wanted).float().mean().item()


def aged(model, data, latents, ages):
    """How often pictures of latents at each of the other ages show the person and the age."""
    images, *labels = people(data)
    by_person, by_age = (reader(images, each, int(each.max()) + 1) for each in labels)
    found = []
    for more in (1, 2, 3):
        target = (ages + more) % 4
        made = model.decode(latents, target)
        found.append((share(by_person, made, labels[0]), share(by_age, made, target)))
    return torch.tensor(found).mean(0).tolist()


@cache
def trained():
    """The config's model and data."""
    model, data = from_config("age_cgan")
    return model.eval(), data


def age_cgan():
    """Latents by the encoder alone, by pixels and by the recogniser, of all people who train."""
    model, data = trained()
    images, _, ages = people(data)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    start, found = model.preserve(images, num_steps=0), model.preserve(images)
    by_pixels = model.preserve(images, features=lambda image: image.flatten(1))
    changed = sum(not torch.equal(value, before[key]) for key, value in model.state_dict().items())
    searches = (start, by_pixels, found)
    (first, _), (pixels, _), (person, age) = (aged(model, data, each.points, ages) for each in searches)
    last = LAST["age_cgan"]
    return [
        Check("weights that the search changed", changed, 0, 0, 0),
        Check("steps that raised a loss", (found.trace.diff(dim=0) > 0).sum().item(), 0, 0, 0),
        Check("share of the distance left", (found.losses.mean() / start.losses.mean()).item(), 0, 0.5, last[0]),
        Check("people kept, more than by the encoder", person - first, 0.2, 1, last[1]),
        Check("people kept, more than by pixels", person - pixels, 0, 1, last[2]),
        Check("people kept", person, 0.8, 1, last[3]),
        Check("age as asked", age, 0.8, 1, last[4]),
    ]


ROWS = {"age_cgan": [age_cgan]}


@pytest.mark.parametrize("stem", ROWS)
def test_system_learns(stem):
    assert_learns(ROWS[stem])


def test_latents_sought_at_another_age_do_not_show_that_age():
    """The mistake of a search at the age that is wanted; 0.807 and, so, 0.745 when they were measured last."""
    model, data = trained()
    images, _, ages = people(data)
    target = (ages + 2) % 4
    made = [model.decode(model.preserve(images, at).points, target) for at in (ages, target)]
    by_age = reader(images, ages, 4)
    right, wrong = (share(by_age, each, target) for each in made)
    print(f"age as asked, sought at the own age {right:.3f}, at the wanted one {wrong:.3f}")
    assert wrong < 0.8 <= right


def test_latents_without_bounds_leave_what_the_generator_knows(monkeypatch):
    """The recogniser is met still better, but ages are not shown as they are asked for: 0.778 when measured last."""
    model, data = trained()
    images, _, ages = people(data)
    monkeypatch.setattr(model, "search_tail", 1e-6)
    person, age = aged(model, data, model.preserve(images).points, ages)
    print(f"people kept {person:.3f}, age as asked {age:.3f}")
    assert age < 0.8
