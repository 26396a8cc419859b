"""Paths, sums, neighbours and projections: the formulas, and what holds of any model with latents."""

from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.editing import (
    LatentSpace,
    arithmetic,
    around,
    combine,
    descend,
    fit_projector,
    interpolate,
    lerp,
    nearest_neighbours,
    project,
    slerp,
    walk,
)
from pl_genmodels.models.baselines.pca import PCA
from pl_genmodels.models.conditional_gan.cgan import CGAN
from pl_genmodels.models.conditional_gan.icgan import IcGAN
from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import MLPEncoder, MLPGenerator, UniformPrior
from tests.small import gan

SHAPE = (1, 4, 4)


def vae():
    torch.manual_seed(0)
    return VAE(SHAPE, latent_dim=3).eval()


def linear_gan():
    """Its images are a fixed linear map of the latents, so that every answer is known."""
    model = gan((6,), generator=partial(Straight, latent_dim=3), prior=UniformPrior())
    return model.eval()


class Straight(MLPGenerator):
    def __init__(self, image_shape, latent_dim=3):
        super().__init__(image_shape, latent_dim=latent_dim)
        self.layers = nn.Linear(latent_dim, image_shape[0], bias=False)
        with torch.no_grad():
            self.layers.weight.copy_(torch.linalg.qr(torch.randn(image_shape[0], latent_dim)).Q / 2)

    def forward(self, latent):
        return self.layers(latent)


def test_great_circle():
    start, end = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start, end = start / start.norm(dim=1, keepdim=True), end / end.norm(dim=1, keepdim=True)
    tangent = end - (end * start).sum(1, keepdim=True) * start
    tangent = tangent / tangent.norm(dim=1, keepdim=True)
    angle = torch.arccos((start * end).sum(1, keepdim=True))
    for share in (0.0, 0.1, 0.5, 0.8, 1.0):
        found = slerp(start, end, share)
        assert torch.allclose(found, torch.cos(share * angle) * start + torch.sin(share * angle) * tangent, atol=1e-12)
        assert torch.allclose(found.norm(dim=1), torch.ones(5, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("path", [slerp, lerp])
def test_paths_begin_and_end_where_they_should(path):
    start, end = 1e3 * torch.randn(20, 9, generator=torch.Generator().manual_seed(1)), torch.randn(20, 9)
    assert torch.equal(path(start, end, 0.0), start)
    assert torch.equal(path(start, end, 1.0), end)


@pytest.mark.parametrize("model", [lambda: gan(SHAPE), vae, lambda: CGAN(SHAPE)])
def test_a_walk_of_any_model_goes_through_its_samples(model):
    model = model().eval()
    frames = interpolate(model, 2, 3, seed=5)
    samples = model.decode(model.draw_latents(3, seed=5))
    assert frames.shape == (2, 3, *SHAPE)
    assert torch.allclose(frames[:, 0], samples[:2], atol=1e-6)
    assert torch.allclose(frames[:, -1], samples[1:], atol=1e-6)
    for wrong in ({"num_steps": 1}, {"path": "arc"}):
        with pytest.raises(ValueError, match="allowed"):
            walk(model, model.draw_latents(2, seed=0), **wrong)
    with pytest.raises(ValueError, match=r"ends: got 1, allowed are 2 latents or more"):
        walk(model, model.draw_latents(1, seed=0))


def test_arithmetic_of_means():
    a, b, c = (torch.randn(n, 4) for n in (3, 2, 5))
    assert torch.allclose(arithmetic(a, b, c), a.sum(0) / 3 - b.sum(0) / 2 + c.sum(0) / 5)
    model = gan(SHAPE).eval()
    a, c = model.draw_latents(1, seed=0), model.draw_latents(1, seed=1)
    assert torch.allclose(combine(model, a, a, c), model.decode(c), atol=1e-6), "with a = b what is left is G(c)"
    near = around(c[0], 8, 0.25, seed=3)
    assert torch.equal(near[0], c[0])
    assert (near - c).abs().max() <= 0.25 < (around(c[0], 8, 1.0, seed=3) - c).abs().max()
    with pytest.raises(ValueError, match=r"b: got shape \(0, 3\), allowed is \(1 or more, 3\)"):
        arithmetic(a, a[:0], c)


def test_neighbours_are_those_of_all_distances():
    draws = torch.Generator().manual_seed(0)
    real, queries = torch.randn(700, *SHAPE, generator=draws), torch.randn(5, *SHAPE, generator=draws)
    queries[0] = real[650]
    real[300] = real[650]
    for features in (None, lambda images: images.flatten(1)[:, :3]):
        found = nearest_neighbours(queries, real.split(300), 4, features)
        sides = [(images if features is None else features(images)).flatten(1).double() for images in (queries, real)]
        distances, order = (sides[0][:, None] - sides[1]).norm(dim=2).sort(dim=1, stable=True)
        assert torch.equal(found.indices, order[:, :4])
        assert torch.allclose(found.distances.double(), distances[:, :4], atol=1e-5)
        assert torch.equal(found.images, real[found.indices])
        assert found.indices[0, :2].tolist() == [300, 650], "of equally near ones the earlier"
        assert found.distances[0, 0] == 0
    with pytest.raises(ValueError, match="num_neighbours: got 4, allowed is 1 to 3, the number of real images"):
        nearest_neighbours(queries, [real[:3]], 4)
    with pytest.raises(ValueError, match=r"real: got shape \(2, 4, 4\), allowed is that of the queries, \(1, 4, 4\)"):
        nearest_neighbours(queries, [real[:, :1].expand(-1, 2, -1, -1)])


def test_projection_of_a_linear_generator_is_least_squares():
    model = linear_gan()
    image = 0.1 * torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    weight = model.generator.layers.weight
    expected = torch.linalg.lstsq(weight, image.T).solution.T
    assert expected.abs().max() < 1, "inside the prior's box"
    found = project(model, image, num_starts=2, num_steps=200)
    assert torch.allclose(found.latents, expected, atol=1e-3)
    assert torch.allclose(found.losses, (image - expected @ weight.T).square().mean(1), atol=1e-5)
    assert torch.equal(found.images, model.decode(found.latents))
    far = project(model, 100 * image, num_starts=2, num_steps=60)
    assert far.latents.abs().max() <= 1, "a search stays within the prior"
    whole = project(model, image, num_steps=60, features=lambda images: images[:, :1], feature_weight=1e4)
    assert (whole.images - image)[:, 0].abs().max() < 0.1 * (found.images - image)[:, 0].abs().max()


def test_a_projector_learns_to_invert_pictures_and_a_search_begins_there():
    model = linear_gan()
    latents = torch.rand(256, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    image = model.decode(latents).detach()
    before = [weight.clone() for weight in model.state_dict().values()]
    learnt = fit_projector(model, image, MLPEncoder, num_steps=150, learning_rate=5e-3)
    error = (model.decode(learnt(image)) - image).square().mean()
    assert error < 0.02 * image.var()
    assert not learnt.training
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))
    again = fit_projector(model, image, MLPEncoder, num_steps=150, learning_rate=5e-3)
    assert torch.equal(again(image), learnt(image))
    start = project(model, image[:3], start=learnt, num_steps=0)
    assert torch.equal(start.latents, learnt(image[:3]))
    assert (project(model, image[:3], start=learnt, num_steps=20).losses < start.losses).all()
    assert (learnt(100 * image).abs() <= 1).all(), "within the prior"
    with pytest.raises(ValueError, match="num_steps: got 0, allowed is 1 or more"):
        fit_projector(model, image, MLPEncoder, num_steps=0)


@pytest.mark.parametrize("model", [lambda: gan(SHAPE), vae, lambda: CGAN(SHAPE)])
def test_projection_finds_samples_and_leaves_the_model_alone(model):
    model = model()
    model.train()
    before = [weight.detach().clone() for weight in model.state_dict().values()]
    image = model.sample(3, seed=9)
    found = project(model, image, num_steps=30, seed=9)
    first = project(model, image, num_steps=0, seed=9)
    assert (found.losses < first.losses).all()
    assert (first.losses > 0).all(), "not the samples' own latents"
    alone = project(model, image[1:2], num_steps=30, seed=9)
    assert torch.allclose(alone.losses, found.losses[1:2], rtol=1e-3), "alone or among others"
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))
    assert model.training
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    assert not model.decode(model.draw_latents(1).requires_grad_()).requires_grad


def test_starts():
    model = vae()
    image = model.sample(2, seed=0)
    by_encoder = project(model, image, start="encoder", num_steps=0)
    assert torch.equal(by_encoder.latents, model.encode(image))
    both, random = (project(model, image, start=start, num_steps=0).losses for start in ("both", "random"))
    assert torch.equal(both, torch.minimum(random, by_encoder.losses))
    with pytest.raises(ValueError, match="start: got 'encoder', allowed for a GAN, without encoder, is random"):
        project(gan(SHAPE), image, start="encoder")
    with pytest.raises(ValueError, match=r"image: got shape \(2, 1, 5, 4\), allowed is \(B, 1, 4, 4\)"):
        project(model, torch.zeros(2, 1, 5, 4))
    with pytest.raises(ValueError, match="model: got a PCA, allowed are models with latents"):
        LatentSpace(PCA())


def test_an_encoder_is_told_only_what_it_takes():
    model = IcGAN(SHAPE).eval()
    image = model.sample(2, label=3, seed=0)
    assert torch.equal(LatentSpace(model, label=3).encode(image), model.encode(image))
    assert project(model, image, start="encoder", num_steps=0, label=3).latents.shape == (2, model.generator.latent_dim)


def test_a_search_keeps_the_best_that_it_passed():
    space = LatentSpace(gan(SHAPE).eval())
    starts = space.draw(4, seed=0)[None]
    found = descend(space, lambda images, latents, rows: latents.square().sum(1), starts, 5, learning_rate=50.0)
    assert torch.equal(found.losses, starts.square().sum(2).min(1).values), "steps of 50 lead away"
    for wrong in ({"num_steps": -1}, {"learning_rate": 0.0}):
        with pytest.raises(ValueError, match="allowed"):
            descend(space, lambda images, latents, rows: latents.sum(1), starts, **wrong)


def test_a_model_without_discriminator_of_images_alone_has_no_critic():
    assert LatentSpace(vae()).critic() is None
    assert LatentSpace(CGAN(SHAPE)).critic() is None
    model: GAN = gan(SHAPE).eval()
    assert torch.equal(LatentSpace(model).critic()(model.sample(2, seed=0)), model.judge(model.sample(2, seed=0)))
