"""`torch.compile` for the networks of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

BACKEND = "inductor"


def compile_networks(networks: Iterable[nn.Module], device: torch.device) -> None:
    """Compile networks in place, so that names in the state dict stay as they are; copies of them are not compiled.

    Args:
        networks: Each is compiled as a whole when it is first called; containers by their entries.
        device: Where they will run.

    Raises:
        ValueError: If nothing can be compiled on this machine, e.g. for want of a C++ compiler.
    """
    # a compiled result from the cache would hide that the compiler is gone
    options: dict = {"force_disable_caches": True} if BACKEND == "inductor" else {}
    try:
        torch.compile(lambda x: x + 1, backend=BACKEND, options=options)(torch.ones(2, device=device))
    except Exception as error:  # whatever is missing: a compiler, Triton, a back end
        reason = str(getattr(error, "inner_exception", error)).strip().partition("\n")[0]
        raise ValueError(f"compile: got true, allowed here is false: torch.compile fails with {reason!r}") from error
    for network in networks:
        for part in _callable_parts(network):
            part.compile(backend=BACKEND)


def _callable_parts(network: nn.Module) -> Iterator[nn.Module]:
    if isinstance(network, (nn.ModuleList, nn.ModuleDict)):
        for child in network.children():
            yield from _callable_parts(child)
    else:
        yield network
