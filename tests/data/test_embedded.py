"""The pictures inside scikit-learn and scikit-image."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from sklearn.datasets import load_digits

from pl_genmodels.data import Digits, Faces, Patches, Photographs, StackedDigits, Textures, TintedDigits
from pl_genmodels.data.pictures import fit, resize, to_tensor

SPLITS = ("train", "val", "test")


def test_digits_are_all_there_once_and_in_their_classes():
    data = Digits(8)
    assert [len(data.load(split)) for split in SPLITS] == [1500, 149, 148]
    pixels, classes = load_digits(return_X_y=True)
    expected = sorted(
        (int(label), (x * 255 / 16).round().astype(int).tolist()) for x, label in zip(pixels, classes, strict=True)
    )
    ours = []
    for split in SPLITS:
        tensors = data.load(split).tensors
        assert tensors["image"].dtype == torch.uint8
        assert tensors["image"].shape[1:] == data.image_shape == (1, 8, 8)
        ours += zip(tensors["label"].tolist(), tensors["image"].flatten(1).tolist(), strict=True)
    assert sorted(ours) == expected


def test_digits_split_keeps_the_classes_balanced():
    data = Digits()
    whole = np.bincount(load_digits().target) / 1797
    for split in SPLITS:
        labels = data.load(split).tensors["label"]
        assert np.abs(labels.bincount(minlength=10).numpy() - whole * len(labels)).max() < 1.5


@pytest.mark.parametrize("size", [16, 32, 64])
def test_larger_digits_are_the_same_digits(size):
    small, large = Digits(8).load("val").tensors["image"], Digits(size).load("val").tensors["image"]
    back = torch.nn.functional.avg_pool2d(large.float(), size // 8)
    assert (back - small).abs().mean() < 16  # of 255
    assert (back.flip(0) - small).abs().mean() > 50


def test_three_channels_are_three_times_the_grey():
    grey, colour = Digits(16).load("val").tensors["image"], Digits(16, 3).load("val").tensors["image"]
    assert torch.equal(grey.expand(-1, 3, -1, -1), colour)
    assert Digits(16, 3).image_shape == (3, 16, 16)


def test_tinted_digits_are_the_digits_times_a_colour_each():
    data, grey = TintedDigits(8, num_tints=3), Digits(8)
    assert [len(data.load(split)) for split in SPLITS] == [4500, 149, 148]
    for split, repeats in (("train", 3), ("val", 1)):
        plain = grey.load(split).tensors["image"].repeat(repeats, 1, 1, 1).double()
        tinted = data.load(split).tensors["image"].double()
        assert torch.equal(data.load(split).tensors["label"], grey.load(split).tensors["label"].repeat(repeats))
        tint = tinted.sum((2, 3), keepdim=True) / plain.sum((2, 3), keepdim=True)  # but for rounding
        assert ((plain * tint - tinted).abs() <= 1).all()
        assert 0.24 < tint.min() < 0.3
        assert 0.95 < tint.max() < 1.01
    train = data.load("train").tensors["image"]
    assert not torch.equal(train[:1500], train[1500:3000])
    assert torch.equal(TintedDigits(8, num_tints=3).load("train").tensors["image"], train)
    assert TintedDigits(16).load("test").tensors["image"].shape == (148, 3, 16, 16)


@pytest.mark.parametrize(("arguments", "name"), [({"size": 9}, "size"), ({"num_tints": 0}, "num_tints")])
def test_tinted_digits_refuse_bad_arguments(arguments, name):
    with pytest.raises(ValueError, match=f"{name}: got"):
        TintedDigits(**arguments)


@pytest.mark.parametrize("size", [7, 16, 40])
def test_tensors_are_resized_as_pillow_does(size):
    images = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for image, ours in zip(images, resize(images, size), strict=True):
        theirs = to_tensor(fit(Image.fromarray(image.permute(1, 2, 0).numpy()), size))
        assert (ours.int() - theirs.int()).abs().max() <= 2


def test_faces_are_the_hundred_faces():
    data = Faces(size=25)
    assert [len(data.load(split)) for split in SPLITS] == [80, 10, 10]
    ours = torch.cat([data.load(split).tensors["image"] for split in SPLITS]).flatten(1)
    expected = torch.from_numpy(skimage.data.lfw_subset()[:100] * 255).round().to(torch.uint8).flatten(1)
    assert sorted(ours.tolist()) == sorted(expected.tolist())
    assert Faces(32, channels=3).load("test").tensors["image"].shape == (10, 3, 32, 32)
    assert data.num_classes is None


class Coordinates(Patches):
    """A photograph whose pixels say where they are."""

    max_side = 20

    def photographs(self):
        rows, columns = np.mgrid[:40, :80].astype(np.uint8)
        return {"one": lambda: np.stack([rows, columns, rows], 2), "two": lambda: np.full((40, 80), 9, np.uint8)}


def test_patches_are_uncut_pixels_and_splits_share_none():
    data = Coordinates(size=10, num_patches=50, scale=1)
    regions = {"train": (0, 40, 0, 60), "val": (0, 20, 60, 80), "test": (20, 40, 60, 80)}
    for split, (top, bottom, left, right) in regions.items():
        tensors = data.load(split).tensors
        number = 50 if split == "train" else 12
        assert tensors["label"].tolist() == [0] * number + [1] * number
        rows, columns, _ = tensors["image"][:number].unbind(1)
        assert rows.min() >= top
        assert rows.max() < bottom
        assert columns.min() >= left
        assert columns.max() < right
        assert rows[:, :, 0].diff().eq(1).all()
        assert columns[:, 0].diff().eq(1).all()
        assert len(columns[:, 0, 0].unique()) > 5
        assert tensors["image"][number:].eq(9).all()
    assert torch.equal(data.load("train").tensors["image"], Coordinates(10, 3, 50, 1).load("train").tensors["image"])


def test_luminance_and_scale():
    grey = Coordinates(size=10, channels=1, num_patches=8, scale=1).load("train").tensors["image"][:8, 0]
    rows, columns, _ = Coordinates(size=10, num_patches=8, scale=1).load("train").tensors["image"][:8].unbind(1)
    assert torch.equal(grey, (0.413 * rows + 0.587 * columns).round().to(torch.uint8))
    wide = Coordinates(size=10, num_patches=8, scale=2).load("train").tensors["image"][:8, 1]
    assert wide.shape == (8, 10, 10)
    assert wide[:, 5, 2:-2].float().diff(dim=1).mean().item() == pytest.approx(2, abs=0.1)
    with pytest.raises(ValueError, match=r"scale: got 3.*30.*at most 20"):
        Coordinates(size=10, scale=3)


def test_photographs_and_textures_have_a_class_each():
    data = Photographs(size=16, num_patches=4)
    tensors = data.load("train").tensors
    assert tensors["image"].shape == (44, 3, 16, 16)
    assert tensors["label"].bincount().tolist() == [4] * data.num_classes == [4] * 11
    assert tensors["image"].float().view(11, -1).std(1).min() > 1
    data = Textures(num_patches=5, size=16)
    assert data.load("val").tensors["image"].shape == (3, 1, 16, 16)
    assert data.num_classes == 3


def test_a_missing_file_is_said_and_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(skimage.data, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(skimage.data, "astronaut", lambda: pytest.fail("would download"))
    with pytest.raises(FileNotFoundError, match=r"skimage.data.astronaut: .* has no astronaut.png"):
        Photographs().load("train")
    with pytest.raises(FileNotFoundError, match=r"lfw_subset.npy"):
        Faces().load("train")


def test_stacked_digits_are_three_of_the_split_and_their_number():
    data = StackedDigits(size=8, num_samples=2000)
    assert data.image_shape == (3, 8, 8)
    for split, number in zip(SPLITS, (2000, 200, 200), strict=True):
        tensors, digits = data.load(split).tensors, Digits(8).load(split).tensors
        known = {bytes(x.flatten().tolist()): y for x, y in zip(digits["image"], digits["label"].tolist(), strict=True)}
        read = [known[bytes(x.tolist())] for x in tensors["image"].flatten(2).flatten(0, 1)]
        assert tensors["image"].shape == (number, 3, 8, 8)
        assert (torch.tensor(read).view(-1, 3) @ torch.tensor([100, 10, 1])).equal(tensors["label"])
    labels = data.load("train").tensors["label"]
    for place in (100, 10, 1):  # independent draws of ten equally probable digits
        assert (labels // place % 10).bincount(minlength=10).float().sub(200).abs().max() < 70
    assert len(labels.unique()) > 800
    assert not labels.equal(StackedDigits(size=8, num_samples=2000, seed=1).load("train").tensors["label"])


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="size: got 9"):
        StackedDigits(9)
    with pytest.raises(ValueError, match="num_samples: got 0"):
        StackedDigits(num_samples=0)
    with pytest.raises(ValueError, match="size: got 12, allowed are 8, 16, 32, 64"):
        Digits(12)
    with pytest.raises(ValueError, match="channels: got 2"):
        Digits(16, channels=2)
    with pytest.raises(ValueError, match="size: got 0"):
        Faces(0)
    with pytest.raises(ValueError, match="num_patches: got 0"):
        Textures(num_patches=0)
