"""Two ranks played by two threads: what they compute is what one process does with all rows."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pl_genmodels.layers import BatchSimilarity, ranks

RANKS = 2


@pytest.fixture
def play(monkeypatch):
    """Calls a function of the rank on every rank, and returns what each gave."""
    here, barrier, given = threading.local(), threading.Barrier(RANKS, timeout=60), [None] * RANKS

    def exchange(tensor):
        given[here.rank] = tensor.detach().clone()
        barrier.wait()
        everyone = list(given)
        barrier.wait()
        return everyone

    def all_reduce(tensor):
        tensor.copy_(sum(exchange(tensor)))

    def all_gather(parts, tensor):
        for part, value in zip(parts, exchange(tensor), strict=True):
            part.copy_(value)

    for name, value in {
        "all_reduce": all_reduce,
        "all_gather": all_gather,
        "is_initialized": lambda: True,
        "get_world_size": lambda: RANKS,
        "get_rank": lambda: here.rank,
    }.items():
        monkeypatch.setattr(ranks.dist, name, value)

    def run(function):
        def as_rank(rank):
            here.rank = rank
            return function(rank)

        with ThreadPoolExecutor(RANKS) as pool:
            return list(pool.map(as_rank, range(RANKS)))

    return run


def rows():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 4, generator=generator, dtype=torch.double)


def test_losses_of_a_mean(play):
    """Also where each rank's loss looks at the common mean in its own way."""
    weight, factors = torch.tensor([0.7, -0.2, 1.1, 0.4], dtype=torch.double), (1.0, 3.0)

    def loss(mean, own, rank):
        return factors[rank] * mean.square().sum() + own.square().mean()

    def on_a_rank(rank):
        own = weight.clone().requires_grad_()
        part = rows().chunk(RANKS)[rank] * own
        mean = ranks.mean_over_ranks(part.mean(0))
        return mean.detach(), torch.autograd.grad(loss(mean, part, rank), own)[0]

    whole = weight.clone().requires_grad_()
    every = rows() * whole
    losses = [loss(every.mean(0), part, rank) for rank, part in enumerate(every.chunk(RANKS))]
    (wanted,) = torch.autograd.grad(sum(losses) / RANKS, whole)
    means, gradients = zip(*play(on_a_rank), strict=True)
    for mean in means:
        torch.testing.assert_close(mean, every.mean(0).detach())
    torch.testing.assert_close(sum(gradients) / RANKS, wanted)


def test_losses_of_all_rows(play, monkeypatch):
    """Every sample is compared with those of the other rank too."""
    torch.manual_seed(0)
    layer = BatchSimilarity(4, num_kernels=3, kernel_dim=2).double()

    def on_a_rank(rank):
        part = rows().chunk(RANKS)[rank].requires_grad_()
        found = layer(part)
        gradient = torch.autograd.grad(found.square().mean(), [part, layer.project.weight])
        return found.detach(), *gradient

    shares = play(on_a_rank)
    monkeypatch.setattr(ranks.dist, "is_initialized", lambda: False)
    every = rows().requires_grad_()
    found = layer(every)
    of_rows, of_weight = torch.autograd.grad(found.square().mean(), [every, layer.project.weight])
    torch.testing.assert_close(torch.cat([share[0] for share in shares]), found.detach())
    torch.testing.assert_close(torch.cat([share[1] for share in shares]) / RANKS, of_rows)
    torch.testing.assert_close(sum(share[2] for share in shares) / RANKS, of_weight)


def test_identical_rows_of_all_ranks_count_each_other(play):
    torch.manual_seed(0)
    layer, row = BatchSimilarity(6, num_kernels=4), torch.randn(1, 6)
    for found in play(lambda rank: layer(row.expand(4, 6)) - layer.bias):
        assert torch.equal(found, torch.full((4, 4), 7.0))


def test_one_process_has_nobody_to_ask():
    values = torch.randn(3)
    assert ranks.mean_over_ranks(values) is values
    assert ranks.rows_of_all_ranks(values) is values
