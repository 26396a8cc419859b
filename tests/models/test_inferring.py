"""BiGAN and ALI: pairs of samples and latents, who learns from them, and what the encoder is good for."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from pl_genmodels.callbacks import CollapseMonitor
from pl_genmodels.callbacks.sample_grid import grid_picture
from pl_genmodels.cli import main
from pl_genmodels.losses import R1, Wasserstein
from pl_genmodels.models.inference_gan.ali import ALI
from pl_genmodels.models.inference_gan.bigan import BiGAN
from pl_genmodels.networks import (
    ConditionalDiscriminator,
    Encoder,
    Generator,
    MLPEncoder,
    MLPGenerator,
    NormalEncoder,
    PairDiscriminator,
)
from tests.models.harness import Recorder
from tests.small import Batches, fit

SHAPE, COUNT, DIM = (1, 8, 8), 6, 3
ENCODER = partial(MLPEncoder, hidden_dim=8)


def small(model=BiGAN, **arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(MLPGenerator, latent_dim=DIM, hidden_dim=8),
        "encoder": ENCODER if model is BiGAN else partial(NormalEncoder, encoder=ENCODER),
        "discriminator": partial(PairDiscriminator, hidden_dim=8),
    }
    return model(SHAPE, **{**networks, **arguments})


def batch():
    return {"image": torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1}


def played(model):
    """A drawn batch, what is generated of it, and the two players' terms."""
    drawn = model.draw(batch())
    generated = model.generate(drawn)
    return drawn, generated, model.discriminator_terms(drawn, generated), model.generator_terms(drawn, generated)


# ---- the game


def test_samples_have_their_codes_and_latents_their_samples():
    model = small()
    drawn, _, of_d, of_g = played(model)
    inferred = model.discriminator(drawn["image"], model.encoder(drawn["image"]))
    made = model.discriminator(model.generator(drawn["latent"]), drawn["latent"])
    assert torch.allclose(of_d["adversarial"], F.softplus(-inferred) + F.softplus(made))
    assert torch.allclose(of_g["adversarial"], F.softplus(inferred) + F.softplus(-made))
    assert {*of_d, *of_g} == {"adversarial"}
    of_g["adversarial"].sum().backward()
    networks = (model.generator, model.encoder)
    assert all(parameter.grad.abs().max() > 0 for network in networks for parameter in network.parameters())


def test_encoder_and_generator_are_one_player():
    model = small()
    mine = {id(parameter) for network in (model.generator, model.encoder) for parameter in network.parameters()}
    assert {id(parameter) for parameter in model.parameters_of("generator")} == mine
    assert not mine & {id(parameter) for parameter in model.parameters_of("discriminator")}


def test_a_critics_game_is_exchanged_too():
    _, _, of_d, of_g = played(small(loss=Wasserstein()))
    assert torch.allclose(of_d["adversarial"], -of_g["adversarial"])


def test_penalties_look_at_samples_and_latents():
    model = small(penalties=[R1(2.0)])
    drawn, generated, of_d, _ = played(model)
    image, code = drawn["image"].requires_grad_(), generated["code"].detach().requires_grad_()
    by_image, by_code = torch.autograd.grad(model.discriminator(image, code).sum(), [image, code])
    assert by_code.abs().max() > 0
    expected = by_image.flatten(1).square().sum(1) + by_code.square().sum(1)
    assert torch.allclose(of_d["r1"] / expected, (of_d["r1"] / expected)[0].expand(COUNT))
    assert torch.allclose(of_d["r1"], expected)  # half of a weight of 2


def test_an_encoder_that_hardly_draws_makes_ali_bigan():
    bigan, ali = small(), small(ALI)
    last = ali.encoder.of_law.layers[-1]
    with torch.no_grad():
        for mine, theirs in zip(ali.encoder.of_law.layers, bigan.encoder.layers, strict=True):
            if mine is not last and isinstance(mine, nn.Linear):
                mine.load_state_dict(theirs.state_dict())
        last.weight.copy_(torch.cat([bigan.encoder.layers[-1].weight, torch.zeros(DIM, 8)]))
        last.bias.copy_(torch.cat([bigan.encoder.layers[-1].bias, torch.full((DIM,), -30.0)]))
    ali.generator, ali.discriminator = bigan.generator, bigan.discriminator
    drawn = bigan.draw(batch())
    for player in ("discriminator", "generator"):
        terms = [getattr(model, f"{player}_terms")(drawn, model.generate(drawn)) for model in (bigan, ali)]
        assert torch.allclose(terms[0]["adversarial"], terms[1]["adversarial"], atol=1e-6)


# ---- the optimum, on samples and latents that can be counted


class Reordered(Generator):
    """Latent k becomes sample order[k]."""

    def __init__(self, image_shape, order=(0, 1, 2)):
        super().__init__(image_shape, len(order))
        self.order = order

    def forward(self, latent):
        return latent[:, torch.tensor(self.order)].argmax(1, keepdim=True).float()


class Inferred(Encoder):
    """Sample k becomes latent places[k]."""

    def __init__(self, image_shape, num_features, places=(0, 1, 2)):
        super().__init__(image_shape, num_features)
        self.places = torch.tensor(places)

    def forward(self, image):
        return F.one_hot(self.places[image[:, 0].long()], self.num_features).float()


class Table(ConditionalDiscriminator):
    """A logit for each pair."""

    def __init__(self, image_shape, condition_dim):
        super().__init__(image_shape, condition_dim)
        self.logits = nn.Parameter(torch.zeros(condition_dim, condition_dim))

    def forward(self, image, condition):
        return self.logits[image[:, 0].long(), condition.argmax(1)]


def jensen_shannon(p, q):
    middle = (p + q) / 2
    return ((torch.xlogy(p, p) - torch.xlogy(p, middle)) + (torch.xlogy(q, q) - torch.xlogy(q, middle))).sum() / 2


def test_the_best_discriminator_measures_the_divergence_of_the_pairs():
    """Its loss is 2 log 2 - 2 JS(P_EX, P_GZ), which is 2 log 2, the most, just where E inverts G."""
    image, latent = torch.arange(3.0)[:, None], torch.eye(3)
    for order, places in itertools.product(itertools.permutations(range(3)), itertools.product(range(3), repeat=3)):
        networks = {"generator": partial(Reordered, order=order), "encoder": partial(Inferred, places=places)}
        model = BiGAN((1,), **networks, discriminator=Table)
        drawn = {"image": image, "latent": latent}
        generated = model.generate(drawn)
        p, q = torch.zeros(3, 3), torch.zeros(3, 3)
        for k in range(3):
            p[k, generated["code"][k].argmax()] += 1 / 3
            q[int(generated["image"][k]), k] += 1 / 3
        best = (p + 1e-12).log() - (q + 1e-12).log()
        model.discriminator.logits.data = best
        found = model.discriminator_terms(drawn, generated)["adversarial"].mean().item()
        assert found == pytest.approx(2 * math.log(2) - 2 * jensen_shannon(p, q).item(), abs=1e-5)
        inverse = all(places[int(generated["image"][k])] == k for k in range(3))
        assert inverse == (found > 2 * math.log(2) - 1e-5)
        for k in range(3):
            model.discriminator.logits.data = best.clamp(-3, 3) + torch.randn(3, 3, generator=seeded(k))
            assert model.discriminator_terms(drawn, generated)["adversarial"].mean() > found


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# ---- networks


def test_encoders_that_draw():
    torch.manual_seed(0)
    encoder, image = NormalEncoder(SHAPE, DIM, ENCODER), batch()["image"]
    mean, log_deviation = encoder.law(image)
    assert torch.equal(encoder.eval().centre(image), mean)
    draws = torch.stack([encoder(image) for _ in range(2000)])
    assert torch.allclose(draws.mean(0), mean, atol=0.15)
    assert torch.allclose(draws.std(0), log_deviation.exp(), rtol=0.1)


def test_every_layer_of_pairs_sees_the_latent():
    judge = PairDiscriminator(SHAPE, DIM, hidden_dim=8, num_layers=2, batch_norm=True)
    image = batch()["image"]
    with torch.no_grad():  # cut the way of the latent through all layers but one
        for only in range(3):
            for place, layer in enumerate([*(hidden[0] for hidden in judge.hidden), judge.last]):
                layer.weight[:, -DIM:] = 1.0 if place == only else 0.0
            low, high = judge(image, torch.zeros(COUNT, DIM)), judge(image, torch.eye(COUNT, DIM))
            assert not torch.allclose(low, high)


# ---- what one does with it


def test_codes_there_and_back():
    for model in (small(), small(ALI)):
        image = batch()["image"]
        codes = model.encode(image)
        assert torch.equal(codes, model.encoder.centre(image))
        assert torch.allclose(model.reconstruct(image), model.decode(codes))


def test_the_verbs_of_encoders(tmp_path):
    model, path = small(ALI), str(tmp_path / "a.ckpt")
    fit(model, Batches([batch()]), tmp_path).save_checkpoint(path)
    picture = tmp_path / "0.png"
    pixels = batch()["image"][:1].add(1).mul(127.5).round().byte()
    Image.fromarray(pixels[0, 0].numpy()).save(picture)
    main(["encode", "--ckpt_path", path, "--input", str(picture), "--out", str(tmp_path / "codes.npz")])
    code = model.encode(pixels / 127.5 - 1)
    assert np.allclose(np.load(tmp_path / "codes.npz")["codes"], code, atol=1e-5)
    out = tmp_path / "pairs.png"
    main(["reconstruct", "--ckpt_path", path, "--input", str(picture), "--out", str(out), "--num_images", "1"])
    pair = torch.cat([pixels / 127.5 - 1, model.reconstruct(pixels / 127.5 - 1)])
    difference = np.asarray(Image.open(out)).astype(int) - np.asarray(grid_picture(pair, 8, 8))
    assert abs(difference).max() <= 1
    main(["traverse", "--ckpt_path", path, "--input", str(picture), "--out", str(out), "--num_steps", "4"])
    assert Image.open(out).size[1] == (9 * DIM + 1) * 8


def test_deviations_and_logits_are_watched(tmp_path):
    model, recorder = small(ALI), Recorder()
    with torch.no_grad():
        model.encoder.of_law.layers[-1].weight[DIM:] = 0
        model.encoder.of_law.layers[-1].bias[DIM:] = math.log(0.25)
    runner = fit(model, Batches([batch()]), tmp_path, max_steps=0, logger=recorder, limit_val_batches=1)
    runner.validate(model, Batches([batch()]), verbose=False)
    assert dict(recorder.rows[-1][1])["val/deviation"] == pytest.approx(0.25)
    fake = model.sample(COUNT, seed=4)
    real, made = model.logits_of(batch(), fake, 4)
    latent = model.draw_latents(COUNT, seed=4)
    assert torch.allclose(made, model.discriminator(model.decode(latent), latent))
    assert torch.allclose(real, model.discriminator(batch()["image"], model.encode(batch()["image"])))
    fit(small(), Batches([batch()]), tmp_path, callbacks=[CollapseMonitor()])
