"""Objects that remember how they were built, so that a checkpoint can hold them as plain data."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar


class Recorded:
    """Mixin that keeps the arguments its constructor was called with in `init_args`.

    `to_spec` turns the object into `{"class_path": ..., "init_args": ...}`, the form that jsonargparse reads from YAML
    and that `torch.load(weights_only=True)` accepts.
    """

    init_args: dict[str, Any]
    supplied: ClassVar[tuple[str, ...]] = ()
    """Arguments that whoever builds the object supplies, and that its spec therefore leaves out."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Bind the arguments before `__init__` sees them."""
        self = super().__new__(cls)
        object.__setattr__(self, "init_args", bound_arguments(cls, args, kwargs))
        return self


def bound_arguments(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a constructor call by name; `**kwargs` are laid flat, defaults stay out."""
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    try:
        bound = signature.bind_partial(None, *args, **kwargs).arguments
    except TypeError:  # the constructor itself will say what is wrong
        return {}
    named: dict[str, Any] = {}
    for position, (name, value) in enumerate(bound.items()):
        if position == 0:  # self
            continue
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        else:
            named[name] = value
    return named


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
    if value is None or isinstance(value, (bool, int, float, str)):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Recorded):
        arguments = {name: entry for name, entry in value.init_args.items() if name not in value.supplied}
        return {"class_path": import_path(type(value)), "init_args": to_spec(arguments)}
    if isinstance(value, type):
        return {"class_path": import_path(value)}
    if isinstance(value, functools.partial):
        return {"class_path": import_path(_target(value)), "init_args": to_spec(value.keywords)}
    if isinstance(value, FunctionType):
        return import_path(value)
    if isinstance(value, (list, tuple, set)):
        return [to_spec(entry) for entry in value]
    if isinstance(value, Mapping):
        return {str(key): to_spec(entry) for key, entry in value.items()}
    if isinstance(value, (Path, Enum)):
        return str(value) if isinstance(value, Path) else value.value
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a NumPy or torch scalar
        return value.item()
    raise ValueError(
        f"{value!r}: a checkpoint cannot hold this argument; allowed are numbers, strings, lists, dicts, classes, "
        "functools.partial of a class, and instances of classes derived from pl_genmodels.specs.Recorded"
    )
