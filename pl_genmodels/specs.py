"""Objects that remember how they were built, so that a checkpoint can hold them as plain data."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

from typing_extensions import Self

SIZE = re.compile(r"^num_|_dim$|channels$")
"""Names of arguments that count something."""


class Recorded:
    """Mixin that keeps the arguments its constructor was called with in `init_args`.

    `to_spec` turns the object into `{"class_path": ..., "init_args": ...}`, the form that jsonargparse reads from YAML
    and that `torch.load(weights_only=True)` accepts.
    """

    init_args: dict[str, Any]
    supplied: ClassVar[tuple[str, ...]] = ()
    """Arguments that whoever builds the object supplies, and that its spec therefore leaves out."""
    supplies: ClassVar[dict[str, tuple[str, ...]]] = {}
    """By the name of an argument: what the object supplies to that one besides, and the spec of that one leaves out."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Bind the arguments before `__init__` sees them."""
        if cls.__init__ is object.__init__ and (args or kwargs):  # object itself no longer checks
            raise TypeError(f"{cls.__name__}() takes no arguments, got {args or kwargs}")
        self = super().__new__(cls)
        arguments = bound_arguments(cls, args, kwargs)
        _require_sizes(cls, arguments)
        object.__setattr__(self, "init_args", arguments)
        return self


def bound_arguments(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a constructor call by name, with `**kwargs` laid flat and defaults filled in."""
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    try:
        bound = signature.bind_partial(None, *args, **kwargs).arguments
    except TypeError:  # the constructor itself will say what is wrong
        return {}
    named = default_arguments(cls)
    for name, value in list(bound.items())[1:]:  # without self
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        else:
            named[name] = value
    return named


def _require_sizes(cls: type, arguments: Mapping[str, Any]) -> None:
    """Refuse negative counts, and sizes of nothing, before a network fails on them.

    Raises:
        ValueError: If there is one.
    """
    for name, value in arguments.items():
        if type(value) is not int or value > 0 or not SIZE.search(name):
            continue
        least = 1 if default_arguments(cls).get(name) and not name.startswith("num_") else 0
        if value < least:
            raise ValueError(f"{name}: got {value}, allowed is {least} or more")


def default_arguments(cls: type) -> dict[str, Any]:
    """Defaults of a constructor.

    A spec states them, because jsonargparse would otherwise carry over those of the class that it replaces, and
    because a checkpoint should not change when a default does.
    """
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    return {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}


def own_defaults(cls: type) -> dict[str, Any]:
    """Defaults of a constructor without those arguments that whoever builds the object supplies."""
    supplied = getattr(cls, "supplied", ())
    return {name: default for name, default in default_arguments(cls).items() if name not in supplied}


def import_path(thing: type | FunctionType) -> str:
    """Dotted path under which a class or function can be imported.

    Raises:
        ValueError: For a lambda or anything defined inside a function, which no checkpoint could name.
    """
    if "<" in thing.__qualname__:
        raise ValueError(
            f"{thing.__qualname__}: a lambda or a local definition cannot be stored in a checkpoint; "
            "pass a class or function defined at the top of a module, or functools.partial of one"
        )
    return f"{thing.__module__}.{thing.__qualname__}"


def _target(partial: functools.partial) -> type | FunctionType:
    """What a partial calls; jsonargparse wraps a class as the last positional argument of a helper of its own."""
    if not partial.args:
        return partial.func  # type: ignore[return-value]
    if isinstance(partial.args[-1], type) and partial.func.__module__.startswith("jsonargparse."):
        return partial.args[-1]
    raise ValueError(f"{partial!r}: name every argument of the partial, so that a checkpoint can hold it")


def to_spec(value: Any) -> Any:
    """Plain form of a constructor argument: numbers, strings, lists, dicts, and class paths with their arguments.

    Raises:
        ValueError: For objects that no YAML could describe.
    """
    if isinstance(value, Enum):
        return to_spec(value.value)
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain(value)  # a subclass, such as numpy.float64, is not plain
    if value is None:
        return None
    if isinstance(value, Recorded):
        arguments = {name: entry for name, entry in value.init_args.items() if name not in value.supplied}
        return _spec_of(type(value), arguments)
    if isinstance(value, type):
        return _spec_of(value, own_defaults(value))
    if isinstance(value, functools.partial):
        target = _target(value)
        defaults = own_defaults(target) if isinstance(target, type) else {}
        return _spec_of(target, {**defaults, **value.keywords})
    if isinstance(value, FunctionType):
        return import_path(value)
    if isinstance(value, (list, tuple, set)):
        return [to_spec(entry) for entry in value]
    if isinstance(value, Mapping):
        return {str(key): to_spec(entry) for key, entry in value.items()}
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a NumPy or torch scalar
        return value.item()
    raise ValueError(
        f"{value!r}: a checkpoint cannot hold this argument; allowed are numbers, strings, lists, dicts, classes, "
        "functools.partial of a class, and instances of classes derived from pl_genmodels.specs.Recorded"
    )


def _spec_of(target: type | FunctionType, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A class or function with its arguments, each without what the target supplies to it."""
    plain = {name: to_spec(entry) for name, entry in arguments.items()}
    for name, supplied in getattr(target, "supplies", {}).items():
        for one in supplied if isinstance(plain.get(name), dict) else ():
            plain[name]["init_args"].pop(one, None)
    return {"class_path": import_path(target), "init_args": plain}
