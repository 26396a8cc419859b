"""What alternating players need from the machine: gradients summed over ranks, the other players held still."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from pl_genmodels.layers.image_pool import RankLocal
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.types import Batch, ImageShape, Terms

BUCKET_BYTES = 64 << 20  # one flat all-reduce per 64 MiB: large enough to be one call for most networks


def average_gradients(parameters: Iterable[nn.Parameter], world_size: int) -> None:
    """Replace each gradient by its mean over ranks, in flat buckets.

    Sharded parameters are left alone: FSDP has averaged theirs. A parameter without a gradient counts as zero, so that
    ranks whose graphs differ still agree on what is exchanged.

    Args:
        parameters: The same ones in the same order on every rank.
        world_size: Number of ranks.
    """
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for parameter in parameters:
        if isinstance(parameter, DTensor):
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        groups.setdefault((parameter.grad.dtype, parameter.grad.device), []).append(parameter.grad)
    for gradients in groups.values():
        for bucket in _buckets(gradients):
            flat = torch._utils._flatten_dense_tensors(bucket)
            dist.all_reduce(flat)
            flat /= world_size  # gloo has no average of its own
            torch._foreach_copy_(bucket, list(torch._utils._unflatten_dense_tensors(flat, bucket)))


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        size += tensor.numel() * tensor.element_size()
        if bucket and size > BUCKET_BYTES:
            yield bucket
            bucket, size = [], tensor.numel() * tensor.element_size()
        bucket.append(tensor)
    if bucket:
        yield bucket


def data_of(module: LightningModule) -> Any:
    """The data module of the run that a model is in, or None."""
    trainer = module._trainer
    return None if trainer is None else getattr(trainer, "datamodule", None)


def made_for(argument: str, factory: Callable[[Iterable], Optimizer], parameters: Iterable) -> Optimizer:
    """An optimiser; what its constructor refuses is told with the argument that named it.

    Raises:
        ValueError: For numbers that the optimiser does not take.
    """
    try:
        return factory(parameters)
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from error


def mean_terms(terms: Terms) -> dict[str, Tensor]:
    """Each term's mean in at least single precision: `(B,)` to a scalar."""
    return {name: at_least_single(term).mean() for name, term in terms.items()}


def split(batch: Batch, rows: int, num_parts: int) -> Iterator[tuple[float, Batch]]:
    """Consecutive parts of a batch with their shares.

    Args:
        batch: Named tensors.
        rows: Number of samples; an entry with several rows a sample is split alike.
        num_parts: How many, of nearly equal size.
    """
    if num_parts == 1:
        yield 1.0, batch
        return
    bounds = [rows * index // num_parts for index in range(num_parts + 1)]
    for start, end in itertools.pairwise(bounds):
        if end > start:
            each = {name: len(value) // rows for name, value in batch.items()}
            part = {name: value[start * each[name] : end * each[name]] for name, value in batch.items()}
            yield (end - start) / rows, part


def averaged_copy(network: nn.Module) -> nn.Module:
    """A frozen copy for averaged weights, in at least single precision; `GenerativeModule` keeps `*_ema` in it."""
    average = copy.deepcopy(network).requires_grad_(False).eval()
    for tensor in (*average.parameters(), *average.buffers()):
        tensor.data = at_least_single(tensor.data)
    return average


def average_buffers(module: nn.Module, world_size: int) -> None:
    """Replace floating buffers by their mean over ranks and others by rank 0's; what is a rank's own stays."""
    for part in module.modules():
        for buffer in () if isinstance(part, RankLocal) else part.buffers(recurse=False):
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= world_size
            else:
                dist.broadcast(buffer, 0)


def rank_local_state(module: nn.Module) -> dict[str, Tensor]:
    """Buffers that are a rank's own, on the CPU, by their names in the state dict."""
    parts = [(name, part) for name, part in module.named_modules() if isinstance(part, RankLocal)]
    return {f"{name}.{key}": buffer.cpu() for name, part in parts for key, buffer in part.named_buffers()}


def every_rank_local_state(module: nn.Module) -> list[dict[str, Tensor]]:
    """The same of all ranks, nothing for modules without; a collective call where there is something."""
    mine = rank_local_state(module)
    if not mine or not (dist.is_available() and dist.is_initialized()):
        return []
    states: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(states, mine)
    return states


def restore_rank_local(module: nn.Module, checkpoint: dict[str, Any], states: list[Any], rank: int, world: int) -> None:
    """Give a rank its own state, if there were as many ranks; otherwise all start from rank 0's in the state dict."""
    if len(states) != world:
        return
    if "state_dict" in checkpoint:
        checkpoint["state_dict"].update(states[rank])
    else:  # ModelParallelStrategy has put the weights in their place already
        module.load_state_dict(states[rank], strict=False)


def require_own_settings(optimizers: Iterable[Optimizer]) -> None:
    """Refuse optimisers that go on from the state of another class, before they look for numbers that it lacks.

    Raises:
        ValueError: If there is one.
    """
    for optimizer in optimizers:
        # torch adds "differentiable" to the defaults of every optimiser that is loaded, not to its groups
        missing = optimizer.defaults.keys() - optimizer.param_groups[0].keys() - {"differentiable"}
        if missing:
            raise ValueError(
                f"ckpt_path: the checkpoint was written with another optimizer than {type(optimizer).__name__} (one "
                f"without {', '.join(sorted(missing))}), allowed is the same one"
            )


class StepCounter:
    """Counts the steps of an optimiser that were due and left out by a loss scaler, without waiting for the device."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.due = 0
        self.made: int | Tensor = 0
        optimizer.register_step_post_hook(self._count)

    def _count(self, optimizer: Optimizer, *_: Any) -> None:
        # the scaler does not call a plain optimiser after an overflow; a fused one finds this flag and does nothing
        overflow = getattr(optimizer, "found_inf", None)
        self.made = self.made + (1 if overflow is None else 1 - overflow)

    @property
    def skipped(self) -> float | Tensor:
        """Steps left out so far."""
        return self.due - self.made


def stored_for(image_shape: ImageShape, network: nn.Module) -> nn.Module:
    """A network of pictures with its weights channels-last, any other as it is.

    Steps of the DCGAN, ResNet and R3GAN networks take 9 to 36% less time on a CPU, in float32 and in bfloat16. Batches
    may stay as they are: the first layer converts them. The stacked weights of several networks have a dimension too
    many for it.
    """
    if len(image_shape) != 3 or any(parameter.ndim > 4 for parameter in network.parameters()):
        return network
    return network.to(memory_format=torch.channels_last)


@contextlib.contextmanager
def held_still(parameters: Sequence[nn.Parameter], buffers: Sequence[Tensor]) -> Iterator[None]:
    """Let gradients pass through networks without collecting any, and undo what forward passes do to their buffers."""
    before = [buffer.clone() for buffer in buffers]
    frozen = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for buffer, value in zip(buffers, before, strict=True):
            # .data: a graph still waiting for its backward checks versions, and what it saw is what is put back
            buffer.data.copy_(value)


_keeps_gradient = contextvars.ContextVar("keeps_gradient", default=False)


@contextlib.contextmanager
def keeping_gradient() -> Iterator[None]:
    """Hold while `evaluating` leaves it to the caller whether there are gradients, so that latents can be searched."""
    token = _keeps_gradient.set(True)
    try:
        yield
    finally:
        _keeps_gradient.reset(token)


@contextlib.contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Put networks into evaluation mode and back, without gradients, and compiled ones as they are written.

    Gradients stay as they are within `keeping_gradient`.
    Compiling once more for each number of samples would take longer than it saves.
    """
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        gradient = torch.is_grad_enabled() and _keeps_gradient.get()
        with torch.set_grad_enabled(gradient), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for module, training in modes:
            module.training = training


class FlagKeeper(Callback):
    """Gives a Trainer back the flags that a module took over, however the run ends."""

    def __init__(self, gradient_clip_val: float | None, accumulate_grad_batches: int) -> None:
        self.flags = {"gradient_clip_val": gradient_clip_val, "accumulate_grad_batches": accumulate_grad_batches}

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """After a run."""
        for name, value in self.flags.items():
            setattr(trainer, name, value)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """After a failure."""
        self.teardown(trainer, pl_module, "fit")
