"""UNIT and XGAN: one space of codes for two domains, and the papers' objectives on it."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pl_genmodels
from pl_genmodels.cli.export import generator_of
from pl_genmodels.losses import kl_normal
from pl_genmodels.models.translation import unit as unit_file
from pl_genmodels.models.translation.unit import UNIT
from pl_genmodels.models.translation.xgan import XGAN
from pl_genmodels.networks import (
    ConvDiscriminator,
    ConvEncoder,
    EmbeddingAutoencoders,
    MLPDiscriminator,
    MLPEncoder,
    PatchDiscriminator,
    ResNetAutoencoders,
)
from tests.models.harness import trainer
from tests.small import Batches, fit

NAMES, OTHERS = {"A": "source", "B": "target"}, {"A": "B", "B": "A"}
NETWORKS = {
    "generator": partial(ResNetAutoencoders, channels=4, num_blocks=2),
    "discriminator": partial(PatchDiscriminator, channels=4, num_layers=1),
}


def unit(source_shape=(1, 16, 16), target_shape=(3, 16, 16), **options):
    torch.manual_seed(0)
    return UNIT(source_shape, target_shape, **{**NETWORKS, **options})


def xgan(source_shape=(1, 16, 16), target_shape=(3, 16, 16), **options):
    torch.manual_seed(0)
    networks = {**NETWORKS, "classifier": partial(MLPDiscriminator, hidden_dim=8)}
    return XGAN(source_shape, target_shape, **{**networks, **options})


def two_domains(number=4):
    generator = torch.Generator().manual_seed(0)
    shapes = {"source": (1, 16, 16), "target": (3, 16, 16)}
    return {name: torch.rand(number, *shape, generator=generator) * 2 - 1 for name, shape in shapes.items()}


def encode(model, domain, images):
    return model.generator["shared_encoder"](model.generator[f"encoder_{domain}"](images))


def decode(model, domain, code):
    return model.generator[f"decoder_{domain}"](model.generator["shared_decoder"](code))


def gap(values, others):
    return (values - others).abs().flatten(1).mean(1)


def squares(values):
    return values.square().flatten(1).mean(1)


def reached_by(term, module):
    """Parts of a module that a term's gradient reaches."""
    module.zero_grad(set_to_none=True)
    term.sum().backward(retain_graph=True)
    named = module.named_parameters()
    return {name.split(".")[0] for name, p in named if p.grad is not None and (p.grad != 0).any()}


# ---- what both share


@pytest.mark.parametrize("make", [unit, xgan])
def test_what_lies_next_to_the_code_is_shared(make):
    """Both directions pass the same tensors; the optimiser has each once; a domain's own layers stay its own."""
    model = make()
    shared = [model.generator["shared_encoder"], model.generator["shared_decoder"]]
    assert sum(p.numel() for part in shared for p in part.parameters()) == 2 * 2 * (16 * 16 * 9 + 16)
    optimizer = model.configure_optimizers()[0][1]
    owned = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert len(owned) == len(set(owned)) == len(model.parameters_of("generator"))
    used = {"AtoB": {"encoder_A", "decoder_B"}, "BtoA": {"encoder_B", "decoder_A"}}
    for direction, name in zip(model.directions, ("source", "target"), strict=True):
        found = reached_by(model(two_domains()[name], direction).square(), model.generator)
        assert found == used[direction] | {"shared_encoder", "shared_decoder"}


@pytest.mark.parametrize("make", [unit, xgan])
def test_any_size_is_translated_both_ways(make):
    model = make()
    there = model.translate(torch.rand(2, 1, 21, 18) * 2 - 1)
    assert there.shape == (2, 3, 21, 18)
    assert model.translate(there, "BtoA").shape == (2, 1, 21, 18)


@pytest.mark.parametrize("direction", UNIT.directions)
def test_one_direction_is_exported_by_itself(direction, tmp_path):
    model = unit()
    shapes = model.generator.source_shape, model.generator.target_shape
    runner = trainer(tmp_path)
    runner.strategy.connect(model)
    model.trainer = runner
    runner.save_checkpoint(tmp_path / "a.ckpt")
    network = generator_of(str(tmp_path / "a.ckpt"), direction)
    assert (network.source_shape, network.target_shape) == (shapes if direction == "AtoB" else shapes[::-1])
    images = torch.rand(2, network.source_shape[0], 18, 13) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(images), model.translate(images, direction))


@pytest.mark.parametrize("make", [unit, xgan])
def test_discriminators_see_translations_and_no_reconstructions(make):
    model, batch = make(), two_domains()
    generated = model.generate(batch)
    found = model.discriminator_terms(batch, generated)
    assert found.keys() == {"adversarial_source", "adversarial_target"}
    for domain, name in NAMES.items():
        judge = model.discriminator[domain]
        expected = F.softplus(-judge(batch[name])) + F.softplus(judge(generated[name]))
        torch.testing.assert_close(found[f"adversarial_{name}"], expected.mean((1, 2, 3)))
    with torch.no_grad():
        assert model.generate(batch).keys() == {"source", "target"}


# ---- UNIT

WEIGHTS = {"adversarial": 2.0, "kl": 3.0, "reconstruction": 5.0, "cycle_kl": 7.0, "cycle": 11.0}


def test_unit_minimises_the_papers_objective(monkeypatch):
    """Written out domain by domain, with noise that is known: each encoding adds its own."""
    model, batch = unit(**{f"{name}_weight": weight for name, weight in WEIGHTS.items()}), two_domains()
    noise = [torch.randn(8, 16, 4, 4) for _ in range(2)]
    left = list(noise)
    monkeypatch.setattr(unit_file, "drawn", lambda mean: mean + left.pop(0))
    generated = model.generate(batch)
    terms = model.generator_terms(batch, generated)
    assert not left

    def kl(mean):
        """Of a code with variance 1, twice over its dimensions."""
        flat = mean.flatten(1)
        return 2 * kl_normal(flat, torch.zeros_like(flat)) / flat.shape[1]

    means = {domain: encode(model, domain, batch[name]) for domain, name in NAMES.items()}
    codes = {domain: means[domain] + part for domain, part in zip("AB", noise[0].chunk(2), strict=True)}
    translated = {domain: decode(model, OTHERS[domain], codes[domain]) for domain in "AB"}
    for (domain, name), part in zip(NAMES.items(), noise[1].chunk(2), strict=True):
        other, images = OTHERS[domain], batch[name]
        after = encode(model, other, translated[domain])
        judged = model.discriminator[domain](translated[other])
        expected = {
            "adversarial": 2 * F.softplus(-judged).mean((1, 2, 3)),
            "kl": 3 * kl(means[domain]),
            "reconstruction": 5 * gap(decode(model, domain, codes[domain]), images),
            "cycle_kl": 7 * (kl(means[domain]) + kl(after)),
            "cycle": 11 * gap(decode(model, domain, after + part), images),
        }
        for term, value in expected.items():
            torch.testing.assert_close(terms[f"{term}_{name}"], value)
    assert len(terms) == 10


def test_codes_are_noisy_in_training_only():
    """The noise has variance 1 and is another in each encoding."""
    model, batch = unit(), two_domains()
    first, second = (model.generate(batch) for _ in range(2))
    assert torch.equal(first["code_source"], second["code_source"])
    assert (first["target"] - second["target"]).abs().max() > 1e-3
    assert torch.equal(model.translate(batch["source"]), model.translate(batch["source"]))
    added = unit_file.drawn(torch.full((4, 5000), 3.0)) - 3
    assert added.mean().item() == pytest.approx(0, abs=0.03)
    assert added.std().item() == pytest.approx(1, abs=0.03)


# ---- XGAN

OMEGAS = {"domain": 2.0, "semantic": 3.0, "adversarial": 5.0, "teacher": 7.0}


def test_xgan_minimises_the_papers_objective():
    """Written out domain by domain."""
    weights = {f"{name}_weight": weight for name, weight in OMEGAS.items()}
    model, batch = xgan(teacher=MLPEncoder, **weights), two_domains()
    terms = model.generator_terms(batch, model.generate(batch))
    codes = {domain: encode(model, domain, batch[name]) for domain, name in NAMES.items()}
    translated = {domain: decode(model, OTHERS[domain], codes[domain]) for domain in "AB"}
    classes = {"A": torch.zeros(4), "B": torch.ones(4)}
    for domain, name in NAMES.items():
        other = OTHERS[domain]
        judged = model.discriminator[domain](translated[other])
        guess = model.classifier[1](codes[domain])
        again = encode(model, other, translated[domain])
        expected = {
            "reconstruction": squares(decode(model, domain, codes[domain]) - batch[name]).sqrt(),
            "domain": 2 * F.binary_cross_entropy_with_logits(guess, classes[domain], reduction="none"),
            "semantic": 3 * gap(codes[domain], again),
            "adversarial": 5 * F.softplus(-judged).mean((1, 2, 3)),
        }
        for term, value in expected.items():
            torch.testing.assert_close(terms[f"{term}_{name}"], value)
    told = model.teacher(batch["source"])
    torch.testing.assert_close(terms["teacher_source"], 7 * gap(codes["A"].flatten(1), told))
    assert len(terms) == 9


def test_each_term_reaches_what_it_is_about():
    """The consistency trains both encoders and the decoder between them, never the other decoder."""
    model, batch = xgan(), two_domains()
    terms = model.generator_terms(batch, model.generate(batch))
    shared = {"shared_encoder", "shared_decoder"}
    expected = {
        "reconstruction_source": shared | {"encoder_A", "decoder_A"},
        "reconstruction_target": shared | {"encoder_B", "decoder_B"},
        "domain_source": {"shared_encoder", "encoder_A"},
        "domain_target": {"shared_encoder", "encoder_B"},
        "semantic_source": shared | {"encoder_A", "encoder_B", "decoder_B"},
        "semantic_target": shared | {"encoder_A", "encoder_B", "decoder_A"},
        "adversarial_source": shared | {"encoder_B", "decoder_A"},
        "adversarial_target": shared | {"encoder_A", "decoder_B"},
    }
    assert {name: reached_by(term, model.generator) for name, term in terms.items()} == expected


def test_the_consistency_moves_the_first_code_too():
    """Not only towards it: the gradient of the L1 reaches the source's code itself."""
    model, batch = xgan(semantic_weight=3.0), two_domains()
    generated = model.generate(batch)
    terms = model.generator_terms(batch, generated)
    again = dict(zip(model.batch_keys, model.encode_translations(generated).chunk(2), strict=True))
    for name in model.batch_keys:
        code = generated[f"code_{name}"]
        (found,) = torch.autograd.grad(terms[f"semantic_{name}"].sum(), code, retain_graph=True)
        torch.testing.assert_close(found, 3 * (code - again[name]).sign() / code[0].numel())


def test_encoders_climb_what_the_classifier_descends():
    """One step against the gradient of the domain term: the classifier's lowers it, the encoders' raises it."""
    model, batch = xgan(domain_weight=1.0).double(), {name: images.double() for name, images in two_domains().items()}

    def entropy():
        terms = model.generator_terms(batch, model.generate(batch))
        return terms["domain_source"].mean() + terms["domain_target"].mean()

    for network, sign in ((model.classifier, -1), (model.generator, 1)):
        model.zero_grad(set_to_none=True)
        before = entropy()
        before.backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        length = 1e-4 / torch.cat([gradient.flatten() for gradient in gradients]).square().sum()
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.grad is not None:
                    parameter -= length * parameter.grad
        assert (entropy() - before).item() == pytest.approx(sign * 1e-4, rel=0.05)


class SameCode(MLPEncoder):
    """Says what the model's own encoder says."""

    def forward(self, image):
        return encode(self.model[0], "A", image).flatten(1)


def test_a_teacher_that_agrees_costs_nothing_and_teaches_domain_a_only():
    model, batch = xgan(teacher=SameCode), two_domains()
    model.teacher.model = [model]  # in a list: not a part of the teacher
    terms = model.generator_terms(batch, model.generate(batch))
    assert "teacher_target" not in terms
    assert (terms["teacher_source"] == 0).all()


def test_the_teacher_stays_as_it_is(tmp_path):
    """Training moves everything else, and a checkpoint brings the teacher back."""
    model = xgan(teacher=partial(ConvEncoder, channels=4, hidden_dim=8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    runner = fit(model, Batches([two_domains()] * 3), tmp_path)
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"generator", "discriminator", "classifier"}
    assert not model.teacher.training
    owned = {id(p) for player in model.players for p in model.parameters_of(player)}
    assert owned == {id(p) for p in model.parameters() if p.requires_grad}
    assert owned.isdisjoint(id(p) for p in model.teacher.parameters())
    runner.save_checkpoint(tmp_path / "last.ckpt")
    loaded = pl_genmodels.load(tmp_path / "last.ckpt")
    assert torch.equal(loaded.teacher(two_domains()["source"]), model.teacher(two_domains()["source"]))


# ---- networks


def test_embedding_networks_have_the_papers_widths():
    networks, judge = EmbeddingAutoencoders((3, 64, 64), (1, 64, 64)), ConvDiscriminator((3, 64, 64))
    widths = {
        name: [layer.out_channels for layer in part.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
        for name, part in (*networks.items(), ("judge", judge))
    }
    assert widths == {
        "encoder_A": [32, 64],
        "encoder_B": [32, 64],
        "shared_encoder": [128, 256, 1024, 1024],
        "shared_decoder": [512, 256],
        "decoder_A": [128, 64, 3],
        "decoder_B": [128, 64, 1],
        "judge": [16, 32, 32, 32],
    }
    images = torch.rand(2, 3, 64, 64)
    code = networks.encode({"A": images, "B": images[:, :1]})
    assert code.shape[1:] == networks.code_shape == (1024, 1, 1)
    assert networks.finish("B", networks.start_decoding(code)).shape == (4, 1, 64, 64)
    assert judge(images).shape == (2,)


def test_norm_of_the_convolutions_is_a_choice():
    for norm, blocks, others in (("none", 12, 0), ("instance", 12, 8)):
        network = ResNetAutoencoders((1, 16, 16), (1, 16, 16), channels=2, num_blocks=2, norm=norm)
        kinds = [type(layer).__name__ for layer in network.modules()]
        assert kinds.count("PictureNorm2d") == blocks + others


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            partial(ResNetAutoencoders, (1, 16, 18), (1, 16, 18)),
            r"got pictures of 16x18 to train on, .* that 4 divides$",
        ),
        (partial(ResNetAutoencoders, (1, 16, 16), (1, 8, 8)), "ResNetAutoencoders: got source_shape .* same size"),
        (
            partial(ResNetAutoencoders, (1, 16, 16), (1, 16, 16), norm="batch"),
            "norm: got 'batch', allowed are instance",
        ),
        (partial(ResNetAutoencoders, (1, 16, 16), (1, 16, 16), num_blocks=0), "num_blocks: got 0, allowed is 1"),
        (partial(EmbeddingAutoencoders, (1, 96, 64), (1, 96, 64)), r"got pictures of 96x64 .* that 64 divides$"),
        (partial(EmbeddingAutoencoders, (1, 64, 64), (1, 64, 64), code_dim=0), "code_dim: got 0, allowed is 1"),
        (partial(ConvDiscriminator, (1, 16, 16), widths=[]), r"widths: got \[\], allowed are one or more"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
