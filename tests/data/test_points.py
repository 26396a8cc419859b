"""Points in the plane: where they lie, and that splits and seeds draw anew."""

import math

import pytest
import torch

from pl_genmodels.data import Grid25, PointData, Ring8, Spiral, SwissRoll

ALL = [Ring8, Grid25, Spiral, SwissRoll]


@pytest.mark.parametrize("kind", [Ring8, Grid25])
def test_modes_have_equal_weight_and_the_given_width(kind):
    data = kind(num_samples=20_000, sigma=0.3)
    tensors = data.load("train").tensors
    points, labels, centers = tensors["image"], tensors["label"], data.centers
    assert centers.shape == (data.num_classes, 2)
    offsets = points - centers[labels]
    assert offsets.mean(0).abs().max() < 0.01
    assert offsets.std(0) == pytest.approx([0.3, 0.3], abs=0.01)
    assert abs(torch.corrcoef(offsets.T)[0, 1]) < 0.03
    share = labels.bincount(minlength=len(centers)) / len(labels)
    assert (share * len(centers) - 1).abs().max() < 0.15
    narrow = kind(num_samples=1000, sigma=0.1).load("train").tensors
    assert torch.equal(torch.cdist(narrow["image"], centers).argmin(1), narrow["label"])


def test_centers_are_those_of_the_papers():
    ring = Ring8().centers
    assert torch.allclose(ring.norm(dim=1), torch.tensor(2.0))
    gaps = torch.cdist(ring, ring) + 9 * torch.eye(8)
    assert torch.allclose(gaps.min(1).values, torch.tensor(4 * math.sin(math.pi / 8)))  # eight, none of them double
    grid = Grid25().centers
    assert sorted(map(tuple, grid.tolist())) == [(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)]
    assert Spiral().centers is None
    assert SwissRoll().centers is None


def test_curves_follow_their_equations():
    tensors = Spiral(num_samples=500, sigma=0).load("train").tensors
    points, radii = tensors["image"], tensors["image"].norm(dim=1)
    angles = 3 * math.pi * radii / 2 + math.pi * tensors["label"]
    assert torch.allclose(points, radii[:, None] * torch.stack([angles.cos(), angles.sin()], 1), atol=1e-4)
    assert tensors["label"].bincount().min() > 200
    assert 1.98 < radii.max() <= 2.0001
    points = SwissRoll(num_samples=500, sigma=0).load("train").tensors["image"]
    radii = points.norm(dim=1)
    angles = radii * 4.5 * math.pi / 2
    assert torch.allclose(points, radii[:, None] * torch.stack([angles.cos(), angles.sin()], 1), atol=1e-4)
    assert radii.min() >= 2 / 3 - 1e-4
    assert 1.98 < radii.max() <= 2.0001


@pytest.mark.parametrize("kind", ALL)
def test_splits_and_seeds_draw_anew_and_again_the_same(kind):
    data = kind(num_samples=40)
    points = {split: data.load(split).tensors["image"] for split in ("train", "val", "test")}
    assert [len(part) for part in points.values()] == [40, 10, 10]
    assert points["train"].dtype == torch.float32
    assert points["train"].shape[1:] == data.image_shape == (2,)
    together = torch.cat([*points.values(), kind(num_samples=40, seed=1).load("train").tensors["image"]])
    assert len(together.unique(dim=0)) == 100
    assert torch.equal(points["train"], kind(num_samples=40).load("train").tensors["image"])
    assert not torch.equal(points["train"][:10], points["val"])
    assert data.sigma == kind().sigma
    torch.manual_seed(0)
    before = torch.get_rng_state()
    kind(num_samples=3).load("val")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", ALL)
def test_loader_gives_batches_of_points(kind):
    batch = next(iter(kind(num_samples=40, batch_size=16).train_dataloader()))
    assert batch["image"].shape == (16, 2)
    assert ("label" in batch) == (kind.num_classes is not None)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="num_samples: got 0"):
        Ring8(num_samples=0)
    with pytest.raises(ValueError, match="sigma: got -1"):
        Ring8(sigma=-1)
    with pytest.raises(TypeError, match="flip"):
        Ring8(flip=True)  # mirrored points would be another distribution
    with pytest.raises(TypeError, match="abstract"):
        PointData()
