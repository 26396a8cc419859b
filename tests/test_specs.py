import copy
import importlib
import inspect
import pickle
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path

import jsonargparse
import numpy as np
import pytest
import torch
import yaml

from pl_genmodels.losses import (
    DRAGAN,
    R1,
    R2,
    AdversarialLoss,
    BoundarySeeking,
    BregmanRatio,
    Constraint,
    FDivergence,
    ForwardRatio,
    GradientPenalty,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Penalty,
    Relativistic,
    RelativisticAverage,
    ReverseRatio,
    SpectralNorm,
    Wasserstein,
    WeightClipping,
)
from pl_genmodels.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    Discriminator,
    Generator,
    MLPClassifier,
    MLPDiscriminator,
    MLPGenerator,
    NormalPrior,
    PixelShuffleGenerator,
    Prior,
    R3GANDiscriminator,
    R3GANGenerator,
    ResNetDiscriminator,
    ResNetGenerator,
    UniformPrior,
)
from pl_genmodels.specs import Recorded, bound_arguments, default_arguments, import_path, to_spec

SHAPE = (1, 16, 16)
R3 = {"channels": [8, 4, 4], "blocks_per_stage": 1, "cardinality": 2}
NETWORKS = [
    partial(MLPGenerator, latent_dim=3, hidden_dim=8, batch_norm=True),
    partial(MLPDiscriminator, hidden_dim=8, gain=5.0),
    partial(DCGANGenerator, latent_dim=3, channels=2),
    partial(DCGANDiscriminator, channels=2, batch_norm=False),
    partial(ResNetGenerator, latent_dim=3, channels=2),
    partial(ResNetDiscriminator, channels=2, pooling="sum", output_bias=False),
    partial(R3GANGenerator, latent_dim=3, **R3),
    partial(R3GANDiscriminator, **R3),
    partial(MLPClassifier, num_classes=3, hidden_dims=[8], weight_norm=True),
    partial(PixelShuffleGenerator, latent_dim=3, channels=2),
]
PARTS = [
    (AdversarialLoss, Minimax()),
    (AdversarialLoss, NonSaturating()),
    (AdversarialLoss, LeastSquares(-1.0, real_target=1.0, generator_target=0.0)),
    (AdversarialLoss, Hinge()),
    (AdversarialLoss, Wasserstein()),
    (AdversarialLoss, Relativistic()),
    (AdversarialLoss, RelativisticAverage("hinge")),
    (AdversarialLoss, BoundarySeeking()),
    (AdversarialLoss, FDivergence("kl", non_saturating=True, limit=8.0)),
    (AdversarialLoss, ForwardRatio(0.2)),
    (AdversarialLoss, ReverseRatio(0.1)),
    (AdversarialLoss, BregmanRatio("pearson", exact=False, mixture=0.1)),
    (Penalty, GradientPenalty(0.1, one_sided=True)),
    (Penalty, R1(2.0)),
    (Penalty, R2(gamma=2.0)),
    (Penalty, DRAGAN(5.0, scale=0.1)),
    (Constraint, WeightClipping(0.1)),
    (Constraint, SpectralNorm(num_power_iterations=2)),
    (Prior, NormalPrior()),
    (Prior, UniformPrior(2.0)),
]


def through_yaml(kind, spec):
    """What jsonargparse builds of a spec that went through a YAML file, for an argument of type `kind`."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--part", type=kind)
    parsed = parser.parse_object({"part": yaml.safe_load(yaml.safe_dump(spec))})
    build = parser.instantiate if hasattr(parser, "instantiate") else parser.instantiate_classes
    return build(parsed).part


def complete(spec):
    """A spec with the defaults that jsonargparse writes out."""
    module, name = spec["class_path"].rsplit(".", 1)
    parameters = inspect.signature(getattr(importlib.import_module(module), name).__init__).parameters.values()
    defaults = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.default is not inspect.Parameter.empty
    }
    return {**spec, "init_args": {**defaults, **spec["init_args"]}}


def factory_kind(network):
    return Callable[[tuple[int, ...]], Generator if issubclass(network.func, Generator) else Discriminator]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.func.__name__)
def test_network_factories_survive_yaml(network):
    factory = through_yaml(factory_kind(network), to_spec(network))
    assert to_spec(factory) == complete(to_spec(network))
    built, expected = factory(SHAPE), network(SHAPE)
    assert type(built) is type(expected)
    assert built.image_shape == SHAPE
    built.load_state_dict(expected.state_dict())
    inputs = torch.randn(2, 3) if isinstance(expected, Generator) else torch.randn(2, *SHAPE)
    assert torch.equal(built.eval()(inputs), expected.eval()(inputs))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.func.__name__)
def test_built_networks_describe_their_factory(network):
    built = network(SHAPE)
    assert to_spec(built) == to_spec(network)  # the shape is the model's to supply
    again = through_yaml(factory_kind(network), to_spec(built))(SHAPE)
    assert to_spec(again) == complete(to_spec(built))
    assert [tuple(weight.shape) for weight in again.parameters()] == [
        tuple(weight.shape) for weight in built.parameters()
    ]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.func.__name__)
def test_a_class_states_its_defaults(network):
    """Otherwise jsonargparse would carry over those of the class that it replaces."""
    parameters = inspect.signature(network.func).parameters
    defaults = {name: to_spec(p.default) for name, p in parameters.items() if p.default is not p.empty}
    assert to_spec(network.func) == {"class_path": import_path(network.func), "init_args": defaults}
    factory = through_yaml(factory_kind(network), to_spec(network.func))
    with torch.device("meta"):
        assert type(factory((1, 32, 32))) is network.func


@pytest.mark.parametrize(("kind", "part"), PARTS, ids=lambda value: type(value).__name__)
def test_parts_survive_yaml(kind, part):
    spec = to_spec(part)
    again = through_yaml(kind, spec)
    assert type(again) is type(part)
    assert to_spec(again) == complete(spec)
    assert {name: vars(again)[name] for name in spec["init_args"] if name in vars(part)} == {
        name: value for name, value in spec["init_args"].items() if name in vars(part)
    }
    if isinstance(part, AdversarialLoss):
        real, fake = torch.randn(5), torch.randn(5)
        assert torch.equal(again.discriminator(real, fake), part.discriminator(real, fake))
        assert torch.equal(again.generator(fake, real), part.generator(fake, real))


def test_lists_of_parts_survive_yaml():
    penalties = through_yaml(list[Penalty], to_spec([R1(1.0), GradientPenalty(weight=0.1)]))
    assert [type(penalty) for penalty in penalties] == [R1, GradientPenalty]
    assert (penalties[0].gamma, penalties[1].weight) == (1.0, 0.1)


def test_a_class_of_another_kind_is_refused():
    with pytest.raises(jsonargparse.ArgumentError, match="AdversarialLoss"):
        through_yaml(AdversarialLoss, to_spec(R1()))
    with pytest.raises(jsonargparse.ArgumentError, match="gama"):
        through_yaml(Penalty, {"class_path": import_path(R1), "init_args": {"gama": 1.0}})


def test_specs_are_read_by_a_weights_only_load(tmp_path):
    spec = to_spec({"loss": LeastSquares(-1.0), "generator": NETWORKS[6], "penalties": [R1(1.0)]})
    torch.save(spec, tmp_path / "spec.pt")
    assert torch.load(tmp_path / "spec.pt", weights_only=True) == spec


class Colour(Enum):
    RED = "red"


def test_plain_forms():
    value = {
        "none": None,
        "flag": True,
        "number": 3,
        "tuple": (1, 2.5),
        "path": Path("a") / "b",
        "enum": Colour.RED,
        "numpy": np.int64(4),
        "torch": torch.tensor(0.5),
        5: "key",
        "function": import_path,
    }
    assert to_spec(value) == {
        "none": None,
        "flag": True,
        "number": 3,
        "tuple": [1, 2.5],
        "path": str(Path("a") / "b"),
        "enum": "red",
        "numpy": 4,
        "torch": 0.5,
        "5": "key",
        "function": "pl_genmodels.specs.import_path",
    }
    assert type(to_spec(np.int64(4))) is int
    assert type(to_spec(np.float64(4.0))) is float
    assert type(to_spec(torch.tensor(0.5))) is float
    assert to_spec(True) is True


class Base(Recorded):
    def __init__(self, first, second=2, **extra):
        self.first, self.second, self.extra = first, second, extra


class Narrow(Base):
    def __init__(self, first, **kwargs):
        super().__init__(first, **kwargs)


def test_arguments_are_recorded_by_name_with_defaults():
    assert Base(1).init_args == {"first": 1, **default_arguments(Base)}
    assert default_arguments(Base) == {"second": 2}
    assert Base(1, 3, third=4).init_args == {"first": 1, "second": 3, "third": 4}
    assert Narrow(1, second=5).init_args == {"first": 1, "second": 5}
    assert bound_arguments(Base, (1,), {"second": 3}) == {"first": 1, "second": 3}


def test_a_wrong_call_is_the_constructors_to_report():
    with pytest.raises(TypeError, match="negative"):
        MLPGenerator(SHAPE, negative=1)


def test_recorded_arguments_survive_copies():
    network = NETWORKS[0](SHAPE)
    assert copy.deepcopy(network).init_args == network.init_args
    assert pickle.loads(pickle.dumps(network)).init_args == network.init_args
    assert pickle.loads(pickle.dumps(R1(3.0))).gamma == 3.0


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (lambda: 0, "a lambda or a local definition cannot be stored"),
        (partial(MLPGenerator, SHAPE), "name every argument of the partial"),
        (torch.zeros(2), "a checkpoint cannot hold this argument"),
        (object(), "a checkpoint cannot hold this argument"),
        ([torch.nn.Linear(1, 1)], "a checkpoint cannot hold this argument"),
    ],
    ids=["lambda", "positional", "tensor", "object", "module"],
)
def test_what_no_checkpoint_can_hold(value, sentence):
    with pytest.raises(ValueError, match=sentence):
        to_spec(value)
