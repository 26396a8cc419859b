"""Layers of autoencoders: noise on inputs, a normal distribution that follows codes, quadrants."""

from __future__ import annotations

import pytest
import torch

from pl_genmodels.layers import GaussianCorruption, MaskingCorruption, RunningNormal
from pl_genmodels.layers.quadrants import SeenQuadrants


def test_corruption_is_for_training_only():
    torch.manual_seed(0)
    image = torch.rand(50, 1, 8, 8)
    noisy = GaussianCorruption(std=0.5)(image) - image
    assert noisy.std().item() == pytest.approx(0.5, rel=0.1)
    masked = MaskingCorruption(share=0.3)(image)
    blackened = masked != image
    assert (masked[blackened] == -1).all()
    assert blackened.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert blackened.flatten(1).unique(dim=0).shape[0] == 50, "each image has its own"
    for corruption in (GaussianCorruption(), MaskingCorruption()):
        assert torch.equal(corruption.eval()(image), image)


@pytest.mark.parametrize(("kind", "value"), [(GaussianCorruption, 0.0), (MaskingCorruption, 1.0)])
def test_bad_corruptions_are_refused(kind, value):
    with pytest.raises(ValueError, match=f"got {value}"):
        kind(value)


def test_running_normal_reaches_the_moments_and_draws_from_them():
    torch.manual_seed(0)
    mixing, offset = torch.randn(3, 3, dtype=torch.float64), torch.tensor([5.0, -2.0, 0.0], dtype=torch.float64)
    follower = RunningNormal(3, momentum=0.02).double()
    for _ in range(300):
        rows = torch.randn(256, 3, dtype=torch.float64) @ mixing.T + offset
        follower.follow(rows.mean(0), rows.T @ rows / len(rows))
    assert torch.allclose(follower.mean, offset, atol=0.1)
    assert torch.allclose(follower.covariance, mixing @ mixing.T, atol=0.3)
    drawn = follower.transform(torch.randn(100_000, 3))
    assert torch.allclose(drawn.mean(0), follower.mean, atol=0.05)
    assert torch.allclose(drawn.T.cov(), follower.covariance, atol=0.1)


def test_running_normal_forgets_its_start_with_the_first_batch():
    rows = torch.randn(64, 2, dtype=torch.float64) + 3
    follower = RunningNormal(2).double()
    follower.follow(rows.mean(0), rows.T @ rows / len(rows))
    assert torch.allclose(follower.mean, rows.mean(0))
    assert torch.allclose(follower.covariance, rows.T.cov(correction=0))


def test_quadrants_are_where_their_names_say_and_make_the_picture_again():
    parts = SeenQuadrants(5, 4, ["bottom_left", "top_right"])
    wanted = torch.zeros(5, 4, dtype=torch.bool)
    wanted[2:, :2] = wanted[:2, 2:] = True
    assert torch.equal(parts.mask, wanted)
    image = torch.randn(3, 2, 5, 4)
    assert torch.equal(parts.blank(image), image * wanted)
    assert parts.seen(image).shape == (3, 2 * parts.num_seen)
    together = torch.cat([parts.seen(image).unflatten(1, (2, -1)), parts.unseen(image)], 2)
    assert torch.equal(together.sort(2).values, image.flatten(2).sort(2).values)
    other = torch.zeros_like(image)
    assert torch.equal(parts.complete(image, other), parts.blank(image))


@pytest.mark.parametrize("quadrants", [[], ["left"], ["top_left", "top_right", "bottom_left", "bottom_right"]])
def test_bad_quadrants_are_refused(quadrants):
    with pytest.raises(ValueError, match="quadrants: got"):
        SeenQuadrants(4, 4, quadrants)
