"""Rendered sprites and the published ones: factors and indices name each other, and pictures show the factors."""

import itertools
import math

import numpy as np
import pytest
import torch

from pl_genmodels.data import DSprites, Sprites, rebuild
from pl_genmodels.data.sprites import SHAPES, render

SMALL = {"size": 32, "num_orientations": 1, "num_x": 16, "num_y": 16}


def test_every_one_of_the_published_combinations_has_its_index():
    data = Sprites()
    assert data.num_combinations == 737_280
    everything = torch.arange(737_280)
    factors = data.factors_of(everything)
    assert torch.equal(data.indices_of(factors), everything)
    assert factors.amax(0).tolist() == [2, 5, 39, 31, 31]
    assert factors.amin(0).tolist() == [0] * 5
    assert np.array_equal(np.stack(np.unravel_index(everything.numpy(), (3, 6, 40, 32, 32)), 1), factors.numpy())


@pytest.mark.parametrize(
    ("options", "number"), [({"num_scales": 3}, 2304), ({"shapes": ["ellipse"]}, 1536)], ids=["A", "B"]
)
def test_small_sets_are_all_different_and_inside(options, number):
    data = Sprites(**SMALL, **options)
    assert data.num_combinations == number
    images = data.images_of(torch.arange(number))
    assert images.shape == (number, 1, 32, 32)
    assert images.unique().tolist() == [0, 255]
    assert len(images.flatten(1).unique(dim=0)) == number
    assert (
        max(int(edge.max()) for edge in (images[..., 0], images[..., -1], images[..., 0, :], images[..., -1, :])) == 0
    )


def test_pictures_show_their_factors():
    data = Sprites()
    indices = torch.randint(737_280, (600,), generator=torch.Generator().manual_seed(0))
    factors, white = data.factors_of(indices), data.images_of(indices)[:, 0].double() / 255
    mass = white.sum((1, 2))
    pixel = torch.arange(64) + 0.5
    x, y = (white.sum(1) @ pixel.double()) / mass, (white.sum(2) @ pixel.double()) / mass
    for centroid, place in ((x, factors[:, 3]), (y, factors[:, 4])):
        assert (centroid - (16.5 + place)).abs().max() < 0.3
    scale = 0.5 + 0.1 * factors[:, 1]
    areas = {0: 0.34**2, 1: math.pi * 0.24 * 0.12, 2: 3.6620 * 0.19**2}  # the last one by numerical integration
    for shape, area in areas.items():
        chosen = factors[:, 0] == shape
        assert (mass[chosen] / 4096 / (area * scale[chosen].square()) - 1).abs().max() < 0.12
    distance = (pixel - x[:, None])[:, None].square() + (pixel - y[:, None])[:, :, None].square()
    assert (white * distance).max().sqrt() < 0.25 * 64
    for edge in (white[..., 0], white[..., -1], white[:, 0], white[:, -1]):
        assert edge.max() == 0


@pytest.mark.parametrize("shape", range(3), ids=SHAPES)
def test_orientations_turn_the_picture_counter_clockwise(shape):
    def at(angle):
        return render(torch.tensor([shape]), torch.ones(1), torch.tensor([angle]), torch.full((1, 2), 0.5), 64)[0, 0]

    quarter = at(math.pi / 2)
    assert (quarter != at(0.0).rot90()).double().mean() < 0.004
    assert (quarter != at(0.0)).double().mean() > (0.03 if shape else -1)
    eighth = at(math.pi / 4)
    assert (eighth != at(0.0)).double().mean() > 0.02
    if shape == 1:  # its long axis points up and to the right
        assert eighth[:32, 32:].sum() > 2 * eighth[:32, :32].sum()
    if shape == 2:  # a heart's two lobes are up: its highest row has two runs of white
        rows = at(0.0)[at(0.0).amax(1) > 0]
        runs = [sum(1 for white, _ in itertools.groupby((row > 0).tolist()) if white) for row in (rows[0], rows[-1])]
        assert runs == [2, 1]


def test_splits_share_all_combinations():
    data = Sprites(**SMALL, num_scales=3, batch_size=100)
    splits = {split: data.load(split) for split in ("train", "val", "test")}
    assert [len(part) for part in splits.values()] == [2074, 115, 115]
    assert sorted(torch.cat([part.indices for part in splits.values()]).tolist()) == list(range(2304))
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].dtype == torch.uint8
    assert torch.equal(batch["image"], data.images_of(data.indices_of(batch["factors"])))
    item = splits["val"][7]
    assert torch.equal(item["factors"], data.factors_of(splits["val"].indices[7:8])[0])
    whole = Sprites(**SMALL, val_fraction=0)
    assert all(len(whole.load(split)) == 4608 for split in splits)
    for kept in (
        Sprites(**SMALL, val_fraction=0.0001),
        Sprites(num_scales=1, shapes=["heart"], **SMALL, val_fraction=0.999),
    ):
        with pytest.raises(ValueError, match=r"val_fraction: got 0\.(0001|999), which keeps"):
            kept.load("train")


def test_a_checkpoint_rebuilds_sprites():
    data = Sprites(**SMALL, shapes=["heart", "square"], seed=3, val_fraction=0.2)
    again = rebuild(data.hparams)
    assert (again.factor_sizes, again.shapes, again.val_fraction) == ((2, 6, 1, 16, 16), ("heart", "square"), 0.2)
    assert again.fingerprint == data.fingerprint
    others = [Sprites(**SMALL), Sprites(**{**SMALL, "num_x": 32, "num_y": 8}), Sprites(**SMALL, num_scales=3)]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shapes": ["circle"]}, "shapes: got .'circle'., allowed are some of square, ellipse, heart"),
        ({"shapes": ["heart", "heart"]}, "each once"),
        ({"num_scales": 0}, "num_scales: got 0, allowed is 1 or more"),
        ({"size": 0}, "size: got 0"),
        ({"val_fraction": 1.0}, r"val_fraction: got 1\.0, allowed is \[0, 1\)"),
    ],
)
def test_wrong_arguments_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        Sprites(**options)


def test_wrong_indices_and_factors_are_told():
    with pytest.raises(ValueError, match="indices: got 737280, allowed is 0 to 737279"):
        Sprites().factors_of(torch.tensor([0, 737_280]))
    with pytest.raises(ValueError, match="orientation: got 40, allowed is 0 to 39"):
        Sprites().indices_of(torch.tensor([[0, 0, 40, 0, 0]]))
    with pytest.raises(ValueError, match="y: got -1, allowed is 0 to 31"):
        Sprites().images_of(Sprites().indices_of(torch.tensor([[0, 0, 0, 0, -1]])))


def published(path, sizes=(2, 2, 1, 3, 2), **changed):
    """A small file like the published one; its metadata are pickled there too."""
    number = math.prod(sizes)
    images = np.random.default_rng(0).integers(0, 2, (number, 64, 64), dtype=np.uint8)
    classes = np.stack(np.unravel_index(np.arange(number), sizes), 1)
    classes = np.concatenate([np.zeros((number, 1), int), classes], 1)
    metadata = np.array({"title": "dSprites"}, dtype=object)
    arrays = {"imgs": images, "latents_classes": classes, "metadata": metadata, **changed}
    np.savez_compressed(path, **{key: value for key, value in arrays.items() if value is not None})
    return images, classes[:, 1:]


def test_the_published_file_is_read_without_unpickling(tmp_path):
    path = tmp_path / "d.npz"
    images, classes = published(path)
    data = DSprites(path, val_fraction=0.25, batch_size=5)
    assert data.image_shape == (1, 64, 64)
    assert data.factor_sizes == (2, 2, 1, 3, 2)
    indices = torch.randperm(24)
    assert np.array_equal(data.images_of(indices)[:, 0].numpy(), images[indices.numpy()] * 255)
    assert np.array_equal(data.factors_of(indices).numpy(), classes[indices.numpy()])
    assert sum(len(batch["image"]) for batch in data.val_dataloader()) == 3
    assert rebuild(data.hparams).fingerprint == data.fingerprint


def test_a_wrong_file_is_told_in_one_sentence(tmp_path):
    path = tmp_path / "d.npz"
    _, classes = published(path)
    whole = np.concatenate([np.zeros((24, 1), int), classes], 1)
    for changed in (
        {"imgs": None},
        {"imgs": np.zeros((24, 32, 32), np.uint8)},
        {"latents_classes": whole[::-1]},
        {"latents_classes": np.array([{}], dtype=object)},
    ):
        published(path, **changed)
        with pytest.raises(ValueError, match=r"path: got .*d\.npz', allowed is the \.npz file of dSprites \(.+\)$"):
            DSprites(path).setup("fit")
    path.write_bytes(path.read_bytes()[:1000])
    for wrong in (path, tmp_path / "nowhere.npz"):
        with pytest.raises(ValueError, match=r"allowed is the \.npz file of dSprites"):
            DSprites(wrong).setup("fit")
