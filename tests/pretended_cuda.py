"""A CUDA device that is not there: tensors that say they lie on it, compute on the CPU, and refuse what a GPU refuses.

Torch's own fake tensors know no backward pass on a machine without a driver, and no values. These have both, so whole
runs, callbacks and verbs can be tried. In a `pretended_cuda()`, refused are
- an operation on a tensor of the device and one of the CPU, but for a number of the CPU without dimensions where CUDA
  takes one, and for indices;
- a random generator of the CPU for a tensor of the device, and `numpy()` of such a tensor;
- autocast of the CPU;
- products of integers, which CUDA has no kernels for.
Noted are, within the steps that `Steps` watches, functions in which Python waits for the device: by reading a value, a
shape that depends on values, a copy from or to the device that is not asynchronous, indices on the CPU.

Not seen are differences between kernels (precision, determinism, which types CUDA's autocast lowers), anything that
C++ decides by the kind of device, graphs, streams, page-locked memory, several GPUs, and compiled code.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import ClassVar
from unittest import mock

import torch
from lightning.pytorch import Callback
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.nn.functional import one_hot
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_iter, tree_map

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
aten = torch.ops.aten


class WrongDeviceError(AssertionError):
    """A GPU would refuse this."""


class OnCUDA(torch.Tensor):
    """A tensor of the device; its values lie on the CPU."""

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        check(function, args, kwargs)
        with no_dispatch():
            return tree_map(on_cuda, function(*args, **kwargs))

    def get_device(self):
        return 0

    def numpy(self, *args, **kwargs):
        raise WrongDeviceError("numpy() of a tensor on the GPU")

    def __array__(self, *args, **kwargs):
        raise WrongDeviceError("a tensor on the GPU as an array")

    def tolist(self):
        waits("tolist()")
        return on_cpu(self).tolist()

    def __repr__(self):
        return f"on cuda: {on_cpu(self)}"

    def __reduce_ex__(self, protocol):  # files hold what they would be read as on the CPU
        return on_cpu(self).__reduce_ex__(protocol)

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            copied = on_cuda(on_cpu(self).clone())
            if isinstance(self, torch.nn.Parameter):
                copied = torch.nn.Parameter(copied, self.requires_grad)
            memo[id(self)] = copied.requires_grad_(self.requires_grad)
        return memo[id(self)]


def on_cuda(value):
    """A tensor as one of the device, with the same memory; anything else as it is."""
    if type(value) is not torch.Tensor and type(value) is not torch.nn.Parameter:
        return value
    return torch.Tensor._make_subclass(OnCUDA, value)


def on_cpu(value):
    """The same way back."""
    with no_dispatch():
        return value.detach().as_subclass(torch.Tensor) if isinstance(value, OnCUDA) else value


# ---- what a GPU refuses

NUMBERS_OF_THE_CPU = {aten.fill_.Tensor, aten.index_put_.default, aten.index_put.default, aten.lift_fresh.default}
WITH_INDICES = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
COPIES = {aten.copy_.default, aten.copy.default, aten._foreach_copy_.default}
PRODUCTS = {"mm", "bmm", "addmm", "addmv", "mv", "dot", "baddbmm", "convolution", "linear"}
READS = {"_local_scalar_dense", "is_nonzero", "equal", "item"}
SHAPES_OF_VALUES = {"nonzero", "masked_select", "unique", "_unique", "_unique2", "unique_dim", "unique_consecutive"}
SHAPES_OF_VALUES |= {"bincount", "unique_dim_consecutive"}


def name_of(function):
    return function._schema.name.removeprefix("aten::")


def check(function, args, kwargs):
    """Refuse what a GPU would, of an operation with a tensor of the device."""
    tensors = [x for x in tree_iter((args, kwargs)) if isinstance(x, torch.Tensor)]
    strangers = [x for x in tensors if not isinstance(x, OnCUDA)]
    if strangers:
        check_strangers(function, args, strangers)
    generator = kwargs.get("generator")
    if generator is not None:
        raise WrongDeviceError(f"{function} on the GPU with a generator of {generator.device}")
    name = name_of(function)
    if name in PRODUCTS and not any(x.is_floating_point() or x.is_complex() for x in tensors):
        raise WrongDeviceError(f"{function} of integers, which CUDA has no kernel for")
    if Steps.strict_now:
        check_waiting(function, name, args, kwargs)


def check_strangers(function, args, strangers):
    """Tensors of the CPU beside some of the device."""
    if torch._C._current_graph_task_id() >= 0:  # zeros that autograd puts in the place of gradients that there are not
        strangers = [x for x in strangers if x.count_nonzero()]
        if not strangers:
            return
    if function in COPIES:
        waits(f"{function} between the GPU and the CPU", unless=args[2:] == (True,))
        return
    if function in WITH_INDICES:
        indices = [x for x in args[1] if x is not None]
        if not any(x is each for x in (args[0], *args[2:3]) for each in strangers if each.ndim):
            waits(f"{function} with indices on the CPU", unless=all(isinstance(x, OnCUDA) for x in indices))
            return
    takes = torch.Tag.pointwise in function.tags or function in NUMBERS_OF_THE_CPU
    takes = takes or name_of(function).startswith("_foreach")
    written = args[:1] if function._schema.is_mutable else ()
    if not takes or any(x.ndim or any(x is each for each in written) for x in strangers):
        shapes = [tuple(x.shape) for x in strangers]
        raise WrongDeviceError(f"{function} on the GPU with tensors of {shapes} on the CPU")


def check_waiting(function, name, args, kwargs):
    """Refuse what makes Python wait."""
    if name in READS or name in SHAPES_OF_VALUES:
        waits(str(function))
    if function is aten.repeat_interleave.Tensor and kwargs.get("output_size") is None:
        waits(f"{function} without output_size")
    if name == "normal" and len(args) > 1 and isinstance(args[1], torch.Tensor):
        waits(f"{function}, which looks whether a deviation is negative,")
    if function in WITH_INDICES and any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1]):
        filled = len(args) > 2 and args[2].numel() == 1 and not isinstance(args[2], OnCUDA)  # as by masked_fill
        waits(f"{function} with a mask", unless=filled)


def waits(what, unless=False):
    """Note that Python waits for the device, and in which function of the package."""
    if Steps.strict_now and not unless:
        frame = sys._getframe(1)
        while frame is not None and "pl_genmodels/" not in frame.f_code.co_filename:
            frame = frame.f_back
        where = f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}" if frame is not None else "elsewhere"
        Steps.waited.setdefault(where, what)


# ---- how tensors get there and back


class _Move(torch.autograd.Function):
    """A copy on the other side, and its gradient back."""

    @staticmethod
    def forward(ctx, value, device):
        ctx.back = CPU if device.type == "cuda" else CUDA
        return moved(value, device)

    @staticmethod
    def backward(ctx, gradient):
        return moved(gradient, ctx.back), None


def moved(value, device):
    """A copy on a device."""
    copied = on_cpu(value).clone()
    return on_cuda(copied) if device.type == "cuda" else copied


def move(value, device, non_blocking=False):
    """A tensor on a device, itself if it lies there."""
    if device is None or value.device.type == device.type:
        return value
    waits(f"a copy of {tuple(value.shape)} from {value.device} to {device}", unless=non_blocking)
    return _Move.apply(value, device) if value.requires_grad else moved(value, device)


TENSOR = torch.Tensor
NEW = {TENSOR.new_tensor, TENSOR.new_zeros, TENSOR.new_ones, TENSOR.new_full, TENSOR.new_empty}
FROM_PYTHON = {torch.tensor, torch.as_tensor, torch.asarray, TENSOR.new_tensor}
LIKE = {torch.zeros_like, torch.ones_like, torch.empty_like, torch.full_like, torch.rand_like, torch.randn_like}
LIKE |= {torch.randint_like}


class PretendedCUDA(TorchFunctionMode):
    """Where tensors are told, in Python, on which device to be."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is TENSOR.to:
            return self.to(*args, **kwargs)
        if function is TENSOR.cpu:
            return move(args[0], CPU)
        if function is TENSOR.cuda:
            return move(args[0], CUDA, kwargs.get("non_blocking", False))
        if function is TENSOR.pin_memory:
            return args[0]
        if function is one_hot and isinstance(args[0], OnCUDA):  # looks at numbers on a CPU alone
            waits("one_hot without num_classes", unless=len(args) > 1 or kwargs)
            return on_cuda(function(on_cpu(args[0]), *args[1:], **kwargs))
        wanted = kwargs.get("device")
        if wanted is None and function in NEW:
            wanted = args[0].device
        if wanted is None:
            return function(*args, **kwargs)
        wanted = torch.device(wanted)
        if wanted.type != "cuda" and not any(isinstance(x, OnCUDA) for x in tree_iter((args, kwargs))):
            return function(*args, **kwargs)
        return self.made(function, args, kwargs, wanted)

    @staticmethod
    def to(value, *args, **kwargs):
        other = args[0] if args and isinstance(args[0], torch.Tensor) else kwargs.pop("other", None)
        if other is not None:
            args, kwargs = args[1:], {"device": other.device, "dtype": other.dtype, **kwargs}
        copied = kwargs.pop("copy", False)
        device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        if device is not None and device.type == "meta":
            return value.to(*args, **kwargs)
        there = move(value, device, non_blocking)
        options = {} if memory_format is None else {"memory_format": memory_format}
        return there.to(dtype or value.dtype, copy=copied and there is value, **options)

    @staticmethod
    def made(function, args, kwargs, wanted):
        """A new tensor on the device that is asked for."""
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type != wanted.type:
            raise WrongDeviceError(f"{function} on {wanted} with a generator of {generator.device}")
        if function in (torch.as_tensor, torch.asarray) and isinstance(args[0], torch.Tensor):
            return move(args[0].to(kwargs.get("dtype") or args[0].dtype), wanted)
        if function in FROM_PYTHON and wanted.type == "cuda":
            waits(f"{function.__name__}() from Python's numbers on {wanted}")
        grad = kwargs.pop("requires_grad", False)
        given = [on_cpu(x) if function in NEW | LIKE else x for x in args]
        result = function(*given, **{**kwargs, "device": CPU})
        result = on_cuda(on_cpu(result)) if wanted.type == "cuda" else on_cpu(result)
        return result.requires_grad_() if grad else result


class Steps(Callback):
    """Last of a run's callbacks: says when Python must not wait, and keeps where it did.

    It may wait in the first step, which looks at the images, and where values are logged.
    """

    strict_now = False
    waited: ClassVar[dict[str, str]] = {}  # what waited first, by function of the package

    def on_train_start(self, trainer, pl_module):
        Steps.strict_now = pl_module.images_seen > 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        Steps.strict_now = (batch_idx + 2) % trainer.log_every_n_steps > 0 and not trainer.is_last_batch


# ---- what is not a function of tensors: autocast, optimisers, the state of a generator, Lightning


class Autocast(torch.autocast):
    """Autocast of the device, which lowers what a CPU's would."""

    def __init__(self, device_type, dtype=None, enabled=True, cache_enabled=None):
        if device_type == "cpu":
            raise WrongDeviceError("autocast of the CPU, where tensors lie on the GPU")
        super().__init__("cpu", dtype or torch.float16, enabled, cache_enabled)


def swap(one, other):
    """As torch does when a module moves, but whoever else may hold the parameter, such as another module."""
    one.__class__, other.__class__ = other.__class__, one.__class__
    one.__dict__, other.__dict__ = other.__dict__, one.__dict__
    torch._C._swap_tensor_impl(one, other)


def random_state(device=None):
    return torch.get_rng_state()


@contextlib.contextmanager
def pretended_cuda():
    """Within, `device="cuda"` is a device."""
    with contextlib.ExitStack() as stack:
        patch = lambda *args: stack.enter_context(mock.patch.object(*args))
        patch(torch, "autocast", Autocast)
        patch(torch.amp.autocast_mode, "autocast", Autocast)
        patch(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patch(torch.cuda, "current_device", lambda: CUDA.index)
        patch(torch.cuda, "manual_seed", torch.default_generator.manual_seed)  # whose numbers the device takes
        patch(torch.cuda, "get_rng_state", random_state)
        patch(torch.cuda, "set_rng_state", lambda state, device=None: None)
        for module in ("torch.optim.optimizer", "torch.utils._foreach_utils"):
            where = sys.modules[module]
            if hasattr(where, "_foreach_supported_types"):
                patch(where, "_foreach_supported_types", [*where._foreach_supported_types, OnCUDA])
        patch(torch.utils, "swap_tensors", swap)
        swaps = torch.__future__.get_swap_module_params_on_conversion()
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swaps)
        torch.__future__.set_swap_module_params_on_conversion(True)  # a module's parameters stay the same objects
        patch(Steps, "strict_now", False)
        patch(Steps, "waited", {})
        stack.enter_context(PretendedCUDA())
        yield Steps.waited


class Accelerator(CUDAAccelerator):
    """Lightning's, which asks no driver."""

    def setup_device(self, device):
        pass

    def setup(self, trainer):
        pass

    def teardown(self):
        pass

    @staticmethod
    def parse_devices(devices):
        return [0]

    @staticmethod
    def get_parallel_devices(devices):
        return [CUDA]

    @staticmethod
    def auto_device_count():
        return 1

    @staticmethod
    def is_available():
        return True


def trainer_options():
    """What makes a Trainer use the device."""
    return {"accelerator": Accelerator(), "devices": 1, "strategy": SingleDeviceStrategy(device=CUDA)}
