"""Random numbers under a test's control, whatever torch function draws them."""

from __future__ import annotations

import contextlib
import functools
import random

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

SEEDS = 2**62


def is_draw(function, args, kwargs):
    """Whether an operation takes numbers from a random generator."""
    if not may_draw(function):
        return False
    given = {**dict(zip((argument.name for argument in function._schema.arguments), args, strict=False)), **kwargs}
    return "scaled_dot_product" not in function._schema.name or bool(given.get("dropout_p"))  # marked in any case


@functools.cache  # asked for every operation of a step
def may_draw(function):
    return torch.Tag.nondeterministic_seeded in function.tags


def writes_into(function):
    """Whether the first argument is what an operation fills."""
    return function._schema.name.endswith("_")


def states_elsewhere():
    """What Python's and NumPy's global generators would draw next."""
    name, keys, *rest = np.random.get_state()
    return random.getstate(), name, keys.tobytes(), rest


class Draws(TorchDispatchMode):
    """Every draw goes through `draw`; one that does not, because nobody knew it for a draw, is an error."""

    def __enter__(self):
        self.elsewhere = states_elsewhere()
        self.left = {self.state()}  # states of torch's generator that known draws have left behind
        return super().__enter__()

    def __exit__(self, kind, error, trace):
        super().__exit__(kind, error, trace)
        if kind is None:
            self.check("the end of the step")
            assert self.elsewhere == states_elsewhere(), (
                "random numbers were drawn from Python or NumPy, which no rank can share"
            )

    def check(self, where):
        assert self.state() in self.left, f"an unknown draw took place before {where}"

    @staticmethod
    def state():
        return hash(torch.get_rng_state().numpy().tobytes())

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not is_draw(function, args, kwargs):
            return function(*args, **kwargs)
        generator = kwargs.get("generator")
        if generator is None:
            self.check(function)
        seed = int(torch.randint(SEEDS, (), generator=generator))
        kwargs = {**kwargs, "generator": None} if "generator" in kwargs else kwargs
        after = torch.get_rng_state()
        try:
            return self.draw(function, args, kwargs, seed)
        finally:
            torch.set_rng_state(after)
            self.left.add(self.state())

    def draw(self, function, args, kwargs, seed):
        raise NotImplementedError


class SameDraws(Draws):
    """The same numbers in every precision: drawn in double and rounded."""

    def draw(self, function, args, kwargs, seed):
        torch.default_generator.manual_seed(seed)
        given = [value.dtype for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        wanted = kwargs.get("dtype") or (given[0] if given else torch.get_default_dtype())
        if not wanted.is_floating_point or function._schema.name in ("aten::randint", "aten::randperm"):
            return function(*args, **kwargs)
        wide = lambda x: x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x
        options = {**tree_map(wide, kwargs), **({"dtype": torch.double} if takes_dtype(function) else {})}
        drawn = function(*tree_map(wide, args), **options)
        if writes_into(function):
            return args[0].copy_(drawn)
        narrow = lambda x: x.to(wanted) if isinstance(x, torch.Tensor) and x.dtype == torch.double else x
        return tree_map(narrow, drawn)


def takes_dtype(function):
    return "dtype" in {argument.name for argument in function._schema.arguments}


class SharedRandomness(Draws):
    """One process's whole batch gets the numbers that the ranks draw for their parts of it.

    Each draw of rank r is seeded by (draw, r); one process makes all ranks' draws and puts each where that rank's rows
    lie in the whole batch, so any law of drawing will do, permutations included. A batch lies in memory as
    micro-batches, each of which is the ranks' parts one after the other. Where a draw has several rows a sample, these
    are batches one after the other or, `interleaved`, k rows of a sample side by side; which of the two a model means
    cannot be seen from here (`ambiguous`). A single number is shared by all. Anything else is an error.

    Args:
        rank: Of this process.
        world_size: Number of processes; 1 for the one that plays all of `ranks`.
        part: Rows of a rank's micro-batch.
        micro_batches: How many there are.
        interleaved: How several rows a sample are laid out.
        ranks: Number of ranks in the run that is imitated.
    """

    def __init__(self, rank, world_size, part, micro_batches=1, interleaved=False, ranks=2):
        super().__init__()
        self.rank, self.whole, self.ranks, self.part = rank, world_size == 1, ranks, part
        self.rows = micro_batches * ranks * part  # of the whole batch
        self.interleaved, self.ambiguous = interleaved, False

    def draw(self, function, args, kwargs, seed):
        shape, place = self.shape(function, args)
        if shape.numel() == 1 or not self.whole:
            torch.default_generator.manual_seed(seed if shape.numel() == 1 else seed + 1 + self.rank)
            return function(*args, **kwargs)
        dimension = self.dimension(shape, function)
        self.ambiguous |= shape[dimension] > self.rows
        results = []
        for rank in range(self.ranks):
            torch.default_generator.manual_seed(seed + 1 + rank)
            results.append(function(*self.arguments_of(rank, function, args, place), **kwargs))
        if function._schema.name == "aten::randperm":  # each rank exchanges its own samples
            rows = [self.rows_of(rank, args[0]) for rank in range(self.ranks)]
            results = [mine[result] for mine, result in zip(rows, results, strict=True)]
        joined = self.joined(results, dimension)
        return args[0].copy_(joined) if writes_into(function) else joined

    @staticmethod
    def shape(function, args):
        """Shape of what is drawn, and which argument says it."""
        name = function._schema.name
        if name == "aten::randperm":
            return torch.Size([args[0]]), 0
        if name == "aten::multinomial" and args[0].ndim == 1:  # one law for all samples
            return torch.Size([args[1]]), 1
        for place, value in enumerate(args):
            if isinstance(value, torch.Tensor) and value.ndim:
                return value.shape, place
            if isinstance(value, (list, tuple)):
                return torch.Size(value), place
        return torch.Size([]), None

    def dimension(self, shape, function):
        """Which dimension counts the samples."""
        rows = self.part * self.ranks
        found = [index for index, size in enumerate(shape) if size and size % rows == 0]
        assert found, f"{function} of shape {tuple(shape)}: not one draw per sample of {rows}"
        return found[0]

    def rows_of(self, rank, size):
        """Rows of a rank among `size`."""
        index = torch.arange(size)
        if self.interleaved and size > self.rows:
            return index.view(self.ranks, -1)[rank]
        return index.view(-1, self.ranks, self.part)[:, rank].flatten()

    def arguments_of(self, rank, function, args, place):
        """Arguments of a rank's own draw: tensors cut to its rows, sizes divided."""
        cut = list(args)
        if isinstance(args[place], int):
            cut[place] = args[place] // self.ranks
            return cut
        if isinstance(args[place], (list, tuple)):
            cut[place] = list(args[place])
            cut[place][self.dimension(args[place], function)] //= self.ranks
        for index, value in enumerate(args):
            if isinstance(value, torch.Tensor) and value.ndim:
                dimension = self.dimension(value.shape, function)
                cut[index] = value.index_select(dimension, self.rows_of(rank, value.shape[dimension]))
        return cut

    def joined(self, results, dimension):
        """The ranks' results as the whole batch's."""
        if isinstance(results[0], (tuple, list)):
            return type(results[0])(self.joined(parts, dimension) for parts in zip(*results, strict=True))
        if not isinstance(results[0], torch.Tensor) or results[0].ndim <= dimension:
            return results[0]
        shape = list(results[0].shape)
        shape[dimension] *= self.ranks
        whole = results[0].new_empty(shape)
        for rank, result in enumerate(results):
            whole.index_copy_(dimension, self.rows_of(rank, shape[dimension]), result)
        return whole


@contextlib.contextmanager
def seeded(seed):
    """All generators, for a test's own use; as before afterwards."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    yield
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])
