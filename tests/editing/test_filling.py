"""Filled holes and anomaly scores: the weights, the blending and the two losses."""

from functools import partial

import pytest
import torch

from pl_genmodels.editing import LatentSpace, anomaly_scores, importance_weights, inpaint, poisson_blend
from pl_genmodels.editing.inpainting import reach
from pl_genmodels.models.vae.cvae import CVAE
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import DCGANDiscriminator
from tests.small import gan

SHAPE = (1, 8, 8)


def picture_gan():
    return gan(SHAPE, discriminator=partial(DCGANDiscriminator, channels=4)).eval()


def hole(height, width, rows, columns):
    mask = torch.ones(height, width, dtype=torch.bool)
    mask[rows, columns] = False
    return mask


def test_known_pixels_near_the_hole_weigh_more():
    mask = hole(9, 9, slice(3, 6), slice(3, 6))
    weights = importance_weights(mask)
    assert weights[0, 0] == pytest.approx(1 / 49)
    assert weights[2, 4] == pytest.approx(9 / 49)
    assert (weights[~mask] == 0).all()
    assert importance_weights(hole(20, 20, slice(0, 3), slice(0, 3)))[19, 19] == 0


@pytest.mark.parametrize("where", [(slice(2, 6), slice(1, 5)), (slice(0, 8), slice(0, 4)), (slice(5, 8), slice(6, 8))])
def test_blending_takes_gradients_only(where):
    image = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = hole(8, 8, *where)
    assert torch.allclose(poisson_blend(image, image, mask), image, atol=1e-6)
    shifted = torch.where(mask, torch.randn_like(image), image + 0.7)
    there = torch.where(mask, image, torch.nan).nan_to_num(9.0)
    inside = poisson_blend(there, image + 0.7, mask)
    assert torch.allclose(inside, image, atol=1e-6), "a constant has no gradient, and nothing is read in the hole"
    assert torch.equal(poisson_blend(image, shifted, mask)[..., mask], image[..., mask])


def test_blending_solves_the_equation():
    draws = torch.Generator().manual_seed(0)
    image, made = torch.randn(2, 1, 1, 7, 7, generator=draws, dtype=torch.float64)
    mask = hole(7, 7, slice(2, 5), slice(2, 5))
    filled = poisson_blend(image, made, mask)
    kernel = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]], dtype=torch.float64)[None, None]
    left, right = (torch.nn.functional.conv2d(x, kernel) for x in (filled, made))
    assert torch.allclose(left[..., ~mask[1:-1, 1:-1]], right[..., ~mask[1:-1, 1:-1]], atol=1e-10)


def test_filling_minimises_both_terms_and_keeps_what_is_known():
    model = picture_gan()
    image, mask = model.sample(2, seed=4), hole(8, 8, slice(2, 6), slice(2, 6))
    for weight in (0.0, 5.0):
        losses = []
        for steps in (0, 20):
            found = inpaint(model, image, mask, perceptual_weight=weight, num_steps=steps, num_starts=2)
            off = importance_weights(mask) * (found.generated - image).abs()
            critic = torch.nn.functional.logsigmoid(-model.judge(found.generated))  # log(1 - D)
            assert torch.allclose(found.losses, off.sum((1, 2, 3)) + weight * critic, atol=1e-5)
            losses.append(found.losses)
        assert (losses[1] < losses[0]).all()
        assert torch.equal(found.images[..., mask], image[..., mask])
    hidden = torch.where(mask, image, 0.3)
    again = inpaint(model, hidden, mask, perceptual_weight=5.0, num_steps=20, num_starts=2)
    assert torch.equal(again.images, found.images), "what is in the hole is not seen"
    pasted = inpaint(model, image, mask, num_steps=0, blend=False)
    assert torch.equal(pasted.images[..., ~mask], pasted.generated[..., ~mask])
    with pytest.raises(ValueError, match="mask: got no known pixel"):
        inpaint(model, image, torch.zeros(8, 8, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"mask: got torch.float32 of shape \(8, 8\), allowed are booleans"):
        inpaint(model, image, mask.float())


def test_the_window_reaches_the_farthest_known_pixel():
    half = hole(16, 16, slice(8, 16), slice(0, 16))
    assert reach(half) == 17
    assert (importance_weights(half, reach(half))[half] > 0).all()
    assert (importance_weights(half, reach(half) - 2)[0] == 0).all()
    assert reach(hole(9, 9, slice(3, 6), slice(3, 6))) == 7
    assert reach(torch.ones(8, 8, dtype=torch.bool)) == 7


def test_filling_weighs_the_prior_and_tries_labels():
    torch.manual_seed(0)
    model = CVAE(SHAPE, latent_dim=3).eval()
    image, mask = model.sample(4, seed=4), hole(8, 8, slice(4, 8), slice(0, 8))
    options = {"num_steps": 15, "num_starts": 2}
    free, held = (inpaint(model, image, mask, prior_weight=weight, label=1, **options) for weight in (0.0, 5.0))
    off = importance_weights(mask, reach(mask)) * (held.generated - image).abs()
    assert torch.allclose(held.losses, off.sum((1, 2, 3)) + 2.5 * held.latents.square().sum(1), atol=1e-5)
    assert held.latents.square().mean() < 0.5 * free.latents.square().mean()
    each = torch.stack([inpaint(model, image, mask, label=label, **options).losses for label in (0, 3, 7)])
    tried = inpaint(model, image, mask, labels=(0, 3, 7), **options)
    assert torch.equal(tried.losses, each.min(0).values)
    best = [inpaint(model, image, mask, label=label, **options).images for label in (0, 3, 7)]
    assert all(torch.equal(tried.images[row], best[each[:, row].argmin()][row]) for row in range(4))
    with pytest.raises(ValueError, match=r"prior_weight: got -1\.0, allowed is 0 or more"):
        inpaint(model, image, mask, prior_weight=-1.0)


def test_any_model_with_latents_fills_and_judges():
    model = VAE(SHAPE, latent_dim=3).eval()
    image = model.sample(2, seed=0)
    found = inpaint(model, image, hole(8, 8, slice(0, 4), slice(0, 8)), num_steps=3, num_starts=2)
    assert found.images.shape == image.shape
    scores = anomaly_scores(model, image, num_steps=3)
    assert torch.allclose(scores.scores, scores.residuals.sum((1, 2, 3)), atol=1e-5), "without discriminator"


def test_anomaly_scores():
    model = picture_gan()
    image = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    first = anomaly_scores(model, image, discrimination_weight=0.0, num_steps=0, num_starts=1)
    start = first.latents[0]
    assert torch.equal(first.latents, start.expand(3, -1)), "the same start for all"
    assert torch.allclose(first.scores, (image - model.decode(start[None])).abs().sum((1, 2, 3)), atol=1e-5)
    found = anomaly_scores(model, image, num_steps=20)
    features = LatentSpace(model).features()
    off = (features(image) - features(found.images)).abs().sum(1)
    assert torch.allclose(found.scores, 0.9 * found.residuals.sum((1, 2, 3)) + 0.1 * off, atol=1e-4)
    assert off.min() > 0
    alone = anomaly_scores(model, image[2:], num_steps=20)
    assert torch.allclose(alone.scores, found.scores[2:], rtol=1e-4), "alone or among others"
    assert (found.scores < anomaly_scores(model, image, num_steps=0).scores).all()
