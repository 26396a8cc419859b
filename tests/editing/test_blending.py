"""Gaussian-Poisson blending: the closed form, the seam, and where colours come from."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from pl_genmodels.data import Digits
from pl_genmodels.editing import blend, composite, gaussian_poisson
from pl_genmodels.editing.blending import cosine_basis, guide_of, smoothed
from pl_genmodels.models.baselines.pca import PCA
from pl_genmodels.models.translation.gpgan import GPGAN
from pl_genmodels.networks import DCGANDiscriminator, EncoderDecoderTranslator
from tests.small import gan


def pictures(number, height, width, seed=0, dtype=torch.float64):
    draws = torch.Generator().manual_seed(seed)
    return torch.rand(number, 3, height, width, generator=draws, dtype=dtype) * 2 - 1


def square(height, width):
    mask = torch.zeros(1, height, width)
    mask[:, height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 1
    return mask


def gpgan(**arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(EncoderDecoderTranslator, channels=4, num_halvings=2, bottleneck=8),
        "discriminator": partial(DCGANDiscriminator, channels=4, batch_norm=False),
    }
    return GPGAN((3, 16, 16), (3, 16, 16), **{**networks, **arguments})


@pytest.mark.parametrize("colour_weight", [0.1, 1.0, 10.0])
def test_a_picture_pasted_into_itself_stays(colour_weight):
    image = pictures(2, 21, 34)
    mask = (torch.rand(2, 21, 34) > 0.5).double()
    assert (gaussian_poisson(image, image, mask, smoothed(image), colour_weight) - image).abs().max() <= 1e-12


def test_a_constant_between_the_pictures_leaves_no_seam():
    image, mask, offset = pictures(1, 24, 32), square(24, 32), 0.5
    pasted = composite(image + offset, image, mask)
    assert (pasted - image).abs().max() == pytest.approx(offset)
    blended = gaussian_poisson(image + offset, image, mask, smoothed(image))
    assert (blended - image).abs().max() <= 0.1 * offset, "sources have no edge at the mask's border"
    inner = gaussian_poisson(image + offset, image, mask, smoothed(pasted))
    for row in (6, 18):  # the mask's first row, and the first below it
        seam = (inner - image)[:, :, row] - (inner - image)[:, :, row - 1]
        assert seam.abs().max() < 0.5 * offset, "even where the guide has the seam"


def test_the_solution_is_that_of_least_squares():
    front, back, guide = pictures(3, 5, 6).split(1)
    mask, weight = square(5, 6).double(), 0.7
    blended = gaussian_poisson(front, back, mask, guide, weight).requires_grad_()
    value = weight * (smoothed(blended) - guide).square().sum()
    for dim in (2, 3):
        size = back.shape[dim]
        inside = torch.minimum(mask[:, None].narrow(dim, 0, size - 1), mask[:, None].narrow(dim, 1, size - 1))
        wanted = inside * front.diff(dim=dim) + (1 - inside) * back.diff(dim=dim)
        value = value + (blended.diff(dim=dim) - wanted).square().sum()
    assert torch.autograd.grad(value, blended)[0].abs().max() < 1e-12


def test_the_filter_is_a_mirrored_gaussian_and_the_basis_orthonormal():
    image = pictures(1, 6, 7)
    line = torch.exp(-(torch.tensor([-1.0, 0, 1], dtype=torch.float64) ** 2) / (2 * 0.5**2))
    kernel = (line[:, None] * line / line.sum() ** 2).expand(3, 1, 3, 3)
    expected = F.conv2d(F.pad(image, (1, 1, 1, 1), "replicate"), kernel, groups=3)
    assert torch.allclose(smoothed(image), expected, atol=1e-14)
    basis = cosine_basis(9, image)
    assert torch.allclose(basis @ basis.T, torch.eye(9, dtype=torch.float64), atol=1e-14)


def test_blending_of_large_pictures_takes_gradients_in_the_mask_and_colours_around_it():
    coarse = pictures(2, 9, 9, dtype=torch.float32)
    whole = 0.4 * F.interpolate(coarse, (160, 200), mode="bicubic", align_corners=False)
    front, back, mask = whole[:1] + 0.5, whole[1:] - 0.1, square(160, 200)
    blended = blend(front, back, mask)
    pasted = composite(front, back, mask)
    outside = (mask == 0)[:, None].expand_as(back)
    assert (blended - back)[outside].abs().mean() < 0.03
    seam = [(image[:, :, 40, 50:150] - image[:, :, 39, 50:150]).abs().mean() for image in (pasted, blended)]
    assert seam[1] < 0.1 * seam[0]
    inner = (slice(None), slice(None), slice(50, 110), slice(60, 140))
    slopes = [(image[inner].diff(dim=3) - front[inner].diff(dim=3)).abs().mean() for image in (back, blended)]
    assert slopes[1] < 0.3 * slopes[0]
    assert torch.allclose(blend(front, front, mask), front, atol=0.05)
    assert torch.allclose(blend(front, back, torch.ones(1, 160, 200)), front, atol=0.05)


def test_colours_come_from_a_blending_network_or_from_what_a_gan_can_make():
    front, back = pictures(2, 40, 30, dtype=torch.float32).split(1)
    mask = square(40, 30)
    network = gpgan().eval()
    small = pictures(1, 16, 16, dtype=torch.float32)
    assert torch.equal(guide_of(network, small), network.translate(small))
    assert blend(front, back, mask, network).shape == front.shape
    model = gan((3, 16, 16)).eval()
    wanted = model.sample(1, seed=3)
    assert (guide_of(model, wanted, num_steps=100) - wanted).square().mean() < 0.1 * wanted.var()
    assert blend(front, back, mask, model, num_steps=2).shape == front.shape
    with pytest.raises(ValueError, match="model: got a PCA, allowed are translations and models with latents"):
        guide_of(PCA((3, 16, 16)), small)


def test_wrong_pictures_are_refused():
    front, mask = pictures(1, 16, 16, dtype=torch.float32), square(16, 16)
    for arguments, part in (
        ((front, front[..., 1:], mask), "background: got shape"),
        ((front, front, mask[0]), r"mask: got shape \(16, 16\), allowed is \(1 or 1, 16, 16\)"),
        ((front[:, :1], front[:, :1], mask, gpgan()), "foreground: got 1 channels, allowed are the model's, 3"),
    ):
        with pytest.raises(ValueError, match=part):
            blend(*arguments)
    with pytest.raises(ValueError, match="guide: got shape"):
        gaussian_poisson(front, front, mask, front[..., 1:])
    with pytest.raises(ValueError, match=r"colour_weight: got 0\.0"):
        gaussian_poisson(front, front, mask, front, 0.0)


# ---- the blending network


def test_the_players_of_gpgan_learn_from_their_own_terms():
    model = gpgan(l2_weight=0.9)
    batch = dict(zip(("source", "target"), pictures(8, 16, 16, dtype=torch.float32).split(4), strict=True))
    generated = model.generate(batch)
    terms = model.generator_terms(batch, generated)
    assert torch.allclose(terms["l2"], 0.9 * (generated["target"] - batch["target"]).square().mean((1, 2, 3)))
    assert torch.allclose(terms["adversarial"], -0.1 * model.judge("B", generated["target"]), atol=1e-7)
    real, fake = (model.judge("B", images) for images in (batch["target"], generated["target"]))
    critic = model.discriminator_terms(batch, generated)["adversarial"]
    assert torch.allclose(critic.mean(), (fake - real).mean(), atol=1e-7)
    assert all(weight.abs().max() <= 0.01 for weight in model.discriminator.parameters())
    assert [model.critic_steps_at(update) for update in (0, 24, 25, 500)] == [100, 100, 5, 100]
    with pytest.raises(ValueError, match=r"l2_weight: got 1\.5"):
        gpgan(l2_weight=1.5)


def test_no_model_of_digits_blends_colours():
    front = pictures(1, 32, 32, dtype=torch.float32)
    digits = gan(Digits(16).image_shape).eval()
    with pytest.raises(ValueError, match="foreground: got 3 channels, allowed are the model's, 1"):
        blend(front, front, square(32, 32), digits)
