"""The contract's own instruments: draws that two ranks and one process share, and draws that nobody knows."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.models.harness import HALF, own_gradients
from tests.models.randomness import SameDraws, SharedRandomness, seeded

RANKS, PART = 2, 4
ROWS = RANKS * PART
X = torch.linspace(0.1, 0.9, ROWS * 3).view(ROWS, 3)


def by_all(draw, *, interleaved=False, micro_batches=1):
    """What one process draws for the whole batch, and what each rank draws for its rows."""
    part = PART // micro_batches
    modes = [SharedRandomness(0, 1, part, micro_batches, interleaved)]
    modes += [SharedRandomness(rank, RANKS, part, micro_batches, interleaved) for rank in range(RANKS)]
    rows = torch.arange(ROWS).view(micro_batches, RANKS, part)
    shares = [torch.arange(ROWS), *(rows[:, rank].flatten() for rank in range(RANKS))]
    found = []
    for mode, share in zip(modes, shares, strict=True):
        with seeded(0), mode:
            found.append((draw(X[share]), draw(X[share])))
    return found, shares, modes[0].ambiguous


PER_SAMPLE = {
    "rand": lambda x: torch.rand(len(x), 5),
    "randn by size": lambda x: torch.randn(len(x)),
    "randn_like": torch.randn_like,
    "randint": lambda x: torch.randint(3, 1000, (len(x), 2)),
    "randint_like": lambda x: torch.randint_like(x, 1000),
    "normal_": lambda x: torch.empty(len(x), 2).normal_(1.0, 2.0),
    "uniform_": lambda x: torch.empty_like(x).uniform_(-1, 1),
    "exponential_": lambda x: torch.empty_like(x).exponential_(),
    "random_": lambda x: torch.empty(len(x), dtype=torch.long).random_(1000),
    "normal of means": lambda x: torch.normal(x, 0.1),
    "distribution": lambda x: torch.distributions.Normal(x, x).rsample(),
    "gamma": lambda x: torch.distributions.Gamma(x, x).sample(),
    "bernoulli": lambda x: torch.bernoulli(x),
    "bernoulli_": lambda x: torch.empty_like(x).bernoulli_(x),
    "dropout": lambda x: F.dropout(x, 0.5),
    "dropout in place": lambda x: F.dropout(x.clone(), 0.5, inplace=True),
    "channel dropout": lambda x: F.dropout2d(x.view(len(x), 3, 1, 1).expand(-1, -1, 2, 2), 0.5).flatten(1),
    "rrelu": lambda x: F.rrelu(-x, training=True),
    "multinomial": lambda x: torch.multinomial(x, 4, replacement=True),
    "mixture": lambda x: torch.multinomial(torch.tensor([0.2, 0.3, 0.5]), len(x), replacement=True),
    "own generator": lambda x: torch.rand(len(x), 3, generator=torch.Generator().manual_seed(len(x.shape))),
    "gumbel": lambda x: F.gumbel_softmax(x, hard=True),
    "attention": lambda x: F.scaled_dot_product_attention(*3 * [x.view(len(x), 1, 3, 1)], dropout_p=0.5).flatten(1),
    "several a sample": lambda x: torch.randn(5, len(x), 3).transpose(0, 1),
}


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("draw", PER_SAMPLE.values(), ids=PER_SAMPLE.keys())
def test_ranks_draw_their_rows_of_the_whole_batch(draw, micro_batches):
    (whole, *ranks), (_, *shares), ambiguous = by_all(draw, micro_batches=micro_batches)
    assert not ambiguous
    for mine, share in zip(ranks, shares, strict=True):
        for all_rows, rows in zip(whole, mine, strict=True):
            assert torch.equal(all_rows[share], rows)
    flat = torch.cat([x.flatten().double() for x in whole])
    assert len(flat.unique()) > 1


def test_draws_follow_one_another_and_ranks_differ():
    (whole, first, second), _, _ = by_all(lambda x: torch.rand(len(x), 5))
    assert not torch.equal(*whole)
    assert not torch.equal(first[0], second[0])


def test_permutations_exchange_a_ranks_own_samples():
    (whole, *ranks), _, _ = by_all(lambda x: x[torch.randperm(len(x))])
    assert torch.equal(whole[0], torch.cat([mine[0] for mine in ranks]))
    assert torch.equal(whole[0].sort(0).values, X)
    assert not torch.equal(whole[0], X)


def test_several_rows_a_sample_have_two_readings():
    noise = lambda x: torch.rand(2 * len(x), 3)
    (whole, *ranks), shares, ambiguous = by_all(noise)
    assert ambiguous
    for mine, share in zip(ranks, shares[1:], strict=True):
        assert torch.equal(whole[0].view(2, ROWS, 3)[:, share], mine[0].view(2, PART, 3))
    (whole, *ranks), shares, _ = by_all(noise, interleaved=True)
    for mine, share in zip(ranks, shares[1:], strict=True):
        assert torch.equal(whole[0].view(ROWS, 2, 3)[share], mine[0].view(PART, 2, 3))


def test_attention_without_dropout_draws_nothing():
    attend = lambda x: F.scaled_dot_product_attention(*3 * [x.view(1, 1, len(x), 3)])
    (whole, *_), _, _ = by_all(attend)
    assert torch.equal(whole[0], attend(X))


def test_one_number_is_everybodys():
    (whole, first, second), _, _ = by_all(lambda x: torch.rand(()))
    assert whole == first == second


def shuffle_in_python(x):
    return x * random.random()


def choose_in_numpy(x):
    return x * np.random.rand()


UNKNOWN = {
    "not one per sample": (lambda x: torch.rand(3, 5), "not one draw per sample"),
    "python": (shuffle_in_python, "Python or NumPy"),
    "numpy": (choose_in_numpy, "Python or NumPy"),
    "a seed of its own": (lambda x: torch.manual_seed(1), "unknown draw"),
}


@pytest.mark.parametrize(("draw", "message"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_unknown_draws_are_errors(draw, message):
    with pytest.raises(AssertionError, match=message):
        by_all(draw)


def test_a_draw_that_torch_does_not_mark_is_an_error(monkeypatch):
    monkeypatch.setattr("tests.models.randomness.is_draw", lambda function, args, kwargs: False)
    with pytest.raises(AssertionError, match="unknown draw"):
        by_all(PER_SAMPLE["rand"])


def test_recomputed_activations_draw_the_same():
    """Checkpointing of activations puts back the random state and draws once more."""
    x = X.clone().requires_grad_()
    with seeded(0), SharedRandomness(0, 1, PART):
        y = torch.utils.checkpoint.checkpoint(lambda x: F.dropout(x, 0.5), x, use_reentrant=False)
        y.sum().backward()
    assert torch.equal(x.grad, (y != 0) * 2.0)


@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
@pytest.mark.parametrize("name", ["rand", "randn_like", "normal_", "bernoulli_", "dropout", "distribution", "randint"])
def test_the_same_draws_in_every_precision(name, dtype):
    found = []
    for kind in (torch.double, dtype):
        torch.set_default_dtype(kind)
        try:
            with seeded(0), SameDraws():
                found.append(PER_SAMPLE[name](X.round(decimals=1).to(kind)))
        finally:
            torch.set_default_dtype(torch.float32)
    wide, narrow = found
    assert narrow.dtype == (wide.dtype if name == "randint" else dtype)
    assert torch.allclose(wide.double(), narrow.double(), rtol=0.02, atol=0.01)


@pytest.mark.parametrize(("inside", "expected"), [(True, True), (False, False)])
def test_gradients_through_half_precision_are_seen(inside, expected):
    layer, points = torch.nn.Linear(3, 1), X.clone().requires_grad_()
    with own_gradients() as found, torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=inside):
        torch.autograd.grad(layer(points).float().sum(), points, create_graph=True)
    assert found == [expected]
