"""What terms keep under any precision of the Trainer: sums, logits and gradients of gradients in single precision."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call


def at_least_single(tensor: Tensor) -> Tensor:
    """A half-precision tensor in single precision, any other as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


@contextlib.contextmanager
def exact_gradients(device_type: str) -> Iterator[None]:
    """Autocast off, and compiled networks as they are written: what a gradient of a gradient needs.

    A gradient taken inside autocast is off by some per cent, and compiled code has no second derivative.

    Args:
        device_type: Of the tensors, `cpu` or `cuda`.
    """
    with torch.enable_grad(), torch.autocast(device_type, enabled=False), torch.compiler.set_stance("force_eager"):
        yield


def in_single_precision(network: nn.Module) -> tuple[Callable[[Tensor], Tensor], torch.dtype]:
    """The network as a function in at least single precision, and the type of its input.

    Weights in half precision (`bf16-true`) are cast on the way, so that their gradients arrive in them; what the call
    does to buffers is then forgotten.
    """
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    types = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if not types & {torch.float16, torch.bfloat16}:
        return network, next(network.parameters()).dtype
    single = {name: at_least_single(tensor) for name, tensor in tensors.items()}
    return lambda points: functional_call(network, single, (points,)), torch.float32
