"""Manifolds, traversals and reconstructions while training: what is in the pictures, and that they change nothing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.distributions import Normal

from pl_genmodels.callbacks import LatentManifold, LatentTraversals, Reconstructions
from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.data import Digits, Ring8
from pl_genmodels.models.baselines.gmm import GMM
from pl_genmodels.models.baselines.pca import PCA
from pl_genmodels.models.latent_grids import latent_quantiles, manifold, traversals
from pl_genmodels.models.vae.vae import VAE
from pl_genmodels.networks import UniformPrior
from tests.callbacks.test_sample_grid import ImageLogger
from tests.models.harness import assert_same, snapshot
from tests.small import fit, gan, loader

SHAPE = (1, 8, 8)


def vae(latent_dim=2):
    torch.manual_seed(0)
    return VAE(SHAPE, latent_dim=latent_dim)


def digits():
    return Digits(8, batch_size=50)


def pixels(images, columns):
    return np.asarray(grid_picture(images, columns, scale=8))


def pictures(tmp_path, key):
    return {file.stem: np.asarray(Image.open(file)) for file in sorted(tmp_path.rglob(f"{key}/*.png"))}


def test_the_manifold_is_a_grid_of_equal_shares_of_the_prior(tmp_path):
    model, logger = vae(), ImageLogger()
    fit(model, digits(), tmp_path, max_steps=3, callbacks=[LatentManifold(100, num_steps=4)], logger=logger)
    found = pictures(tmp_path, "manifold")
    assert list(found) == ["000000000", "000000100", "000000150"]
    assert not np.array_equal(found["000000000"], found["000000150"])
    shares = torch.tensor([0.05, 0.35, 0.65, 0.95])
    values = Normal(0, 1).icdf(shares)
    latents = torch.stack([torch.stack([x, y]) for y in values.flip(0) for x in values])  # the second goes up
    assert torch.allclose(manifold(model, 4), latents, atol=1e-5)
    assert np.array_equal(found["000000150"], pixels(model.decode(latents), 4))
    assert {key for key, *_ in logger.pictures} == {"manifold"}


def test_other_lengths_fall_back_to_traversals_and_say_so_once(tmp_path):
    model = vae(3)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        callback = LatentManifold(50, num_steps=5)
        fit(model, digits(), tmp_path, max_steps=3, callbacks=[callback])
    sentences = [str(one.message) for one in told if "LatentManifold" in str(one.message)]
    assert sentences == ["LatentManifold: the latent has 3 coordinates, not 2; traversals are drawn."]
    found = pictures(tmp_path, "manifold")
    assert len(found) == 4
    start = model.encode(digits().load("val").tensors["image"][:1].float() / 127.5 - 1)[0]
    expected = traversals(model, start, 5, 10).flatten(0, 1)
    assert np.array_equal(found["000000150"], pixels(model.decode(expected), 5))


def test_traversals_change_one_coordinate_of_a_code():
    model, start = vae(4), torch.tensor([0.3, -1.0, 2.0, 0.0])
    latents = traversals(model, start, 5, 3, span=2.0)
    assert latents.shape == (3, 5, 4)
    for dim, row in enumerate(latents):
        assert torch.allclose(row[:, dim], torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]), atol=1e-5)
        others = [other for other in range(4) if other != dim]
        assert torch.equal(row[:, others], start[others].expand(5, -1))
    assert traversals(model, start, 5, 9).shape == (4, 5, 4)


def test_values_follow_the_law_of_the_latents():
    shares = torch.tensor([0.1, 0.5, 0.9])
    uniform = gan(SHAPE, prior=UniformPrior(2.0))
    assert torch.allclose(latent_quantiles(uniform, shares)[:, 1], torch.tensor([-1.6, 0.0, 1.6]))
    moved = vae()
    draw = moved.draw_latents
    moved.draw_latents = lambda *args, **options: 3 * draw(*args, **options) + 5
    expected = Normal(5, 3).icdf(shares)[:, None].expand(-1, 2)
    assert torch.allclose(latent_quantiles(moved, shares), expected, atol=0.3)
    pca = PCA(SHAPE, latent_dim=2)
    codes = torch.randn(2000, 2) * torch.tensor([4.0, 0.5])
    expected = Normal(0, 1).icdf(shares)[:, None] * torch.tensor([4.0, 0.5])
    assert torch.allclose(latent_quantiles(pca, shares, codes), expected, atol=0.5)
    with pytest.raises(ValueError, match="codes: not given, but a PCA draws no latents"):
        latent_quantiles(pca, shares)


def test_a_gan_is_traversed_from_the_middle_of_its_prior(tmp_path):
    model = gan(SHAPE)
    fit(model, loader(3, SHAPE), tmp_path, max_steps=2, callbacks=[LatentTraversals(8, num_steps=3, num_dims=2)])
    found = pictures(tmp_path, "traversals")
    latents = torch.zeros(6, 3)
    latents[[0, 2], 0], latents[[3, 5], 1] = torch.tensor([-2.0, 2.0]), torch.tensor([-2.0, 2.0])
    assert np.array_equal(found[max(found)], pixels(model.decode(latents), 3))


def test_reconstructions_stand_beside_images_of_all_classes(tmp_path):
    model = vae(5)
    fit(model, digits(), tmp_path, max_steps=2, callbacks=[Reconstructions(50, num_samples=6, columns=3)])
    tensors = digits().load("val").tensors
    chosen = torch.linspace(0, 148, 6).round().long()
    assert len(tensors["label"][chosen].unique()) == 6
    images = tensors["image"][chosen].float() / 127.5 - 1
    pairs = torch.stack([images, model.reconstruct(images)], 1).flatten(0, 1)
    assert np.array_equal(pictures(tmp_path, "reconstructions")["000000100"], pixels(pairs, 6))


def test_data_of_others_give_their_first_images(tmp_path):
    model, given = vae(), loader(2, SHAPE)
    fit(model, given, tmp_path, max_steps=1, callbacks=[Reconstructions(8, num_samples=3, columns=3)])
    images = next(iter(given))[0][:3]
    pairs = torch.stack([images, model.reconstruct(images)], 1).flatten(0, 1)
    found = pictures(tmp_path, "reconstructions")
    assert np.array_equal(found[max(found)], pixels(pairs, 6))


def test_pictures_leave_training_as_it_is(tmp_path):
    states = []
    for callbacks in ([], [LatentManifold(50), LatentTraversals(50), Reconstructions(50)]):
        model = vae()
        runner = fit(model, digits(), tmp_path, max_steps=3, callbacks=callbacks)
        states.append(snapshot(model, runner))
    assert_same(*states)


def test_models_without_what_it_takes_are_refused(tmp_path):
    for callback, model in (
        (LatentManifold(50), GMM(SHAPE, num_components=2)),
        (Reconstructions(50), gan(SHAPE)),
    ):
        with pytest.raises(ValueError, match=rf"{type(callback).__name__}: got {type(model).__name__}, allowed are"):
            fit(model, digits(), tmp_path, max_steps=1, callbacks=[callback])
    with pytest.raises(
        ValueError, match=r"LatentTraversals: the model makes samples of shape \(2,\), allowed are pict"
    ):
        fit(gan(), Ring8(num_samples=64, batch_size=8), tmp_path, max_steps=1, callbacks=[LatentTraversals(8)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LatentManifold(num_steps=0), "num_steps: got 0"),
        (lambda: LatentTraversals(num_dims=0), "num_dims: got 0"),
        (lambda: LatentTraversals(span=0.0), r"span: got 0\.0, allowed is more than 0"),
        (lambda: Reconstructions(columns=0), "columns: got 0"),
        (lambda: Reconstructions(every_n_images=0), "every_n_images: got 0"),
    ],
)
def test_wrong_arguments_are_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()
