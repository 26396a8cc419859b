"""Black and white out of grey, real values out of levels: whose draws they are, and when they are the same."""

import numpy as np
import pytest
import torch
from PIL import Image

from pl_genmodels.data import Digits, ImageData, ImageFolder, Ring8, RingToRing, TensorSet, intensities, loader
from pl_genmodels.data.seeds import item_seeds
from pl_genmodels.losses import Bernoulli

ALL_GREYS = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)


class Greys(ImageData):
    """Every item holds all 256 intensities."""

    def __init__(self, number: int = 40, **kwargs):
        super().__init__(**kwargs)
        self.image_shape = (1, 16, 16)
        self.number = number
        self.save_hyperparameters()

    def load(self, split):
        images = ALL_GREYS.repeat(self.number, 1, 1, 1)
        return TensorSet({"image": images, "label": torch.arange(self.number)}, f"Greys {split}")


def images_by_item(data, loader):
    """All images of one pass, in the order of the items."""
    batches = [data.on_after_batch_transfer(batch, 0) for batch in loader]
    order = torch.cat([batch["label"] for batch in batches]).argsort()
    assert all(batch.keys() == {"image", "label"} for batch in batches)
    return torch.cat([batch["image"] for batch in batches])[order]


def splitmix64(seed, position):
    """Steele, Lea, Flood 2014, in Python's integers."""
    whole = 2**64
    z = (seed + (position + 1) * 0x9E3779B97F4A7C15) % whole
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % whole
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % whole
    return z ^ (z >> 31)


def test_uniform_numbers_are_splitmix64():
    seeds = [0, 1, 2**62 - 1, 123456789]
    found = intensities.uniform(torch.tensor(seeds), (2, 3))
    expected = [[((splitmix64(seed, at) >> 41) + 0.5) / 2**23 for at in range(6)] for seed in seeds]
    assert found.shape == (4, 2, 3)
    assert found.flatten(1).double().tolist() == expected


def test_uniform_numbers_are_uniform_and_independent():
    draws = intensities.uniform(item_seeds(400), (20, 20)).double()
    assert 0 < draws.min() < draws.max() < 1
    counts = torch.histc(draws, 100, 0, 1)
    assert ((counts - 1600) ** 2 / 1600).sum() < 160  # chi-squared of 99 degrees: 99 +- 14
    centred = (draws - 0.5) * 12**0.5
    for other in (centred.roll(1, 0), centred.roll(1, 1), centred.roll(1, 2), centred.flip(0)):
        assert abs((centred * other).mean()) < 4 / 160_000**0.5


def test_dynamic_draws_average_to_the_grey_value():
    data = Greys(batch_size=8, binarize="dynamic")
    passes = torch.stack([images_by_item(data, train) for train in [data.train_dataloader()] for _ in range(25)])
    white = (passes + 1) / 2
    assert white.unique().tolist() == [0, 1]
    assert len({tuple(draw.flatten().tolist()) for draw in passes.flatten(0, 1)}) == 1000  # no two alike
    share = white.double().mean((0, 1)).flatten()
    grey = torch.arange(256).double() / 255
    assert share[0] == 0
    assert share[255] == 1
    errors = (share - grey)[1:-1] / (grey * (1 - grey) / 1000)[1:-1].sqrt()
    assert errors.abs().max() < 4.5
    assert errors.square().mean() == pytest.approx(1, abs=0.4)


def test_held_out_and_static_images_are_drawn_once_for_every_seed():
    first = Greys(batch_size=8, binarize="dynamic")
    held_out = images_by_item(first, first.val_dataloader())
    for seed in (0, 5):
        static = Greys(batch_size=7, seed=seed, binarize="static")
        train = static.train_dataloader()
        once, again = (images_by_item(static, loader) for loader in (static.evaluation_loader("train"),) * 2)
        assert torch.equal(once, again)
        assert torch.equal(once, held_out)
        seen = [static.on_after_batch_transfer(batch, 0) for _ in range(2) for batch in train]
        for batch in seen:
            assert torch.equal(batch["image"], once[batch["label"]])
    assert abs((held_out + 1).mean() / 2 - 0.5) < 0.02
    assert len({tuple(image.flatten().tolist()) for image in held_out}) == 40
    batches = list(first.evaluation_loader("train"))
    assert batches[0]["image"].dtype == torch.uint8, "for metrics that take bytes"
    assert torch.equal(images_by_item(first, batches), held_out)


def test_threshold_is_the_rounding_of_bernoulli():
    grey, cut = Digits(8, batch_size=149), Digits(8, batch_size=149, binarize="threshold")
    (one,), (other,) = (
        [data.on_after_batch_transfer(batch, 0) for batch in data.val_dataloader()] for data in (grey, cut)
    )
    assert other["image"].unique().tolist() == [-1, 1]
    assert torch.equal(one["image"] > 0, other["image"] > 0)
    logits = torch.linspace(-3, 3, 149 * 64).view(149, 1, 8, 8)
    rounded = Bernoulli().log_prob(logits, other["image"])
    assert torch.equal(rounded, Bernoulli().log_prob(logits, one["image"]))
    assert torch.equal(rounded, Bernoulli(binarize=False).log_prob(logits, other["image"]))


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_dequantized_values_fill_their_level(levels):
    level = torch.arange(levels).repeat(2000, 1)
    stored = (level * 255 / (levels - 1)).round().to(torch.uint8).view(2000, 1, 1, levels)
    values = intensities.dequantized(stored, item_seeds(2000), levels)
    within = (values.double() + 1) / 2 * levels - level.view_as(values)
    assert 0 < within.min() < within.max() < 1
    assert torch.equal(((values + 1) / 2 * levels).floor().long(), level.view_as(values))
    assert (within.mean(0) - 0.5).abs().max() < 4.5 / (12 * 2000) ** 0.5


def test_dequantized_batches():
    data = Digits(8, batch_size=149, dequantize=True)
    assert (data.num_levels, Digits(16).num_levels, Digits(8, binarize="static").num_levels) == (17, 256, 2)
    (plain,) = data.val_dataloader()
    first, second = (images_by_item(data, [next(iter(data.val_dataloader()))]) for _ in range(2))
    assert torch.equal(first, second)
    k = (plain["image"].float() / 255 * 16).round()
    order = plain["label"].argsort()
    assert torch.equal(((first + 1) / 2 * 17).floor(), k[order])
    train = data.train_dataloader()
    one, two = (images_by_item(data, train) for _ in range(2))
    assert not torch.equal(one, two)
    assert not torch.equal(one.sort(0).values, two.sort(0).values)


def test_the_draws_of_two_ranks_are_those_of_one(monkeypatch):
    data = Greys(binarize="dynamic", batch_size=8)
    one = images_by_item(data, data.train_dataloader())
    data.batch_size = 4
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(loader, "shard", lambda rank=rank: (rank, 2))
        parts.append([data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()])
    labels = [torch.cat([batch["label"] for batch in part]) for part in parts]
    images = [torch.cat([batch["image"] for batch in part]) for part in parts]
    assert not torch.equal(*images)
    assert torch.equal(torch.cat(images)[torch.cat(labels).argsort()], one)


def test_pictures_that_are_decoded_one_by_one(tmp_path):
    for index in range(12):
        values = np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / f"{index:02}.png")
    for binarize in ("dynamic", "static", "threshold"):
        options = {"size": 8, "channels": 1, "val_fraction": 0.5, "batch_size": 3, "binarize": binarize}
        found = []
        for in_memory in (True, False):
            data = ImageFolder(tmp_path, in_memory=in_memory, **options)
            found.append([batch["image"] for batch in data.val_dataloader()])
            (first, *_), again = data.train_dataloader(), data.train_dataloader()
            images = data.on_after_batch_transfer(first, 0)["image"]
            assert images.unique().tolist() == [-1, 1]
            assert len(again) == 2
        assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
        assert torch.cat(found[0]).unique().tolist() == [0, 255]


def test_images_that_differ_have_other_fingerprints():
    prints = {Digits(8, binarize=binarize).fingerprint for binarize in intensities.BINARIZE}
    assert len(prints) == 4
    assert Digits(8, dequantize=True).fingerprint == Digits(8).fingerprint


def test_wrong_choices_are_told():
    with pytest.raises(ValueError, match="binarize: got 'Dynamic', allowed are none, dynamic, static, threshold"):
        Digits(8, binarize="Dynamic")
    with pytest.raises(ValueError, match="dequantize: got true with binarize='static', allowed is one of the two"):
        Digits(8, binarize="static", dequantize=True)
    for other in (Ring8, RingToRing):
        with pytest.raises(TypeError):
            other(binarize="static")
