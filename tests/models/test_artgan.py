"""ArtGAN: what each player minimises, and whom each term reaches."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from pl_genmodels.callbacks import Reconstructions
from pl_genmodels.cli import main
from pl_genmodels.data import Digits
from pl_genmodels.layers import Labels
from pl_genmodels.models.conditional_gan.artgan import ArtGAN
from pl_genmodels.networks import (
    AutoencodingClassifier,
    ConcatGenerator,
    MLPClassifier,
    MLPDecoder,
    MLPGenerator,
    OverSampledGenerator,
)
from tests.small import fit

SHAPE = (1, 8, 8)
CLASSIFIER = partial(MLPClassifier, hidden_dims=(8,), input_noise=0.0, hidden_noise=0.0)
DISCRIMINATOR = partial(
    AutoencodingClassifier, num_classes=3, classifier=CLASSIFIER, decoder=partial(MLPDecoder, hidden_dim=8)
)


def artgan(classes=3, **arguments):
    torch.manual_seed(0)
    large = partial(OverSampledGenerator, generator=partial(MLPGenerator, hidden_dim=8))
    networks = {"generator": partial(ConcatGenerator, latent_dim=4, generator=large), "discriminator": DISCRIMINATOR}
    return ArtGAN(SHAPE, condition=Labels(classes), **{**networks, **arguments})


def batch():
    generator = torch.Generator().manual_seed(0)
    image, latent = torch.rand(6, *SHAPE, generator=generator) * 2 - 1, torch.randn(6, 4, generator=generator)
    return {"image": image, "latent": latent, "label": torch.tensor([0, 1, 2, 2, 0, 1])}


def round_of(model):
    drawn = model.draw(batch())
    return drawn, model.generate(drawn)


def by_hand(model, image):
    """Logits, the probability of the K classes together, and the picture from the code."""
    logits, (code,) = model.discriminator.encoder(image, with_features=True, with_classes=True)
    real = torch.cat([logits, torch.zeros(len(image), 1)], 1).softmax(1)[:, :-1].sum(1)
    return logits, real, model.discriminator.decoder(code).tanh()


def test_terms_are_the_codes():
    model = artgan()
    drawn, generated = round_of(model)
    (logits, real, again), (fake_logits, fake, fake_again) = (
        by_hand(model, each["image"]) for each in (drawn, generated)
    )
    half_error = lambda image, other: 0.5 * (image - other).square().mean((1, 2, 3))
    of_d, of_g = model.discriminator_terms(drawn, generated), model.generator_terms(drawn, generated)
    assert of_d.keys() == {"adversarial", "supervised", "reconstruction"}
    assert torch.allclose(of_d["adversarial"], -real.log() - (1 - fake).log(), atol=1e-6)
    assert torch.allclose(of_d["supervised"], F.cross_entropy(logits, drawn["label"], reduction="none"))
    assert torch.allclose(of_d["reconstruction"], half_error(again, drawn["image"]))
    assert of_g.keys() == {"adversarial", "class", "reconstruction"}
    assert torch.allclose(of_g["adversarial"], -fake.log(), atol=1e-6)
    assert torch.allclose(of_g["class"], F.cross_entropy(fake_logits, drawn["label"], reduction="none"))
    assert torch.allclose(of_g["reconstruction"], half_error(fake_again, generated["image"]))


def test_the_score_is_lse_less_its_softplus():
    """With K logits, log D = lse - softplus(lse): that of Salimans et al. 2016."""
    model = artgan()
    drawn, generated = round_of(model)
    lse = model.class_logits(generated["image"]).logsumexp(1)
    assert torch.allclose(model.generator_terms(drawn, generated)["adversarial"], -(lse - F.softplus(lse)), atol=1e-6)


@pytest.mark.parametrize("term", ["adversarial", "class", "reconstruction"])
def test_every_term_moves_the_generator(term):
    model = artgan()
    drawn, generated = round_of(model)
    model.generator_terms(drawn, generated)[term].sum().backward()
    assert all(bool(parameter.grad.any()) for parameter in model.generator.parameters())


def test_reconstruction_trains_the_code_and_not_the_layer_that_names_classes():
    model = artgan()
    model.discriminator_terms(*round_of(model))["reconstruction"].sum().backward()
    *hidden, last = model.discriminator.encoder.layers
    assert all(parameter.grad is None for parameter in last.parameters())
    trained = [p for layer in (*hidden, model.discriminator.decoder) for p in layer.parameters()]
    assert all(bool(parameter.grad.any()) for parameter in trained)


def test_what_is_judged_and_sampled_is_a_mean_of_what_is_made():
    model = artgan()
    drawn, generated = round_of(model)
    large = model.generator.make.make(torch.cat([drawn["latent"], drawn["condition"]], 1))
    assert large.shape == (6, 1, 16, 16)
    assert torch.allclose(generated["image"][:, :, 2, 3], large[:, :, 4:7, 6:9].mean((2, 3)), atol=1e-6)
    assert torch.allclose(generated["image"][:, :, 7, 7], large[:, :, 14:, 14:].mean((2, 3)), atol=1e-6)
    assert model.sample(2, seed=0).shape == (2, *SHAPE)


def test_reconstructions_are_drawn(tmp_path):
    model = artgan(10, discriminator=partial(DISCRIMINATOR, num_classes=10))
    data = Digits(size=8, batch_size=16)
    fit(model, data, tmp_path, max_steps=1, callbacks=[Reconstructions(50, num_samples=6, columns=3)])
    assert [path.name for path in (tmp_path / "reconstructions").iterdir()]
    image = data.load("val").tensors["image"][:4].float() / 127.5 - 1
    model.eval()
    assert torch.allclose(model.reconstruct(image), by_hand(model, image)[2])


def test_what_is_refused():
    with pytest.raises(ValueError, match="discriminator: got one of 3 classes, allowed with these labels is one of 4"):
        artgan(4)
    with pytest.raises(ValueError, match="reconstruction_weight: got -1, allowed is 0 or more"):
        artgan(reconstruction_weight=-1)


def test_the_command_that_reconstructs(tmp_path):
    model = artgan(10, discriminator=partial(DISCRIMINATOR, num_classes=10))
    fit(model, Digits(size=8, batch_size=16), tmp_path, max_steps=1).save_checkpoint(tmp_path / "last.ckpt")
    out = tmp_path / "pairs.png"
    main(["reconstruct", "--ckpt_path", str(tmp_path / "last.ckpt"), "--num_images", "4", "--out", str(out)])
    assert out.is_file()
