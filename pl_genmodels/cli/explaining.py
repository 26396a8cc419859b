"""Messages of the parser as one sentence: the key, the value, what is allowed, and the nearest right name."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.data import ImageData
from pl_genmodels.metrics import FeatureExtractor
from pl_genmodels.models.base import GenerativeModule

TOP = ("model", "data", "trainer", "seed_everything", "ckpt_path", "config", "optimizer", "lr_scheduler")
"""Keys of a config, and of options."""

STRUCTURE = ("class_path", "init_args")
"""Keys that name a class and its arguments."""

LIBRARIES = ("pl_genmodels.", "torch.optim.", "lightning.pytorch.")
"""Where classes lie that go by their short names."""


def explain(message: str) -> str:
    """A message of jsonargparse as one sentence."""
    keys = re.findall(r'Parser key "([^"]+)"', message)
    where = ".".join(keys)
    readers = (_incomplete, _unknown_option, _unknown_class, _another_kind, _wrong_value)
    for reader in readers:
        if sentence := reader(message, where):
            return sentence
    lines = [line.strip(" -") for line in message.splitlines()]
    return " ".join(dict.fromkeys(line for line in lines if line and not line.startswith("Given value")))


def _incomplete(message: str, where: str) -> str | None:
    """What is said of a command line that lacks something, or has something that belongs nowhere."""
    missing = re.search(r"following arguments are required: (.+)", message)
    owners = re.findall(r"class_path '(?:\w+\.)*(\w+)'", message)
    if missing and where:
        named = " and ".join(f"{where}.{name}" for name in missing[1].split(", "))
        return f"{where}: {owners[-1] if owners else 'it'} needs more; give --{named.replace(' and ', ' and --')}"
    if missing:
        names = missing[1].split(", ")
        if names[0].startswith("fit."):
            given = "there is no model" if "fit.model" in names else "there are no data"
            return f"fit: {given}; give --config FILE, such as configs/dcgan.yaml, or --model and --data"
        return f"the command needs {' and '.join(f'--{name}' for name in names)}; --help tells what it is"
    if '"subcommand" to be one of' in message:
        return "there is no command; one comes first, as in fit --config configs/dcgan.yaml; --help lists all"
    verb = re.search(r"argument subcommand: invalid choice: '([^']+)'", message)
    if verb:
        from pl_genmodels.cli.verbs import VERBS  # which is built on the parser

        return f"there is no command {verb[1]!r}" + _choices(verb[1], [*LightningCLI.subcommands(), *VERBS])
    stray = re.search(r"unrecognized arguments: (\S+)", message)
    if stray and stray[1].startswith("-"):
        name = stray[1].lstrip("-").partition("=")[0]
        return f"there is no option {stray[1]}" + _near_option(name)
    if stray:
        option = {".yaml": "config", ".yml": "config", ".ckpt": "ckpt_path"}.get(Path(stray[1]).suffix)
        hint = f"; did you mean --{option} {stray[1]}?" if option else ""
        return f"got {stray[1]!r}, allowed are options, which begin with --" + hint
    bare = re.search(r"argument (?:-\w/)?--(\S+): expected (?:one|at least one) argument", message)
    if bare:
        return f"{bare[1]}: the value is missing"
    key = re.search(r"(?:Subcommand '\w+' does not accept option|[Kk]ey) '([^']+)'(?: is not expected)?", message)
    return f"there is no option {key[1]!r}" + _near_option(key[1]) if key else None


def _near_option(name: str) -> str:
    """A hint at the option that may be meant by a dotted name."""
    first, _, rest = name.partition(".")
    if first not in TOP:
        near = difflib.get_close_matches(first, TOP, n=1)
        return f"; did you mean {'.'.join([near[0], rest]).rstrip('.')!r}?" if near else ""
    return _choices(name.rpartition(".")[2], _arguments(Trainer), listed=False)


def _unknown_option(message: str, where: str) -> str | None:
    """What is said of an argument that a class does not take."""
    option = re.search(r"Option '([^']+)' is not accepted(?:\. Got value: Namespace\(class_path='([^']+)')?", message)
    if not option:
        return None
    owners = re.findall(r"class_path '([^']+)'", message[: option.start()])
    owner = option[2] or (owners[-1] if owners else None)
    if owner is None:
        return f"{where}: there is no option {option[1]!r}"
    allowed, key = _arguments(_imported(owner)), option[1].partition(".")[0]
    meant = [name for name in STRUCTURE if key[:4] == name[:4] and key not in allowed]
    if meant:
        return f"{where}: got the key {key!r}, allowed are class_path and init_args; did you mean {meant[0]!r}?"
    return f"{where}: {owner.rpartition('.')[2]} has no option {option[1]!r}" + _choices(option[1], allowed)


def _unknown_class(message: str, where: str) -> str | None:
    """What is said of a class that there is not."""
    asked_for = re.search(r"(\w+)\.help: .*Expected a dot import path string: (\S+)", message, re.DOTALL)
    if asked_for:
        return f"{asked_for[1]}.help: there is no class {asked_for[2]!r}" + _choices(
            asked_for[2], classes_for(asked_for[1])
        )
    key = where.rpartition(".")[2]
    name = re.search(r"Expected a dot import path string: (\S+)", message)
    if name and key:
        asked = _kind_asked_for(message, key)
        if asked is not None and (name[1] in classes_for(key) or not classes_for(key)):
            there = _class_named(name[1]) is not None
            said = f"{name[1]} is not a {asked.__name__}" if there else f"there is no class {name[1]!r}"
            return f"{where}: {said}" + _choices(name[1], _concrete(asked))
        kind = _kind_of(key)
        if kind is not None and _class_named(name[1]) is not None:
            return f"{where}: {name[1]} is not a {kind.__name__}" + _choices(name[1], classes_for(key))
        return f"{where}: there is no class {name[1]!r}" + _choices(name[1], classes_for(key))
    absent = re.search(r"class_path '([^']+)':\s+(?:module '\S+' has no attribute|No module named)", message)
    if absent:
        return f"{where}: there is no class {absent[1]!r}" + _choices(absent[1].rpartition(".")[2], classes_for(key))
    return None


def _another_kind(message: str, where: str) -> str | None:
    """What is said of a class that belongs elsewhere."""
    allowed = classes_for(where.rpartition(".")[2])
    wrong = re.search(r"Expected '(\S+)' to be a subclass of <class '(?:\w+\.)*(\w+)'>", message)
    wrong = wrong or re.search(r"Import path (\S+) does not correspond to a subclass of (\w+)", message)
    return f"{where}: {wrong[1]} is not a {wrong[2]}" + _choices(wrong[1], allowed) if wrong and where else None


def _wrong_value(message: str, where: str) -> str | None:
    """What is said of a value of another type."""
    value = re.search(r"Expected an? (.+?)\. Got value: (.+?)(?:\. Got value|\n|$)", message)
    if value and where:
        return f"{where}: got {value[2]!r}, allowed is {_type_named(value[1])}"
    errors = list(re.finditer(r"^( *)Errors:\n((?:\1 .*\n?)*)", message, re.MULTILINE))
    if not errors or not where:
        return None
    inner = max(errors, key=lambda found: len(found[1]))
    given = re.search(r"Given value: (.+)", message[inner.end() :])
    kinds = re.findall(r"- (?:Expected an? (.+)|Not a valid subclass of (\w+))", inner[2])
    allowed = list(dict.fromkeys(f"a {kind}" if kind else _type_named(plain) for plain, kind in kinds))
    if not given or not allowed:
        return None
    return f"{where}: got {given[1]!r}, allowed is {' or '.join(allowed).rstrip(',')}"


def _type_named(kind: str) -> str:
    """A type as the parser prints it, for a reader."""
    for python, plain in (("<class 'list'>", "a list, as in [a, b],"), ("<class 'NoneType'>", "null")):
        kind = kind.replace(python, plain)
    kind = re.sub(r"typing\.Literal\[(.+?)\]", r"\1", kind)
    return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", kind)


def _choices(name: str, allowed: Sequence[str], listed: bool = True) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    near = near or [one for one in allowed if one.lower() == name.lower()]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return (f"; allowed are {', '.join(sorted(allowed))}" if listed and allowed else "") + hint


def _imported(class_path: str) -> Any:
    module, _, name = class_path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _arguments(cls: type) -> list[str]:
    from jsonargparse._parameter_resolvers import get_signature_parameters

    return [parameter.name for parameter in get_signature_parameters(cls, None) if parameter.name != "params"]


def _class_named(name: str) -> type | None:
    """A class of this package by its short name."""
    for module in list(sys.modules.values()):
        found = getattr(module, name, None) if getattr(module, "__name__", "").startswith("pl_genmodels.") else None
        if isinstance(found, type):
            return found
    return None


def _kind_of(key: str) -> type | None:
    """What the classes that a key takes have in common."""
    from pl_genmodels import layers, losses, networks

    kinds: dict[str, type] = {
        "model": GenerativeModule,
        "data": ImageData,
        "extractor": FeatureExtractor,
        "generator": networks.Generator,
        "discriminator": networks.Discriminator,
        "encoder": networks.Encoder,
        "decoder": networks.Decoder,
        "prior": networks.Prior,
        "loss": losses.AdversarialLoss,
        "likelihood": losses.PixelLikelihood,
        "objective": losses.VariationalObjective,
        "penalties": losses.Penalty,
        "constraints": losses.Constraint,
        "augmentations": layers.Augmentation,
        "condition": layers.Condition,
        "callbacks": Callback,
        "logger": Logger,
        "optimizer": Optimizer,
        "scheduler": LRScheduler,
    }
    return kinds.get(key) or kinds.get(key.partition("_")[0])


def classes_for(key: str) -> list[str]:
    """Short names of the classes that a key takes."""
    kind = _kind_of(key)
    return [] if kind is None else _concrete(kind)


def _kind_asked_for(message: str, key: str) -> type | None:
    """What the innermost class of a message takes as an argument, if that is one class."""
    owners = re.findall(r"Problem with given class_path '([^']+)'", message)
    kind = get_type_hints(_imported(owners[-1]).__init__).get(key) if owners else None
    return kind if isinstance(kind, type) else None


def _concrete(kind: type) -> list[str]:
    """Short names of the classes of a kind, without those of the user."""
    found: set[str] = set()
    queue: list[type] = kind.__subclasses__() or [kind]
    foreign = not kind.__module__.startswith("pl_genmodels.")
    while queue:
        kind = queue.pop()
        children: list[type] = kind.__subclasses__()
        ours = [child for child in children if child.__module__.startswith("pl_genmodels.")]
        queue += [child for child in children if child.__module__.startswith(LIBRARIES)]
        public = not kind.__name__.startswith("_") and kind.__module__.startswith(LIBRARIES)
        if public and (foreign or not ours) and not inspect.isabstract(kind):
            found.add(kind.__name__)  # a user's own subclass does not make it abstract
    return sorted(found)
