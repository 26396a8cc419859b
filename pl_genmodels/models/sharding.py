"""Parameters spread over ranks: torch's FSDP2 under Lightning's `ModelParallelStrategy`.

A sharded network gathers its parameters for each forward and backward pass, frees them afterwards, and leaves every
rank the mean gradient of its own shard. So each forward pass is a collective call: all ranks make it or none does.
`gathered` holds the whole parameters for a while instead, and what happens within it is each rank's own affair.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Adadelta, Adam, Adamax, AdamW, Optimizer, RAdam, RMSprop

from pl_genmodels.models.engine import average_buffers
from pl_genmodels.models.folder_checkpoints import is_folder_checkpoint, saved_names

BLOCK_PARAMETERS = 1 << 20  # an item of a sequence with at least so many parameters is gathered and freed on its own
ZERO_AT_FIRST = (Adam, AdamW, Adamax, RAdam, RMSprop, Adadelta)  # optimisers whose state is all zeros before a step
_held: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # those that `gathered` keeps whole at the moment


def require_data_parallel(strategy: Strategy) -> None:
    """Refuse sizes under which a `ModelParallelStrategy` would split single layers, before any process starts work.

    Raises:
        ValueError: For a tensor-parallel size other than 1, which is what Lightning's default `auto` means.
    """
    if not isinstance(strategy, ModelParallelStrategy):
        return
    size = strategy._tensor_parallel_size
    if size == "auto":
        size = strategy.num_processes
    if size != 1:
        ranks = strategy.num_nodes * strategy.num_processes
        raise ValueError(
            f"tensor_parallel_size: got {strategy._tensor_parallel_size!r}, allowed is 1, as whole layers are sharded "
            f"over data-parallel ranks; pass ModelParallelStrategy(data_parallel_size={ranks}, tensor_parallel_size=1)"
        )


def is_sharded(module: nn.Module) -> bool:
    """Whether any network of a module has been sharded, so that using it is a collective call."""
    return any(isinstance(part, FSDPModule) for part in module.modules())


def shard(module: LightningModule, networks: Iterable[nn.Module]) -> None:
    """Give all ranks rank 0's weights, then shard some of a module's networks in place.

    Args:
        module: All of it is made equal on all ranks.
        networks: Which of its networks to shard; each, and each large block of it, is gathered by itself.
    """
    mesh = module.device_mesh["data_parallel"]  # type: ignore[index]
    distinct = {id(part): part for network in networks for part in _callable_parts(network)}
    todo = [
        part for part in distinct.values() if not isinstance(part, FSDPModule) and any(True for _ in part.parameters())
    ]
    if not todo:
        return
    module.to(module.trainer.strategy.root_device)
    for parameter in module.parameters():
        # channels-last weights cannot be cut into shards, and whole ones come out of a file with their axes exchanged
        if not isinstance(parameter, DTensor):
            parameter.data = parameter.data.contiguous()
    for tensor in [*module.parameters(), *module.buffers()]:
        if not isinstance(tensor, DTensor):
            dist.broadcast(tensor.data, 0)
    for network in sorted(todo, key=lambda part: len(list(part.modules()))):  # the inner of two first
        shard_network(network, mesh)


def shard_network(network: nn.Module, mesh: DeviceMesh) -> None:
    """Shard a network over a mesh of one dimension, its large blocks first."""
    # freed after every forward, also in the outermost: parameters are shards whenever the network does not run
    for block in [*large_blocks(network, BLOCK_PARAMETERS), network]:
        if not isinstance(block, FSDPModule):
            fully_shard(block, mesh=mesh, reshard_after_forward=True)


def apart_from(kept: Iterable[nn.Module], networks: Iterable[nn.Module]) -> list[nn.Module]:
    """Those networks that share no module with the kept ones."""
    theirs = {id(part) for network in kept for part in network.modules()}
    return [network for network in networks if not any(id(part) in theirs for part in network.modules())]


def _callable_parts(network: nn.Module) -> list[nn.Module]:
    """A network, or those within a container that has no forward of its own."""
    if isinstance(network, (nn.ModuleList, nn.ModuleDict)):
        return [part for child in network.children() for part in _callable_parts(child)]
    return [network]


def large_blocks(network: nn.Module, smallest: int) -> list[nn.Module]:
    """Items of the network's sequences that are worth gathering by themselves, inner ones first.

    Items of a `Sequential` and blocks in a `ModuleList` are run by calling them, never by reading their weights. A
    block that shares a parameter with the rest of the network stays with it.

    Args:
        network: Not changed.
        smallest: Number of parameters from which on an item counts, those of blocks within it left out.
    """
    owners = Counter(id(p) for part in network.modules() for p in part.parameters(recurse=False))
    found: list[nn.Module] = []

    def visit(module: nn.Module, is_item: bool) -> int:
        left = sum(p.numel() for p in module.parameters(recurse=False))
        for child in module.children():
            blocks = isinstance(module, nn.ModuleList) and any(True for _ in child.children())
            left += visit(child, isinstance(module, nn.Sequential) or blocks)
        own = Counter(id(p) for part in module.modules() for p in part.parameters(recurse=False))
        container = isinstance(module, (nn.ModuleList, nn.ModuleDict))
        if is_item and not container and left >= smallest and all(owners[p] == n for p, n in own.items()):
            found.append(module)
            return 0
        return left

    for child in network.children():
        visit(child, isinstance(network, nn.Sequential))
    return found


@contextlib.contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Keep whole parameters on every rank; entering is a collective call, what happens inside is not.

    Costs the memory of the whole networks; without sharding nothing at all.
    """
    units: list[Any] = [unit for unit in module.modules() if isinstance(unit, FSDPModule) and unit not in _held]
    with torch.inference_mode(False), torch.no_grad():  # tensors of inference mode could not be trained on later
        for unit in units:
            unit.unshard()
            unit.set_reshard_after_forward(False, recurse=False)
    _held.update(units)
    try:
        yield
    finally:
        _held.difference_update(units)
        for unit in units:
            unit.set_reshard_after_forward(True, recurse=False)
            unit.reshard()


def agree_on_buffers(module: LightningModule, state: dict[str, Any]) -> None:
    """Average running statistics over ranks, also in a state dict that holds copies; all ranks must call it."""
    average_buffers(module, module.trainer.world_size)
    for name, buffer in module.named_buffers():
        if name in state:
            state[name].copy_(buffer)


def keep_order(module: LightningModule, states: Sequence[dict[str, Any]]) -> None:
    """Have the state of each optimiser, as a single file holds it, list parameters in the optimiser's own order.

    Torch numbers them as the module does and sorts the numbers, but whoever reads the file goes by the optimiser's
    order, which is another one where a player lists its networks otherwise than they were created.

    Args:
        module: Whose parameters they are.
        states: One for each optimiser, or none; changed in place. Those of other ranks are empty, folders go by names.
    """
    numbers = {id(parameter): number for number, parameter in enumerate(module.parameters())}
    for optimizer, state in zip(module.trainer.optimizers, states, strict=False):
        for group, saved in zip(optimizer.param_groups, state.get("param_groups", []), strict=False):
            own = [numbers.get(id(parameter), -1) for parameter in group["params"]]
            if saved["params"] == sorted(own):
                saved["params"] = own


class ShardedRun(Callback):
    """What Lightning leaves undone in a run with sharded parameters.

    During validation, tests and predictions each rank holds whole parameters, because ranks need not have equally many
    batches there. Optimisers get their state before the first step: to save one that has none, torch makes an update
    with zero gradients, which would count as a step.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Let the module see what a checkpoint holds: this strategy reads it into the shards before any hook."""
        strategy: Any = trainer.strategy
        load = strategy.load_checkpoint

        def load_checkpoint(checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
            path = Path(strategy.broadcast(checkpoint_path))
            with torch.no_grad(), pl_module.shaped_like(saved_names(path)):
                return load(path, True) if is_folder_checkpoint(path) else read_file(path, pl_module)

        strategy.load_checkpoint = load_checkpoint

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Give the strategy its own method back."""
        vars(trainer.strategy).pop("load_checkpoint", None)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather."""
        self._stack.enter_context(gathered(pl_module))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let go, before checkpoints are written."""
        self._stack.close()

    on_test_start = on_predict_start = on_validation_start
    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare optimisers that a checkpoint has not brought."""
        for optimizer in trainer.optimizers:
            if isinstance(optimizer, ZERO_AT_FIRST) and not optimizer.state:
                _start_at_zero(optimizer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let go after a failure too."""
        self._stack.close()
        self.teardown(trainer, pl_module, "")


def read_file(path: Path, module: LightningModule) -> dict[str, Any]:
    """Put the content of a single file into a sharded module and its optimisers; the rest is returned.

    Lightning's own reader counts the parameters of all optimisers together, as only a sharded run does when it writes;
    here they are matched in the order of each optimiser's own, so that the file of any strategy will do.
    """
    checkpoint = torch.load(path, mmap=True, map_location="cpu", weights_only=True)
    options = StateDictOptions(full_state_dict=True)
    set_model_state_dict(module, checkpoint.pop("state_dict"), options=options)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    for optimizer, saved in zip(module.trainer.optimizers, checkpoint.pop("optimizer_states", []), strict=False):
        groups: list[dict[str, Any]] = []
        by_name: dict[int, str] = {}
        for group, kept in zip(optimizer.param_groups, saved["param_groups"], strict=True):
            here = [names[id(parameter)] for parameter in group["params"]]
            groups.append({**kept, "params": here})
            by_name |= dict(zip(kept["params"], here, strict=True))
        state = {by_name[key]: value for key, value in saved["state"].items()}
        if state:
            set_optimizer_state_dict(module, optimizer, {"state": state, "param_groups": groups}, options=options)
    return checkpoint


def _start_at_zero(optimizer: Optimizer) -> None:
    """Create an optimiser's state as its first step would find it.

    The step is made on this rank's parts alone: for sharded tensors torch would plan each operation and each shape.
    """
    kept = [(group["lr"], group["params"]) for group in optimizer.param_groups]
    parts = {id(parameter): nn.Parameter(local([parameter])[0]) for _, parameters in kept for parameter in parameters}
    for group, (_, parameters) in zip(optimizer.param_groups, kept, strict=True):
        group["lr"], group["params"] = 0.0, [parts[id(parameter)] for parameter in parameters]
    for part in parts.values():
        part.grad = torch.zeros_like(part)
    optimizer.step()
    for group, (rate, parameters) in zip(optimizer.param_groups, kept, strict=True):
        group["lr"], group["params"] = rate, parameters
        for parameter in parameters:
            entry = optimizer.state.pop(parts[id(parameter)])
            zeros = {name: value.zero_() if isinstance(value, Tensor) else value for name, value in entry.items()}
            optimizer.state[parameter] = {name: _sharded_like(parameter, value) for name, value in zeros.items()}


def _sharded_like(parameter: Tensor, value: Any) -> Any:
    """What an optimiser keeps for this rank's part of a parameter; entries of its shape become a sharded tensor."""
    if not (isinstance(parameter, DTensor) and isinstance(value, Tensor)):
        return value
    if value.shape != parameter._local_tensor.shape:
        return value
    mesh, placements, shape = parameter.device_mesh, parameter.placements, parameter.shape
    return DTensor.from_local(value, mesh, placements, run_check=False, shape=shape, stride=parameter.stride())


# ---- tensors of which this rank holds a part


@torch.no_grad()
def local(tensors: Iterable[Tensor]) -> list[Tensor]:
    """This rank's shards, as plain tensors on the same memory; tensors that are not sharded stay as they are."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]


@torch.no_grad()
def set_parameters(network: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Give some parameters new values, the same on all ranks; a collective call if they are sharded.

    Args:
        network: Whose parameters are meant.
        values: Whole ones, by name.
    """
    for name, value in values.items():
        parameter = network.get_parameter(name)
        if isinstance(parameter, DTensor):
            value = distribute_tensor(value, parameter.device_mesh, parameter.placements)
        parameter.copy_(value)


def total_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all entries together, (); a collective call if some tensors are sharded."""
    sharded = [tensor for tensor in tensors if isinstance(tensor, DTensor)]
    if not sharded:
        return torch.stack(torch._foreach_norm(list(tensors))).norm()
    square = torch.stack(torch._foreach_norm(local(sharded))).norm().square()
    dist.all_reduce(square, group=sharded[0].device_mesh.get_group())
    whole = [tensor for tensor in tensors if not isinstance(tensor, DTensor)]
    return (square + total_norm(whole).square()).sqrt() if whole else square.sqrt()


def clip_gradients(gradients: Sequence[Tensor], limit: float, algorithm: str | None) -> None:
    """Clip gradients of which some are sharded, by value or by their norm over all ranks.

    Args:
        gradients: Changed in place.
        limit: Largest absolute value, or largest norm.
        algorithm: `value`, or `norm`, also meant by None.
    """
    if algorithm == "value":
        torch._foreach_clamp_min_(local(gradients), -limit)
        torch._foreach_clamp_max_(local(gradients), limit)
    else:
        torch._foreach_mul_(local(gradients), (limit / (total_norm(gradients) + 1e-6)).clamp(max=1.0))
