import pytest
import torch

from pl_genmodels.layers import DiffAugment, InstanceNoise


def test_instance_noise_falls_linearly_to_nothing():
    noise, images = InstanceNoise(0.4, decay_images=1000), torch.zeros(64, 3, 16, 16)
    torch.manual_seed(0)
    assert noise(images, 0).std() == pytest.approx(0.4, rel=0.02)
    assert noise(images, 500).std() == pytest.approx(0.2, rel=0.02)
    assert torch.equal(noise(images, 1000), images)
    assert torch.equal(noise(images, 5000), images)


def test_translation_moves_each_picture_by_whole_pixels():
    """A single lit pixel moves by at most an eighth of the side, each picture by itself."""
    torch.manual_seed(0)
    images = torch.zeros(400, 1, 16, 16)
    images[:, :, 8, 8] = 1
    moved = DiffAugment(["translation"])(images, 0)
    assert torch.equal(moved.flatten(1).sum(1), torch.ones(400))
    places = moved.flatten(1).argmax(1)
    shifts = torch.stack([places // 16 - 8, places % 16 - 8], 1)
    assert set(shifts.flatten().tolist()) == {-2, -1, 0, 1, 2}
    assert len({tuple(shift) for shift in shifts.tolist()}) == 25


def test_cutout_hides_half_of_each_side_at_most():
    torch.manual_seed(0)
    images = torch.ones(400, 2, 16, 16)
    left = DiffAugment(["cutout"])(images, 0)
    assert torch.equal(left[:, 0], left[:, 1]), "channels share the hole"
    hidden = (left[:, 0] == 0).flatten(1).sum(1)
    assert hidden.max() == 64
    assert hidden.min() >= 16
    hole = left[0, 0] == 0
    rows, columns = hole.any(1), hole.any(0)
    assert torch.equal(hole, rows[:, None] & columns), "a rectangle"
    assert len(hidden.unique()) > 3


def test_colour_keeps_its_order_and_ranges():
    """Brightness moves the mean, saturation the distance from grey, contrast the distance from the mean."""
    torch.manual_seed(0)
    moved = DiffAugment(["color"])(torch.full((2000, 3, 4, 4), 0.2), 0)
    assert torch.allclose(moved, moved[:, :1, :1, :1].expand_as(moved), atol=1e-6), "grey stays uniform"
    shift = moved[:, 0, 0, 0] - 0.2
    assert -0.501 <= shift.min() < -0.48
    assert 0.48 < shift.max() <= 0.501
    two = torch.tensor([-1.0, 1.0]).repeat(8).view(1, 1, 4, 4).expand(2000, 3, 4, 4)
    contrast = DiffAugment(["color"])(two, 0)
    contrast = (contrast[:, 0, 0, 1] - contrast[:, 0, 0, 0]) / 2
    assert 0.499 <= contrast.min() < 0.52
    assert 1.48 < contrast.max() <= 1.501
    hue = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1).expand(2000, 3, 4, 4)
    saturation = DiffAugment(["color"])(hue, 0)
    assert (saturation[:, 0] - saturation[:, 2]).min() < 0.1
    assert (saturation[:, 0] - saturation[:, 2]).max() > 4


def test_gradient_passes_to_the_samples():
    torch.manual_seed(0)
    images = torch.rand(8, 3, 8, 8, requires_grad=True)
    DiffAugment()(images, 0).square().sum().backward()
    assert (images.grad != 0).flatten(1).any(1).all()


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match=r"policy: got \['colour'\], allowed are some of"):
        DiffAugment(["colour"])
    with pytest.raises(ValueError, match=r"got samples of shape \(2,\), allowed are pictures"):
        DiffAugment()(torch.zeros(3, 2), 0)
    with pytest.raises(ValueError, match="std: got -1"):
        InstanceNoise(-1)
    with pytest.raises(ValueError, match="decay_images: got 0"):
        InstanceNoise(decay_images=0)
