"""L-BFGS within a box for many small problems at once: each row is a problem of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SUFFICIENT = 1e-4  # share of the fall that the gradient promises which a step has to keep (Armijo)
HALVINGS = 12  # of a step before its row stays where it is


@dataclass(frozen=True)
class Descent:
    """Where a search ended, and how.

    Attributes:
        points: (B, n).
        losses: At the points, (B,).
        trace: Losses at the start and after each step, (steps + 1, B); no row of a problem ever rises.
    """

    points: Tensor
    losses: Tensor
    trace: Tensor


def minimise_in_box(
    loss: Callable[[Tensor, Tensor], Tensor],
    start: Tensor,
    low: Tensor,
    high: Tensor,
    num_steps: int = 60,
    history: int = 10,
) -> Descent:
    """Minimise one loss a row over a box by L-BFGS, halving each step until the loss falls enough.

    Coordinates at a bound that the gradient pushes outwards stay; steps are projected into the box. Byrd et al. 1995
    without their search for the Cauchy point. Rows do not influence each other.

    Args:
        loss: Called with points (R, n) and the number of each one's row, (R,); says the loss of each, (R,).
        start: (B, n); moved into the box.
        low: Least values, (n,).
        high: Largest values, (n,).
        num_steps: Steps at most; a row that no step improves stays.
        history: Steps that the curvature is estimated from.

    Raises:
        ValueError: For a negative number of steps, an empty history, or a box without inside.
    """
    if num_steps < 0:
        raise ValueError(f"num_steps: got {num_steps}, allowed is 0 or more")
    if history < 1:
        raise ValueError(f"history: got {history}, allowed is 1 or more")
    if not bool((low < high).all()):
        raise ValueError("low: is not below high everywhere")
    points, rows = start.detach().clamp(low, high), torch.arange(len(start), device=start.device)
    losses, slopes = _with_gradient(loss, points, rows)
    trace = [losses]
    moves: list[Tensor] = []
    bends: list[Tensor] = []
    stuck = torch.zeros_like(rows, dtype=torch.bool)
    for _ in range(num_steps):
        held = ((points <= low) & (slopes > 0)) | ((points >= high) & (slopes < 0))
        free = slopes.masked_fill(held, 0)
        ways = _towards(free, moves, bends).masked_fill(held, 0)
        uphill = (ways * free).sum(1, keepdim=True) >= 0
        ways = torch.where(uphill, -free, ways)
        if not moves:  # nothing is known of the curvature: a step of length 1 at most
            ways = ways / free.norm(dim=1, keepdim=True).clamp(min=1)
        found = _halved(loss, points, losses, slopes, ways.masked_fill(stuck[:, None], 0), low, high)
        stuck |= (found[0] == points).all(1)  # a row that no step improves is finished, whatever others do
        if bool(stuck.all()):
            break
        moves, bends = [*moves, found[0] - points][-history:], [*bends, found[2] - slopes][-history:]
        points, losses, slopes = found
        trace.append(losses)
    return Descent(points, losses, torch.stack(trace))


def _with_gradient(loss: Callable[[Tensor, Tensor], Tensor], points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        points = points.detach().requires_grad_()
        losses = loss(points, rows)
        (slopes,) = torch.autograd.grad(losses.sum(), points)
    return losses.detach(), slopes


def _towards(slopes: Tensor, moves: list[Tensor], bends: list[Tensor]) -> Tensor:
    """Minus the inverse curvature times the gradient, by the two loops of L-BFGS (Nocedal 1980); all (B, n)."""
    way, pairs = -slopes, list(zip(moves, bends, strict=True))
    shares: list[tuple[Tensor, Tensor]] = []
    for move, bend in reversed(pairs):
        curvature = (move * bend).sum(1, keepdim=True)
        inverse = torch.where(curvature > 1e-10, 1 / curvature.clamp(min=1e-10), 0)  # else as if it was never made
        share = inverse * (move * way).sum(1, keepdim=True)
        way = way - share * bend
        shares.append((inverse, share))
    if pairs:
        move, bend = pairs[-1]
        scale = (move * bend).sum(1, keepdim=True) / bend.square().sum(1, keepdim=True).clamp(min=1e-20)
        way = torch.where(scale > 0, scale * way, way)
    for (move, bend), (inverse, share) in zip(pairs, reversed(shares), strict=True):
        way = way + move * (share - inverse * (bend * way).sum(1, keepdim=True))
    return way


def _halved(
    loss: Callable[[Tensor, Tensor], Tensor],
    points: Tensor,
    losses: Tensor,
    slopes: Tensor,
    ways: Tensor,
    low: Tensor,
    high: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The first of shorter and shorter steps that keeps enough of its promise, row by row, or none."""
    points, new_losses, new_slopes = points.clone(), losses.clone(), slopes.clone()
    rows, length = torch.arange(len(points), device=points.device), 1.0
    waiting = rows[(ways != 0).any(1)]
    for _ in range(HALVINGS):
        if not len(waiting):
            break
        tried = (points[waiting] + length * ways[waiting]).clamp(low, high)
        values, gradients = _with_gradient(loss, tried, waiting)
        promised = (slopes[waiting] * (tried - points[waiting])).sum(1)
        good = (values <= losses[waiting] + SUFFICIENT * promised) & (promised < 0)
        taken = waiting[good]
        points[taken], new_losses[taken], new_slopes[taken] = tried[good], values[good], gradients[good]
        waiting, length = waiting[~good], length / 2
    return points, new_losses, new_slopes
