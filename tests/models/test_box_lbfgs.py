"""Many small problems at once, each as if it was alone."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import minimize

from pl_genmodels.models.box_lbfgs import minimise_in_box

COUNT, SIZE = 4, 6


def bowls(seed=0):
    """Quadratic losses with minima of their own."""
    generator = torch.Generator().manual_seed(seed)
    roots = torch.randn(COUNT, SIZE, SIZE, dtype=torch.double, generator=generator)
    bends = roots @ roots.mT + 0.1 * torch.eye(SIZE)
    pulls = torch.randn(COUNT, SIZE, dtype=torch.double, generator=generator)

    def loss(points, rows):
        return 0.5 * (points * (bends[rows] @ points[..., None])[..., 0]).sum(1) - (pulls[rows] * points).sum(1)

    return loss, bends, pulls


def box(bound):
    return torch.full((SIZE,), -bound).double(), torch.full((SIZE,), bound).double()


def test_minima_of_bowls():
    loss, bends, pulls = bowls()
    found = minimise_in_box(loss, torch.zeros(COUNT, SIZE).double(), *box(1e6), num_steps=80)
    torch.testing.assert_close(found.points, torch.linalg.solve(bends, pulls), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.losses, loss(found.points, torch.arange(COUNT)))


def test_minima_within_a_box_are_those_of_l_bfgs_b():
    loss, bends, pulls = bowls()
    found = minimise_in_box(loss, torch.zeros(COUNT, SIZE).double(), *box(0.5))
    assert found.points.abs().max() <= 0.5
    assert (found.points.abs() == 0.5).any(1).sum() >= 3, "bounds count"
    for point, bend, pull in zip(found.points, bends.numpy(), pulls.numpy(), strict=True):
        expected = minimize(
            lambda z, bend=bend, pull=pull: (0.5 * z @ bend @ z - pull @ z, bend @ z - pull),
            [0.0] * SIZE,
            jac=True,
            bounds=[(-0.5, 0.5)] * SIZE,
            method="L-BFGS-B",
            options={"ftol": 1e-15, "gtol": 1e-10},
        )
        torch.testing.assert_close(point, torch.from_numpy(expected.x), rtol=0, atol=1e-6)


def valley(points, rows):
    """Rosenbrock's, curved and not convex."""
    first, second = points[:, :-1], points[:, 1:]
    return (100 * (second - first.square()).square() + (1 - first).square()).sum(1)


def test_no_step_raises_a_loss_and_a_curved_valley_is_followed():
    starts = torch.randn(8, 2, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    low, high = torch.full((2, 2), 2.0).double() * torch.tensor([[-1.0], [1.0]])
    found = minimise_in_box(valley, starts, low, high, num_steps=100)
    assert (found.trace.diff(dim=0) <= 0).all()
    torch.testing.assert_close(found.trace[0], valley(starts, None))
    assert torch.equal(found.trace[-1], found.losses)
    torch.testing.assert_close(found.points, torch.ones_like(starts), rtol=0, atol=1e-4)


def test_a_row_alone_finds_what_it_finds_among_others():
    starts = torch.randn(5, 3, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    low, high = -2 * torch.ones(3).double(), 2 * torch.ones(3).double()
    together = minimise_in_box(valley, starts, low, high, num_steps=20)
    for row in range(5):
        alone = minimise_in_box(valley, starts[[row]], low, high, num_steps=20)
        torch.testing.assert_close(alone.points, together.points[[row]], rtol=1e-9, atol=1e-12)


def test_a_start_at_the_minimum_stays_and_one_outside_is_moved_in():
    loss, bends, pulls = bowls()
    best = torch.linalg.solve(bends, pulls)
    found = minimise_in_box(loss, best, *box(1e6), num_steps=5)
    torch.testing.assert_close(found.points, best)
    found = minimise_in_box(loss, 9 * torch.ones(COUNT, SIZE).double(), *box(0.5), num_steps=0)
    assert torch.equal(found.points, 0.5 * torch.ones(COUNT, SIZE))
    assert found.trace.shape == (1, COUNT)


def test_losses_that_are_not_numbers_are_not_stepped_to():
    def cliff(points, rows):
        return torch.where(points[:, 0] > 0.5, torch.nan, points[:, 0].square() - points[:, 0] * 4)

    found = minimise_in_box(cliff, torch.zeros(1, 1), -torch.ones(1), torch.ones(1), num_steps=5)
    assert torch.isfinite(found.losses).all()
    assert 0 < found.points <= 0.5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_steps": -1}, "num_steps: got -1, allowed is 0 or more"),
        ({"history": 0}, "history: got 0, allowed is 1 or more"),
        ({"high": -torch.ones(2)}, "low: is not below high everywhere"),
    ],
)
def test_what_is_out_of_range(arguments, sentence):
    given = {"low": -torch.ones(2), "high": torch.ones(2), **arguments}
    with pytest.raises(ValueError, match=sentence):
        minimise_in_box(valley, torch.zeros(1, 2), **given)
