"""A user's mistake in one sentence: the key, the value, what is allowed, and the nearest right name."""

from __future__ import annotations

import difflib
import errno
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from pl_genmodels.data import ImageData
from pl_genmodels.metrics import FeatureExtractor
from pl_genmodels.models.base import GenerativeModule
from pl_genmodels.models.ranks import names_lost_rank

PACKAGE = str(Path(__file__).parent.parent)


class Parser(LightningArgumentParser):
    """Says what is wrong in one sentence, with the nearest right name, instead of a page of usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Leave with status 2; nested parsers raise as usual."""
        if not self.exit_on_error:
            super().error(message, ex)
        own = own_error(ex) if ex is not None else None
        fail(str(own) if own is not None else explain(message), status=2)


def fail(sentence: str, status: int = 1) -> NoReturn:
    """Say what is wrong and leave."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(status)


def _chain(error: BaseException) -> list[BaseException]:
    """An error and those that led to it, outermost first."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def own_error(error: BaseException) -> BaseException | None:
    """The error among those that led here which one of our files raised to tell the user something.

    The innermost one, or what another of our files made of it by `raise ... from`.
    """
    found: BaseException | None = None
    for link in reversed(_chain(error)):
        frames = traceback.extract_tb(link.__traceback__)
        raised_here = bool(frames) and frames[-1].filename.startswith(PACKAGE)
        own = raised_here and isinstance(link, (ValueError, OSError, RuntimeError))
        if own and (found is None or link.__cause__ is found):
            found = link
    return found


def sentence_for(error: BaseException) -> str | None:
    """What to tell the user about an error, or None if it is a defect of the program."""
    own = own_error(error)
    if own is not None:
        return str(own)
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk is full ({link.filename or 'while writing'}); the checkpoints written before are intact"
        if isinstance(link, OSError) and link.filename:
            return f"{link.filename}: {link.strerror}"
        if isinstance(link, MisconfigurationException):
            return str(link)
        if names_lost_rank(link):
            return str(link.args[0])
        if isinstance(link, ValueError) and _raised_in(link, "accelerator_connector.py"):
            return f"trainer: {link}"
        if "SyncBatchNorm layers only work with GPU modules" in str(link):
            return "trainer.sync_batchnorm: got true, which needs GPUs; leave it out on the CPU"
    return None


def _raised_in(error: BaseException, file: str) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).name == file


def explain(message: str) -> str:
    """A message of jsonargparse as one sentence: the key, the value, what is allowed, and the nearest right name."""
    keys = re.findall(r'Parser key "([^"]+)"', message)
    where = ".".join(keys)
    option = re.search(r"class_path '([^']+)':.*Option '([^']+)' is not accepted", message, re.DOTALL)
    if option:
        allowed = _arguments(_imported(option[1]))
        return f"{where}: {option[1].rpartition('.')[2]} has no option {option[2]!r}" + _choices(option[2], allowed)
    name = re.search(r"Expected a dot import path string: (\S+)", message)
    if name and keys:
        asked = _kind_asked_for(message, keys[-1])
        if asked is not None and name[1] in classes_for(keys[-1]):
            return f"{where}: {name[1]} is not a {asked.__name__}" + _choices(name[1], _concrete(asked))
        return f"{where}: there is no class {name[1]!r}" + _choices(name[1], classes_for(keys[-1]))
    wrong = re.search(r"Expected '(\S+)' to be a subclass of <class '(\w+)'>", message)
    if wrong and keys:
        return f"{where}: {wrong[1]} is not a {wrong[2]}" + _choices(wrong[1], classes_for(keys[-1]))
    stranger = re.search(r"unrecognized arguments: --(\S+)", message)
    if stranger:
        last = stranger[1].partition("=")[0].rpartition(".")[2]
        return f"there is no option --{stranger[1]}" + _choices(last, _arguments(Trainer), listed=False)
    verb = re.search(r"argument subcommand: invalid choice: '(\w+)'", message)
    if verb:
        from pl_genmodels.cli.verbs import VERBS  # which is built on the parser above

        return f"there is no command {verb[1]!r}" + _choices(verb[1], [*LightningCLI.subcommands(), *VERBS])
    value = re.search(r"Expected an? (.+?)\. Got value: (.+?)(?:\n|$)", message)
    if value and keys:
        kind = re.sub(r"<class '(.+)'>", r"\1", value[1])
        return f"{where}: got {value[2]!r}, allowed is {kind}"
    lines = [line.strip(" -") for line in message.splitlines()]
    return " ".join(dict.fromkeys(line for line in lines if line and not line.startswith("Given value")))


def _choices(name: str, allowed: Sequence[str], listed: bool = True) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return (f"; allowed are {', '.join(sorted(allowed))}" if listed and allowed else "") + hint


def _imported(class_path: str) -> Any:
    module, _, name = class_path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _arguments(cls: type) -> list[str]:
    from jsonargparse._parameter_resolvers import get_signature_parameters

    return [parameter.name for parameter in get_signature_parameters(cls, None)]


def classes_for(key: str) -> list[str]:
    """Short names of the classes that a key takes."""
    from pl_genmodels import layers, losses, networks

    kinds: dict[str, type] = {
        "model": GenerativeModule,
        "data": ImageData,
        "extractor": FeatureExtractor,
        "generator": networks.Generator,
        "discriminator": networks.Discriminator,
        "prior": networks.Prior,
        "loss": losses.AdversarialLoss,
        "penalties": losses.Penalty,
        "constraints": losses.Constraint,
        "condition": layers.Condition,
    }
    return _concrete(kinds[key]) if key in kinds else []


def _kind_asked_for(message: str, key: str) -> type | None:
    """What the innermost class of a message takes as an argument, if that is one class."""
    owners = re.findall(r"Problem with given class_path '([^']+)'", message)
    kind = get_type_hints(_imported(owners[-1]).__init__).get(key) if owners else None
    return kind if isinstance(kind, type) else None


def _concrete(kind: type) -> list[str]:
    """Short names of our classes of a kind."""
    found, queue = set(), [kind]
    while queue:
        kind = queue.pop()
        children: list[type] = kind.__subclasses__()
        ours = [child for child in children if child.__module__.startswith("pl_genmodels.")]
        queue += ours
        if not ours and not inspect.isabstract(kind):  # a user's own subclass does not make it abstract
            found.add(kind.__name__)
    return sorted(found)
