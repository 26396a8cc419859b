"""GeneGAN: who is bred with whom, what is read where there is no object, and the objective by hand."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pl_genmodels.cli.export import generator_of
from pl_genmodels.losses import NonSaturating
from pl_genmodels.models.conditional_gan.genegan import GeneGAN
from pl_genmodels.networks import GeneDiscriminator, GeneTranslator
from tests.models.harness import trainer

SHAPE, COUNT = (1, 8, 8), 5


class Halves(GeneTranslator):
    """The object is the right half of a picture: linear, and both codes are added."""

    def __init__(self, source_shape, target_shape):
        super().__init__(source_shape, target_shape, channels=2, num_halvings=1)
        self.scale = nn.Parameter(torch.ones(()))

    def split(self, image):
        right = torch.arange(image.shape[-1]) >= image.shape[-1] // 2
        return image * ~right, image * right

    def join(self, background, found):
        return self.scale * (background + found)


def small(**arguments):
    torch.manual_seed(0)
    networks = {
        "generator": partial(GeneTranslator, channels=4, num_halvings=2, norm="none"),
        "discriminator": partial(GeneDiscriminator, widths=[4], norm="none"),
    }
    return GeneGAN(SHAPE, SHAPE, **{**networks, **arguments})


def batch(*, empty=False):
    source, target = torch.rand(2, COUNT, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    if empty:
        target[..., 4:] = 0  # no object for `Halves`
    return {"source": source, "target": target}


def gap(values, others):
    return (values - others).abs().flatten(1).mean(1)


def test_terms_by_hand():
    model = small(loss=NonSaturating(), reconstruction_weight=2.0, epsilon_weight=3.0, parallelogram_weight=5.0, clip=0)
    drawn = batch()
    network, judges = model.generator["AtoB"], model.discriminator
    (a, x), (b, epsilon) = network.split(drawn["source"]), network.split(drawn["target"])
    assert x.shape == (COUNT, 2, 2, 2), "a quarter of 8 channels"
    assert torch.equal(torch.cat([a, x], 1), network.encoder(drawn["source"]))
    zeros = torch.zeros_like(x)
    again, same, crossed, bare = (network.join(*codes) for codes in ((a, x), (b, zeros), (b, x), (a, zeros)))
    found = model.generator_terms(drawn, model.generate(drawn))
    expected = {
        "reconstruction_source": 2 * gap(again, drawn["source"]) / 2,
        "reconstruction_target": 2 * gap(same, drawn["target"]) / 2,
        "adversarial_source": F.softplus(-judges["A"](crossed)),
        "adversarial_target": F.softplus(-judges["B"](bare)),
        "parallelogram": 5 * gap(drawn["source"] + drawn["target"], crossed + bare) / 2,
        "epsilon": 3 * epsilon.abs().flatten(1).mean(1),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)
    with torch.no_grad():
        generated = model.generate(drawn)
        assert generated.keys() == {"source", "target"}, "critics need nothing else"
    found = model.discriminator_terms(drawn, generated)
    for domain, name, fake in (("A", "source", crossed), ("B", "target", bare)):
        value = F.softplus(-judges[domain](drawn[name])) + F.softplus(judges[domain](fake))
        torch.testing.assert_close(found[f"adversarial_{name}"], value)


def test_one_critic_for_each_domain():
    model = small()
    assert model.discriminator["A"] is not model.discriminator["B"]
    terms = model.generator_terms(batch(), model.generate(batch()))
    for name in ("source", "target"):
        other = model.discriminator["B" if name == "source" else "A"]
        model.zero_grad(set_to_none=True)
        terms[f"adversarial_{name}"].sum().backward(retain_graph=True)
        assert all(p.grad is None for p in other.parameters())


def test_an_additive_decoder_closes_the_parallelogram():
    model, drawn = small(generator=Halves), batch(empty=True)
    terms = model.generator_terms(drawn, model.generate(drawn))
    for name in ("parallelogram", "reconstruction_source", "reconstruction_target", "epsilon"):
        assert torch.equal(terms[name], torch.zeros(COUNT)), name


def test_without_an_object_zeros_are_read_and_not_epsilon():
    """What epsilon holds is missing from the reconstruction, so that nothing can hide there."""
    model, drawn = small(generator=Halves), batch()
    generated = model.generate(drawn)
    assert generated["target"][..., 4:].abs().max() == 0
    assert generated["same_target"][..., 4:].abs().max() == 0
    terms = model.generator_terms(drawn, generated)
    lost = (drawn["target"] * (torch.arange(8) >= 4)).abs().flatten(1).mean(1)
    torch.testing.assert_close(terms["reconstruction_target"], lost / 2)
    torch.testing.assert_close(terms["epsilon"], lost)


def test_use_takes_objects_out_and_passes_them_on(tmp_path):
    model, drawn = small(generator=Halves).eval(), batch(empty=True)
    source, target = drawn["source"], drawn["target"]
    left = torch.arange(8) < 4
    assert torch.equal(model.translate(source), source * left)
    assert torch.equal(model.swap(target, source), torch.where(left, target, source))
    assert torch.equal(model.swap(source, target), source * left)
    panels = model.panels(drawn)
    assert list(panels) == ["source", "reconstruction", "translation", "other", "crossbred"]
    assert torch.equal(panels["reconstruction"], source)
    assert torch.equal(panels["other"], target.roll(1, 0))
    assert torch.equal(panels["crossbred"], torch.where(left, target.roll(1, 0), source))
    with pytest.raises(ValueError, match="direction: got 'BtoA', which a GeneGAN has not, allowed: AtoB"):
        model.translate(target, "BtoA")


def test_other_sizes_are_translated_and_the_network_is_exported(tmp_path):
    model = small()
    assert model.translate(torch.rand(2, 1, 10, 13)).shape == (2, 1, 10, 13)
    runner = trainer(tmp_path)
    runner.strategy.connect(model)
    model.trainer = runner
    runner.save_checkpoint(tmp_path / "a.ckpt")
    network = generator_of(str(tmp_path / "a.ckpt"), "AtoB").eval()
    images = batch()["source"]
    torch.testing.assert_close(network(images), model.translate(images))


def test_critics_are_clipped_and_get_many_steps_now_and_then():
    model = small(clip=0.02)
    parameters = list(model.discriminator.parameters())
    assert max(p.abs().max() for p in parameters) <= 0.02
    with torch.no_grad():
        parameters[0].fill_(1)
    model.after_step("generator")
    assert parameters[0].max() == 1
    model.after_step("discriminator")
    assert parameters[0].max() == 0.02
    assert [model.critic_steps_at(update) for update in (0, 1, 499, 500, 501)] == [100, 1, 1, 100, 1]


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_networks_of_other_depths(norm):
    for halvings in (1, 2, 3):
        network = GeneTranslator((3, 16, 16), (3, 16, 16), 4, halvings, 0.5, norm)
        image = torch.rand(2, 3, 16, 16)
        background, found = network.split(image)
        assert found.shape == (2, network.object_channels, 16 >> halvings, 16 >> halvings)
        assert background.shape[1] == found.shape[1] == 2 * 2 ** (halvings - 1)
        assert network.join(background, found).shape == image.shape
    assert GeneDiscriminator((3, 16, 12), [4, 8], norm)(torch.rand(2, 3, 16, 12)).shape == (2,)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (partial(small, epsilon_weight=-1.0), "epsilon_weight: got -1.0, allowed is 0 or more"),
        (partial(small, clip=-0.1), "clip: got -0.1, allowed is 0 or more"),
        (partial(small, warmup_steps=0), "warmup_updates, warmup_steps: got 1, 0"),
        (partial(GeneTranslator, SHAPE, SHAPE, object_share=1.0), "object_share: got 1.0"),
        (partial(GeneTranslator, SHAPE, SHAPE, channels=1, num_halvings=1), "channels: got 1 with a single layer"),
        (partial(GeneTranslator, SHAPE, SHAPE, norm="layer"), "norm: got 'layer'"),
        (partial(GeneTranslator, SHAPE, (3, 8, 8)), "target_shape: got 3 channels, allowed are those of the source, 1"),
        (partial(GeneDiscriminator, SHAPE, [8] * 4), "widths: got 4 layers, which halve 8x8 too often"),
        (partial(GeneDiscriminator, SHAPE, []), r"widths: got \[\], allowed"),
    ],
)
def test_what_is_out_of_range(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
