"""Total variation, and symmetry where a mask asks for it."""

from __future__ import annotations

import torch

from pl_genmodels.losses import asymmetry, total_variation


def test_total_variation_by_hand():
    ramp = torch.arange(4.0).expand(2, 3, 5, 4)
    assert torch.equal(total_variation(ramp), torch.ones(2)), "one a step across, nothing along"
    assert torch.equal(total_variation(ramp.transpose(2, 3) * 2), torch.full((2,), 2.0))
    assert torch.equal(total_variation(torch.full((2, 3, 4, 4), 7.0)), torch.zeros(2))


def test_asymmetry_counts_masked_pixels_only():
    torch.manual_seed(0)
    image = torch.randn(2, 3, 4, 6)
    symmetric = image + image.flip(3)
    everywhere = torch.ones(2, 1, 4, 6, dtype=torch.bool)
    assert torch.equal(asymmetry(symmetric, everywhere), torch.zeros(2)), "exactly"
    mask = torch.zeros(2, 1, 4, 6, dtype=torch.bool)
    assert torch.equal(asymmetry(image, mask), torch.zeros(2))
    mask[0, 0, 1, 0] = mask[0, 0, 2, 4] = True
    spots = [(image[0, :, 1, 0] - image[0, :, 1, 5]).abs(), (image[0, :, 2, 4] - image[0, :, 2, 1]).abs()]
    assert torch.allclose(asymmetry(image, mask)[0], torch.cat(spots).mean())
    image.requires_grad_(True)
    (gradient,) = torch.autograd.grad(asymmetry(image, mask).sum(), image)
    touched = torch.zeros(2, 4, 6, dtype=torch.bool)
    touched[0, 1, [0, 5]] = touched[0, 2, [1, 4]] = True
    assert torch.equal(gradient.abs().sum(1) > 0, touched), "a pixel that counts and its mirror image, no other"
