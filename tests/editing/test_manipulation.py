"""Edits by paint, strokes and moved patches: the terms, the search, and what is done to the original."""

import math
import time
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from pl_genmodels.editing import LatentSpace, edit, grey_of, morph, transfer, warped
from pl_genmodels.editing.edges import cell_of, gradient_histograms, pool_cells
from pl_genmodels.editing.flow import compose, estimate_flow, follow, identity_maps, laplacian
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator
from tests.small import gan

SHAPE = (3, 16, 16)


def pictures(number, colours, side, seed=0):
    """Smooth ones, in [-0.9, 0.9]."""
    coarse = torch.rand(number, colours, side // 4 + 2, side // 4 + 2, generator=torch.Generator().manual_seed(seed))
    return 1.8 * F.interpolate(coarse, (side, side), mode="bicubic", align_corners=False).clamp(0, 1) - 0.9


def painted_gan():
    return gan(SHAPE).eval()


def test_histograms_of_a_constant_are_0_and_of_an_edge_peak_in_its_bin():
    assert gradient_histograms(torch.full((2, 3, 32, 32), 0.3), 4).abs().max() == 0
    rows, columns = torch.meshgrid(torch.arange(32.0) - 15.5, torch.arange(32.0) - 15.5, indexing="ij")
    for number in range(8):
        angle = number * math.pi / 8
        edge = torch.sign(columns * math.cos(angle) + rows * math.sin(angle) + 1e-3)[None, None]
        histogram = gradient_histograms(edge, 4).sum((0, 2, 3))
        assert histogram.argmax() == number
        assert torch.allclose(gradient_histograms(-edge, 4), gradient_histograms(edge, 4)), "without sign"


def test_cells_share_pixels_bilinearly():
    assert (cell_of(64, 64), cell_of(28, 28), cell_of(8, 12)) == (8, 3, 2)
    place = torch.zeros(1, 1, 16, 16)
    place[..., 7, 7] = 1
    cells = pool_cells(place, 4)[0, 0]
    assert cells.shape == (4, 4)
    assert cells.sum() == pytest.approx(1 / 16), "a pixel counts once over a cell's area"
    assert cells[1, 1] / cells[1, 2] == pytest.approx(0.625 / 0.375), "its distances from centres: 1.5 and 2.5 of 4"
    assert torch.allclose(pool_cells(torch.ones(1, 1, 32, 32), 4)[..., 1:-1, 1:-1], torch.ones(6, 6))
    with pytest.raises(ValueError, match="cell: got 9, allowed are 2 to 8"):
        pool_cells(torch.ones(1, 1, 8, 8), 9)


def test_histograms_have_right_gradients():
    image = pictures(1, 1, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda image: gradient_histograms(image, 4), image)


def test_terms_are_those_of_the_paper():
    model = painted_gan()
    space = LatentSpace(model)
    start = space.draw(2, seed=0)
    colour, sketch = pictures(2, 3, 16, seed=1), (torch.rand(1, 16, 16) > 0.8).float()
    mask = torch.rand(2, 16, 16)
    found = edit(model, start, colour=colour, colour_mask=mask, num_candidates=1, num_steps=0)
    image = space.decode(start)
    assert torch.equal(found.latents, start), "the first candidate is z0"
    weighted = (mask[:, None] * (image - colour) ** 2).mean((1, 2, 3)) / mask.mean((1, 2))
    assert torch.allclose(found.losses, weighted)
    both = edit(model, start, colour=colour, colour_mask=mask, sketch=sketch, num_candidates=1, num_steps=0)
    cells = pool_cells(sketch[:, None], 2)
    error = (gradient_histograms(image, 2) - gradient_histograms(2 * sketch[:, None] - 1, 2)).square()
    edges = 0.2 * (cells * error).mean((1, 2, 3)) / cells.mean((1, 2, 3))
    assert torch.allclose(both.losses, weighted + edges)
    moved = edit(model, start, colour=colour, smoothness_weight=3.0)
    rest = moved.losses - (moved.images - colour).square().mean((1, 2, 3))
    assert torch.allclose(rest, 3 * (moved.latents - start).square().mean(1), atol=1e-6)


def test_an_edit_does_what_is_asked_and_no_more():
    model = painted_gan()
    start = LatentSpace(model).draw(1, seed=0)
    before, wanted = (LatentSpace(model).decode(latents) for latents in (start, LatentSpace(model).draw(1, seed=1)))
    mask = torch.zeros(1, 16, 16)
    mask[:, :8] = 1
    changes, errors = [], []
    for weight in (0.0, 1.0, 1e4):
        found = edit(model, start, colour=wanted, colour_mask=mask, smoothness_weight=weight, num_steps=60)
        changes.append((found.images - before).square().mean().item())
        errors.append((mask[:, None] * (found.images - wanted).square()).mean().item())
    assert errors[0] < 0.1 * errors[2]
    assert changes == sorted(changes, reverse=True), "the more it weighs the less changes"
    assert changes[2] < 1e-6
    few = edit(model, start, colour=wanted, num_candidates=1, num_steps=3)
    assert (edit(model, start, colour=wanted, num_candidates=8, num_steps=3).losses <= few.losses).all()
    low, high = LatentSpace(model).limits()
    assert ((found.latents >= low) & (found.latents <= high)).all()
    alone = edit(model, start.expand(3, -1), colour=wanted, colour_mask=mask)
    assert torch.allclose(alone.losses, edit(model, start, colour=wanted, colour_mask=mask).losses, atol=1e-5)


def test_a_patch_is_moved():
    image = pictures(2, 3, 16)
    colour, mask = warped(image, (2, 3, 6, 8), (4, -2))
    assert torch.equal(colour[:, :, 6:10, 1:6], image[:, :, 2:6, 3:8])
    assert mask.sum() == 2 * 4 * 5
    assert mask[:, 6:10, 1:6].all()
    rest = (mask == 0)[:, None].expand_as(image)
    assert torch.equal(colour[rest], image[rest])
    region = torch.zeros(1, 16, 16)
    region[:, 2:6, 3:8] = 1
    assert all(torch.equal(a, b) for a, b in zip(warped(image, region, (4, -2)), (colour, mask), strict=True))
    assert torch.equal(warped(image, (2, 3, 6, 8), (-4, 0))[0][:, :, 0:2], warped(image, region, (-4, 0))[0][:, :, 0:2])
    strokes = grey_of(colour)
    assert torch.allclose(2 * strokes - 1, colour.mean(1), atol=1e-6)
    model = painted_gan()
    start = LatentSpace(model).draw(2, seed=0)
    found = edit(model, start, colour=colour, colour_mask=mask, sketch=strokes, sketch_mask=mask)
    assert found.images.shape == image.shape


def test_the_path_is_straight():
    model = painted_gan()
    ends = LatentSpace(model).draw(4, seed=0)
    path = morph(model, ends[:2], ends[2:], 5)
    assert path.shape == (2, 5, *SHAPE)
    for step, share in ((0, 0.0), (2, 0.5), (4, 1.0)):
        assert torch.allclose(
            path[:, step], LatentSpace(model).decode(torch.lerp(ends[:2], ends[2:], share)), atol=1e-6
        )


@pytest.mark.parametrize("colours", [1, 3])
def test_flow_finds_a_shift_and_a_gain(colours):
    whole = pictures(1, colours, 40) / 1.2
    source, target = whole[..., 4:36, 4:36], 1.1 * whole[..., 4:36, 3:35]
    motion, maps = estimate_flow(source, target)
    inner = (slice(None), slice(None), slice(3, -3), slice(3, -3))
    assert (motion[inner] - torch.tensor([-1.0, 0])[None, :, None, None]).abs().max() < 0.2
    gains = maps[:, range(colours), range(colours)]
    assert (gains[inner] - 1.1).abs().max() < 0.05
    assert (follow(source, motion, maps) - target)[inner].abs().max() < 0.05
    still, same = estimate_flow(source, source)
    assert still.abs().max() < 1e-4
    assert torch.allclose(same, identity_maps(1, colours, (32, 32), source), atol=1e-4)


def test_differences_of_neighbours():
    values = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    half = 0.5 * (values.diff(dim=2).square().sum() + values.diff(dim=3).square().sum())
    assert torch.allclose(laplacian(values.detach()), torch.autograd.grad(half, values)[0])


def test_flows_are_concatenated():
    image = pictures(1, 3, 32).double()
    turn = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flows = []
    for maps, shift in zip(turn, (2.0, -3.0), strict=True):
        motion = torch.full((1, 2, 32, 32), shift, dtype=torch.float64)
        flows.append((motion, maps[None, :, :, None, None].expand(1, 3, 4, 32, 32)))
    twice = follow(follow(image, *flows[0]), *flows[1])
    once = follow(image, *compose(*flows))
    assert torch.allclose(twice[..., 4:-4, 4:-4], once[..., 4:-4, 4:-4], atol=1e-12)


def test_an_edit_reaches_the_original_in_its_own_resolution():
    whole = pictures(1, 3, 48) / 1.3
    fine = F.interpolate(whole, scale_factor=4, mode="bicubic", align_corners=False)
    detail = 0.1 * torch.sign(torch.randn(1, 3, 192, 192, generator=torch.Generator().manual_seed(0)))
    frames = torch.stack([(1 + 0.1 * step) * whole[..., 8:40, 8 - step : 40 - step] for step in range(3)], 1)
    moved = transfer((fine + detail)[..., 32:160, 32:160], frames)
    expected = (1.2 * (fine + detail))[..., 32:160, 24:152]
    error = (moved - expected)[..., 20:-20, 20:-20].square().mean()
    blurred = F.interpolate(frames[:, -1], scale_factor=4, mode="bicubic", align_corners=False)
    assert moved.shape == (1, 3, 128, 128)
    assert error < 0.5 * (blurred - expected)[..., 20:-20, 20:-20].square().mean(), "details of the original are kept"
    still = transfer(detail, frames[:, :1].expand(-1, 3, -1, -1, -1))
    assert torch.allclose(still, detail, atol=1e-3)


def test_an_edit_of_32_pixels_is_interactive():
    networks = {
        "generator": partial(DCGANGenerator, latent_dim=64, channels=16),
        "discriminator": partial(DCGANDiscriminator, channels=16),
    }
    model = gan((1, 32, 32), **networks).eval()
    latents = LatentSpace(model).draw(2, seed=0)
    wanted = LatentSpace(model).decode(latents[1:]).detach()
    spent = []
    for _ in range(3):
        start = time.thread_time()
        edit(model, latents[:1], colour=wanted, sketch=grey_of(wanted))
        spent.append(time.thread_time() - start)
    assert min(spent) < 1


def test_wrong_edits_are_refused():
    model = painted_gan()
    z = LatentSpace(model).draw(2, seed=0)
    colour = pictures(2, 3, 16)
    for arguments, part in (
        ({}, "colour, sketch: got neither"),
        ({"colour": colour[:, :1]}, r"colour: got shape \(2, 1, 16, 16\), allowed is \(2 or 1, 3, 16, 16\)"),
        ({"colour": colour, "colour_mask": torch.zeros(1, 16, 16)}, "colour_mask: got nothing but zeros"),
        ({"sketch": torch.zeros(1, 16, 16)}, "sketch: got nothing but zeros"),
        ({"sketch": torch.ones(3, 16, 16)}, "sketch: got shape"),
        ({"colour": colour, "num_candidates": 0}, "num_candidates: got 0"),
        ({"colour": colour, "smoothness_weight": -1.0}, "smoothness_weight: got -1.0"),
    ):
        with pytest.raises(ValueError, match=part):
            edit(model, z, **arguments)
    with pytest.raises(ValueError, match=r"latents: got shape \(2, 2\), allowed is \(B, 3\)"):
        edit(model, z[:, :2], colour=colour)
    with pytest.raises(ValueError, match="region: got"):
        warped(colour, (4, 0, 4, 8), (1, 1))
    with pytest.raises(ValueError, match="shift: got"):
        warped(colour, (0, 0, 4, 4), (-4, 0))
    with pytest.raises(ValueError, match="num_steps: got 1"):
        morph(model, z, z, 1)
    with pytest.raises(ValueError, match="path_images: got shape"):
        transfer(colour, colour[:, None])
    with pytest.raises(ValueError, match="original: got shape"):
        transfer(colour[:, :1], torch.zeros(2, 3, 3, 16, 16))
    with pytest.raises(ValueError, match="target: got shape"):
        estimate_flow(colour, colour[:1])
