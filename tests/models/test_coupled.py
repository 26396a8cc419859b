"""Systems whose domains share layers: what is shared is the same tensor, and the objectives are the papers'."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pl_genmodels.models.translation.cogan import CoGAN
from pl_genmodels.networks import CoupledDiscriminator, CoupledGenerator
from tests.small import Batches, fit

SHAPE = (1, 16, 16)


def cogan(source_shape=SHAPE, target_shape=SHAPE, **options):
    torch.manual_seed(0)
    networks = {
        "generator": partial(CoupledGenerator, latent_dim=5, widths=(8, 6)),
        "discriminator": partial(CoupledDiscriminator, widths=(4, 6, 8), padding=2),
    }
    return CoGAN(source_shape, target_shape, **{**networks, **options})


def batch_of(shape=SHAPE, number=4):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(number, *shape, generator=generator) * 2 - 1 for name in ("source", "target")}


def parameters(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def test_official_networks_share_all_but_one_layer():
    generator, discriminator = CoupledGenerator((1, 28, 56)), CoupledDiscriminator((1, 28, 56))
    assert parameters(generator) == 7_842_694
    assert parameters(generator.trunks) == 7_833_476
    assert [parameters(head) for head in generator.heads] == [4_609, 4_609]
    assert parameters(discriminator) == 427_593
    sides = []
    for layer in generator.trunks[0]:
        if isinstance(layer, nn.ConvTranspose2d):
            layer.register_forward_hook(lambda *args: sides.append(args[-1].shape[-1]))
    pairs = generator(torch.randn(2, 100))
    assert sides == [4, 7, 13, 25]
    assert pairs.shape == (2, 1, 28, 56)
    assert discriminator(pairs).shape == (2, 2)


def test_normalisation_learns_nothing_and_biases_start_at_a_tenth():
    networks = (CoupledGenerator((1, 28, 56), widths=(8, 8, 8, 8)), CoupledDiscriminator((1, 28, 56)))
    norms = [part for part in networks[0].modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) == 4
    assert not any(norm.affine for norm in norms)
    for network in networks:
        assert all(torch.all(p == 0.1) for name, p in network.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize(("half", "start"), [(0, 0), (1, 16)])
def test_each_half_is_its_own_domain(half, start):
    """A picture influences its own logit and no other, and comes from its own last layer."""
    model, pairs = cogan(), torch.randn(3, 1, 16, 32)
    before = model.discriminator(pairs)
    pairs[..., start : start + 16] += 1
    changed = (model.discriminator(pairs) != before).any(0)
    assert changed.tolist() == [half == 0, half == 1]
    latents = torch.randn(3, 5)
    before = model(latents)
    with torch.no_grad():
        model.generator.heads[half].bias += 1
    changed = (model(latents) != before).flatten(0, 2).any(0)
    assert changed.nonzero().flatten().tolist() == list(range(start, start + 16))


def test_both_games_train_the_same_tensors():
    """Each domain's loss reaches every shared weight and its own ones, not the other's."""
    model = cogan()
    batch = model.draw(batch_of())
    for player, own in (("generator", "heads"), ("discriminator", "stems")):
        network = getattr(model, player)
        optimizer = model.configure_optimizers()[0][model.players.index(player)]
        owned = [id(p) for group in optimizer.param_groups for p in group["params"]]
        assert len(owned) == len(set(owned)) == len(list(network.parameters()))
        for index, name in enumerate(model.batch_keys):
            network.zero_grad(set_to_none=True)
            terms = getattr(model, f"{player}_terms")(batch, model.generate(batch))
            terms[f"adversarial_{name}"].sum().backward()
            reached = {key for key, p in network.named_parameters() if p.grad is not None and (p.grad != 0).any()}
            expected = {key for key, _ in network.named_parameters() if not key.startswith(f"{own}.{1 - index}")}
            # a bias before normalisation without gain cancels
            assert {key for key in expected if not key.endswith("bias")} <= reached <= expected


def test_cogan_minimises_the_sum_of_two_games():
    """Written out with the authors' softmax over two outputs: class 1 is real."""
    model = cogan()
    batch = model.draw(batch_of())
    generated = model.generate(batch)
    opponent, terms = model.discriminator_terms(batch, generated), model.generator_terms(batch, generated)
    assert opponent.keys() == terms.keys() == {"adversarial_source", "adversarial_target"}
    stems, trunk = model.discriminator.stems, model.discriminator.trunk
    real, fake = torch.ones(4, dtype=torch.long), torch.zeros(4, dtype=torch.long)
    for index, name in enumerate(model.batch_keys):
        of_real = trunk(stems[index](batch[name])).flatten(1)
        of_fake = trunk(stems[index](generated["image"].chunk(2, -1)[index])).flatten(1)
        entropy = partial(F.cross_entropy, reduction="none")
        torch.testing.assert_close(opponent[f"adversarial_{name}"], entropy(of_real, real) + entropy(of_fake, fake))
        torch.testing.assert_close(terms[f"adversarial_{name}"], entropy(of_fake, real))


def test_a_sample_is_a_pair(tmp_path):
    model = cogan(None, None)
    assert not model.is_built
    fit(model, Batches([batch_of()] * 2), tmp_path)
    assert (model.source_shape, model.image_shape) == (SHAPE, (1, 16, 32))
    pairs = model.sample_pairs(3, seed=1)
    assert list(pairs) == ["source", "target"]
    assert all(images.shape == (3, *SHAPE) for images in pairs.values())
    assert torch.equal(torch.cat(list(pairs.values()), -1), model.sample(3, seed=1))
    alone = model.sample_pairs(1, seed=1, first=2)
    torch.testing.assert_close(alone["target"], pairs["target"][2:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(cogan, target_shape=(3, 16, 16)), r"target_shape: got \(3, 16, 16\) with .* allowed is the same$"),
        (partial(CoupledGenerator, (1, 16, 16)), r"image_shape \(1, 16, 16\), allowed are two squares \(C, H, 2H\)$"),
        (partial(CoupledGenerator, (1, 16, 32)), r"widths: got 4 of them, which make 25x25 for pictures of 16x16"),
        (partial(CoupledGenerator, (1, 28, 56), widths=[8, 0]), r"widths: got \[8, 0\], allowed are"),
        (partial(CoupledDiscriminator, (1, 14, 28)), r"padding: got 0, which leaves nothing of .* allowed is 2$"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
