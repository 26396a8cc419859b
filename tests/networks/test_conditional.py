"""Networks that are told what a sample is to be."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.networks import (
    ConcatDiscriminator,
    ConcatGenerator,
    ConditionalNormGenerator,
    ConvDiscriminator,
    DCGANDiscriminator,
    DCGANGenerator,
    EmbeddingMapDiscriminator,
    MLPDiscriminator,
    MLPGenerator,
    ProjectionDiscriminator,
    TwoWayDiscriminator,
    TwoWayGenerator,
)
from pl_genmodels.specs import to_spec

SHAPE, CLASSES = (1, 8, 8), 3
CONVOLUTIONS = partial(DCGANGenerator, channels=4)
GENERATORS = {
    "concat": ConcatGenerator,
    "embedding": partial(ConcatGenerator, embedding_dim=5),
    "convolutions": partial(ConcatGenerator, generator=CONVOLUTIONS),
    "norm": partial(ConditionalNormGenerator, generator=partial(MLPGenerator, batch_norm=True)),
    "norm of convolutions": partial(ConditionalNormGenerator, generator=CONVOLUTIONS),
    "two ways": partial(TwoWayGenerator, latent_dim=32),
}
JUDGES = partial(DCGANDiscriminator, channels=4)
DISCRIMINATORS = {
    "concat": ConcatDiscriminator,
    "maps": partial(ConcatDiscriminator, discriminator=JUDGES, as_maps=True),
    "embedding": EmbeddingMapDiscriminator,
    "projection": ProjectionDiscriminator,
    "projection of convolutions": partial(ProjectionDiscriminator, discriminator=JUDGES),
    "two ways": TwoWayDiscriminator,
}


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_generators_do_what_they_are_told(make):
    torch.manual_seed(0)
    network = make(SHAPE, CLASSES).eval()
    for module in network.modules():  # starts blind, as the plain layer does
        if type(module).__name__ == "ConditionalBatchNorm":
            torch.nn.init.normal_(module.gain.weight)
    latent = torch.randn(2, network.latent_dim)
    told = [network(latent, row.expand(2, -1)) for row in torch.eye(CLASSES)]
    assert all(one.shape == (2, *SHAPE) and one.abs().max() <= 1 for one in told)
    assert not torch.allclose(told[0], told[1])
    mixed = network(latent, torch.eye(CLASSES)[:2])
    assert torch.allclose(mixed, torch.stack([told[0][0], told[1][1]]), atol=1e-6), "each sample its own"
    assert "latent_dim" not in str(to_spec(make).get("init_args", {}).get("generator")), "the network supplies it"


@pytest.mark.parametrize("make", DISCRIMINATORS.values(), ids=DISCRIMINATORS)
def test_discriminators_see_the_condition(make):
    torch.manual_seed(0)
    network = make(SHAPE, CLASSES).eval()
    image = torch.randn(2, *SHAPE)
    logits = [network(image, row.expand(2, -1)) for row in torch.eye(CLASSES)]
    assert logits[0].shape == (2,)
    assert not torch.allclose(logits[0], logits[1])
    mixed = network(image, torch.eye(CLASSES)[:2])
    assert torch.allclose(mixed, torch.stack([logits[0][0], logits[1][1]]), atol=1e-6)


def test_the_projection_adds_to_the_logit():
    network = ProjectionDiscriminator(SHAPE, CLASSES)
    image, condition = torch.randn(4, *SHAPE), torch.eye(CLASSES)[[0, 1, 2, 0]]
    plain, features = network.judge(image, with_features=True)
    expected = plain + (features[-1] @ network.projection.embedding.weight * condition).sum(1)
    assert torch.allclose(network(image, condition), expected, atol=1e-5)


def test_the_papers_generator():
    network = TwoWayGenerator((1, 28, 28), 10)
    assert sum(p.numel() for p in network.parameters()) == 2_413_984


@pytest.mark.parametrize("joint_units", [6, 0])
def test_the_papers_generator_leaves_hidden_units_out_in_training_only(joint_units):
    network = TwoWayGenerator((2,), 3, 4, 8, 8, joint_units, dropout=0.5)
    latent, condition = torch.randn(5, 4), torch.randn(5, 3)
    assert sum(isinstance(module, nn.Dropout) for module in network.modules()) == (3 if joint_units else 2)
    assert not torch.equal(network(latent, condition), network(latent, condition))
    network.eval()
    assert torch.equal(network(latent, condition), network(latent, condition))
    plain = TwoWayGenerator((2,), 3, 4, 8, 8, joint_units)
    assert plain.state_dict().keys() == {key.replace("joint.3", "joint.2") for key in network.state_dict()}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ConditionalNormGenerator(SHAPE, 3), "got MLPGenerator without batch normalisation to tell"),
        (
            lambda: ProjectionDiscriminator(SHAPE, 3, ConvDiscriminator),
            "ConvDiscriminator, which does not give",
        ),
        (lambda: EmbeddingMapDiscriminator((2,), 3), "allowed are pictures"),
        (lambda: ConcatGenerator(SHAPE, 3, latent_dim=0), "latent_dim: got 0"),
    ],
)
def test_what_does_not_fit_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_points_are_told_too():
    generator, judge = ConcatGenerator((2,), 3), ConcatDiscriminator((2,), 3, partial(MLPDiscriminator, hidden_dim=8))
    points = generator(torch.randn(5, 32), torch.eye(3)[[0, 1, 2, 0, 1]])
    assert points.shape == (5, 2)
    assert judge(points, torch.eye(3)[[0, 1, 2, 0, 1]]).shape == (5,)
