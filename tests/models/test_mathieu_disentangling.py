"""Two codes told apart by exchanging them: terms, partners, samples of a label."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import pl_genmodels
from pl_genmodels.callbacks import SwapGrid
from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.data import Digits, ImageFolder
from pl_genmodels.layers import Labels
from pl_genmodels.models.conditional_gan.mathieu_disentangling import MathieuDisentangling
from pl_genmodels.networks import ConcatDiscriminator, ConcatGenerator, MLPDiscriminator, MLPEncoder, MLPGenerator
from tests.small import Batches, fit, gan

SHAPE, COUNT = (1, 8, 8), 6


def small(**arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(ConcatGenerator, latent_dim=4, generator=partial(MLPGenerator, hidden_dim=8)),
        "discriminator": partial(ConcatDiscriminator, discriminator=partial(MLPDiscriminator, hidden_dim=8)),
        "encoder": partial(MLPEncoder, hidden_dim=8),
    }
    told = {"condition": Labels(3), "specified_dim": 5}
    return MathieuDisentangling(SHAPE, **{**networks, **told, **arguments})


def batch(count=COUNT):
    image, partner = torch.rand(2, count, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {"image": image, "partner": partner, "label": torch.arange(count) % 3}


def test_terms_by_hand():
    model = small(reconstruction_weight=2.0, swap_weight=3.0, adversarial_weight=0.5, kl_weight=0.7)
    drawn = model.draw(batch())
    torch.manual_seed(1)
    generated = model.generate(drawn)
    torch.manual_seed(1)
    order, prior = torch.randperm(COUNT), torch.randn(COUNT, 4)
    s, mean, log_variance = model.encoder(drawn["image"]).split([5, 4, 4], 1)
    of_partner = model.encoder(drawn["partner"])[:, :5]
    z = mean + (0.5 * log_variance).exp() * drawn["latent"]
    labels = F.one_hot(drawn["label"][order], 3).float()
    assert torch.equal(generated["condition"], labels)
    made = [model.generator(*codes) for codes in ((z, s), (z, of_partner), (z, s[order]), (prior, s[order]))]
    terms = model.generator_terms(drawn, generated)
    square = lambda image: ((image - drawn["image"]) / 2).square().flatten(1).mean(1)
    assert torch.allclose(terms["reconstruction"], 2 * square(made[0]), atol=1e-6)
    assert torch.allclose(terms["swap"], 3 * square(made[1]), atol=1e-6)
    normals = torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    assert torch.allclose(terms["kl"], 0.7 / 64 * torch.distributions.kl_divergence(*normals).sum(1), atol=1e-6)
    fooled = [F.softplus(-model.discriminator(image, labels)) for image in made[2:]]
    assert torch.allclose(terms["adversarial"], 0.5 * fooled[0], atol=1e-6)
    assert torch.allclose(terms["adversarial_drawn"], 0.5 * fooled[1], atol=1e-6)
    terms = model.discriminator_terms(drawn, generated)
    real = F.softplus(-model.discriminator(drawn["image"], F.one_hot(drawn["label"], 3).float()))
    assert torch.allclose(terms["adversarial"], real + F.softplus(model.discriminator(made[2], labels)), atol=1e-6)
    assert torch.allclose(
        terms["adversarial_drawn"], real + F.softplus(model.discriminator(made[3], labels)), atol=1e-6
    )


def test_samples_of_a_label_have_the_mean_code_of_its_recent_samples(tmp_path):
    model, path = small(), tmp_path / "a.ckpt"
    frozen = partial(torch.optim.SGD, lr=0.0)
    model.optimizer_factories = dict.fromkeys(model.players, frozen)
    runner = fit(model, Batches([batch(), batch(9)]), tmp_path)
    runner.save_checkpoint(path)
    first, second = (model.specify(each["image"]) for each in (batch(), batch(9)))
    means = torch.stack(
        [(0.99 * first[k::3].sum(0) / 6 + second[k::3].sum(0) / 9) / (0.99 * 2 / 6 + 3 / 9) for k in range(3)]
    )
    latents = model.draw_latents(4, seed=2)
    expected = model.generator.eval()(latents, means[[1]].expand(4, -1))
    assert torch.allclose(pl_genmodels.load(path).sample(4, label=1, seed=2), expected, atol=1e-5)


def test_swaps_take_style_from_one_and_label_from_the_other():
    model = small().eval()
    image, other = batch()["image"], batch()["partner"]
    expected = model.generator(model.encoder(image)[:, 5:9], model.encoder(other)[:, :5])
    assert torch.allclose(model.swap(image, other), expected)
    assert torch.allclose(model.reconstruct(image), model.swap(image, image))
    assert torch.equal(model.encode(image), model.encoder(image)[:, 5:9])


def test_swaps_while_training(tmp_path):
    model, data = small(condition=Labels(10)), Digits(8, batch_size=50, partners=True)
    fit(model, data, tmp_path, max_steps=1, callbacks=[SwapGrid(50, num_samples=3)])
    found = np.asarray(Image.open(tmp_path / "swaps" / "000000050.png"))
    chosen = torch.linspace(0, 148, 3).round().long()
    images = data.load("val").tensors["image"][chosen].float() / 127.5 - 1
    rows = [torch.cat([torch.ones(1, *SHAPE), images])]
    rows += [torch.cat([image[None], model.swap(image.expand(3, -1, -1, -1), images)]) for image in images]
    assert np.array_equal(found, np.asarray(grid_picture(torch.cat(rows), 4, 8)))
    with pytest.raises(ValueError, match="SwapGrid: got GAN, allowed are models with a latent and encode and swap"):
        fit(gan(SHAPE), Batches([batch()]), tmp_path, callbacks=[SwapGrid()])


def test_partners_have_the_label_and_are_never_the_same(tmp_path):
    data = Digits(8, batch_size=100, partners=True)
    data.setup("fit")
    plain = Digits(8).load("train").tensors
    items = data.load("train").gather(torch.arange(1500))
    assert torch.equal(items["image"], plain["image"])
    flat = {
        bytes(image.numpy().tobytes()): int(label) for image, label in zip(plain["image"], plain["label"], strict=True)
    }
    assert all(
        flat[bytes(partner.numpy().tobytes())] == int(label)
        for partner, label in zip(items["partner"], plain["label"], strict=True)
    )
    assert len({partner.numpy().tobytes() for partner in items["partner"]}) == len(flat), "each is a partner once"
    assert not (items["partner"] == items["image"]).flatten(1).all(1).any()
    assert "partner" not in data.load("val").tensors
    read = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert read["partner"].dtype == torch.float32
    assert read["partner"].min() >= -1
    with pytest.raises(ValueError, match="needs 'partner' too"):
        fit(small(condition=Labels(10)), Digits(8), tmp_path)
    with pytest.raises(ValueError, match="partners: got true with labels_per_class=3"):
        Digits(8, partners=True, labels_per_class=3)
    Image.new("L", (8, 8)).save(tmp_path / "one.png")
    with pytest.raises(ValueError, match=r"partners: got true, allowed for .* is false"):
        ImageFolder(tmp_path, size=8, channels=1, partners=True, val_fraction=0).load("train")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kl_weight": -1.0}, "kl_weight: got -1.0"),
        ({"swap_weight": -1.0}, "swap_weight: got -1.0"),
        ({"generator_batch_factor": 2}, "generator_batch_factor: got 2, allowed is 1"),
    ],
)
def test_what_is_out_of_range(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**arguments)
