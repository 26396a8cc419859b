"""Motion and change of colour between two pictures."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

COARSEST = 8  # pixels of the shorter side at which the search for motion begins
ROUNDS = 6  # times that the problem is made linear at each size
SOLVER_STEPS = 30  # of conjugate gradients in each


def estimate_flow(
    source: Tensor, target: Tensor, motion_weight: float = 0.05, colour_weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    r"""$\min_{u, A} \sum |I'(x) - A(x) [I(x + u(x)); 1]|^2 + \sigma_s |\nabla u|^2 + \sigma_c |\nabla A|^2$.

    Zhu et al. 2016, equation 7, from coarse to fine: at each size the motion found so far is followed, and the problem,
    linear by then, is solved for the rest of the motion and for the colours together.

    Args:
        source: I, in [-1, 1], (B, C, H, W).
        target: I', (B, C, H, W).
        motion_weight: Sigma_s, with motion in pixels of each size.
        colour_weight: Sigma_c.

    Returns:
        Motion u in pixels, to the right and down, (B, 2, H, W), and affine maps of colours A, (B, C, C + 1, H, W).

    Raises:
        ValueError: For other shapes, or a weight of 0.
    """
    if source.ndim != 4 or source.shape != target.shape:
        raise ValueError(f"target: got shape {tuple(target.shape)}, allowed is that of source, {tuple(source.shape)}")
    if motion_weight <= 0 or colour_weight <= 0:
        raise ValueError(
            f"motion_weight, colour_weight: got {motion_weight}, {colour_weight}, allowed is more than 0 for both"
        )
    number, colours = source.shape[:2]
    sizes: list[tuple[int, int]] = [(source.shape[2], source.shape[3])]
    while min(sizes[-1]) >= 2 * COARSEST:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    motion = source.new_zeros(number, 2, *sizes[-1])
    maps = identity_maps(number, colours, sizes[-1], source)
    for size in reversed(sizes):
        motion, maps = resize_flow(motion, maps, size)
        here, there = (F.adaptive_avg_pool2d(image, size) for image in (source, target))
        for _ in range(ROUNDS):
            motion, maps = _refine(here, there, motion, maps, motion_weight, colour_weight)
    return motion, maps


def _refine(
    source: Tensor, target: Tensor, motion: Tensor, maps: Tensor, motion_weight: float, colour_weight: float
) -> tuple[Tensor, Tensor]:
    """One linear problem: the rest of the motion, d, and the change of colours, by conjugate gradients.

    Residual of output colour c: I'_c - A_c [J; 1] - (A_c dJ) d - dA_c [J; 1], with J the source after motion.
    """
    colours = source.shape[1]
    moved = warp(source, motion)
    basis = torch.cat([moved, torch.ones_like(moved[:, :1])], 1)  # (B, C + 1, H, W)
    slopes = torch.stack(torch.gradient(moved, dim=(3, 2)), 2)  # (B, C, 2, H, W), to the right and down
    slopes = torch.einsum("bochw,bcxhw->boxhw", maps[:, :, :-1], slopes)
    residual = target - torch.einsum("bochw,bchw->bohw", maps, basis)
    sizes = [2, colours * (colours + 1)]
    weights = source.new_tensor([motion_weight] * sizes[0] + [colour_weight] * sizes[1])[None, :, None, None]

    def forward(values: Tensor) -> Tensor:
        step, change = values.split(sizes, 1)
        change = change.unflatten(1, (colours, colours + 1))
        return torch.einsum("boxhw,bxhw->bohw", slopes, step) + torch.einsum("bochw,bchw->bohw", change, basis)

    def backward(errors: Tensor) -> Tensor:
        step = torch.einsum("boxhw,bohw->bxhw", slopes, errors)
        change = torch.einsum("bohw,bchw->bochw", errors, basis).flatten(1, 2)
        return torch.cat([step, change], 1)

    now = torch.cat([motion, maps.flatten(1, 2)], 1)
    wanted = backward(residual) - weights * laplacian(now)
    squares = torch.cat([slopes.square().sum(1), basis.square().repeat(1, colours, 1, 1)], 1) + 4 * weights
    solved = conjugate_gradients(
        lambda values: backward(forward(values)) + weights * laplacian(values), wanted, squares, SOLVER_STEPS
    )
    step, change = (now + solved).split(sizes, 1)
    return step, change.unflatten(1, (colours, colours + 1))


def laplacian(values: Tensor) -> Tensor:
    """N_i v_i minus the sum of the n_i neighbours: half the gradient of squared differences, (B, K, H, W)."""
    across, down = values.diff(dim=3), values.diff(dim=2)
    return F.pad(across, (1, 0)) - F.pad(across, (0, 1)) + F.pad(down, (0, 0, 1, 0)) - F.pad(down, (0, 0, 0, 1))


def conjugate_gradients(
    operator: Callable[[Tensor], Tensor], wanted: Tensor, diagonal: Tensor, num_steps: int
) -> Tensor:
    """Solve a symmetric positive definite system for each row of a batch, preconditioned by a diagonal."""

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).flatten(1).sum(1)[:, None, None, None]

    tiny = torch.finfo(wanted.dtype).tiny
    solution, residual = torch.zeros_like(wanted), wanted
    scaled = residual / diagonal
    direction, size = scaled, dot(residual, scaled)
    for _ in range(num_steps):
        image = operator(direction)
        length = size / dot(direction, image).clamp(min=tiny)
        solution, residual = solution + length * direction, residual - length * image
        scaled = residual / diagonal
        before, size = size, dot(residual, scaled)
        direction = scaled + size / before.clamp(min=tiny) * direction
    return solution


def warp(image: Tensor, motion: Tensor) -> Tensor:
    """Read an image at x + u(x), bilinearly; beyond its border, at the border.

    Args:
        image: (B, C, H, W).
        motion: u in pixels, to the right and down, (B, 2, H, W).
    """
    height, width = image.shape[2:]
    rows = torch.arange(height, device=image.device, dtype=image.dtype)[:, None] + motion[:, 1]
    columns = torch.arange(width, device=image.device, dtype=image.dtype) + motion[:, 0]
    places = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], 3)  # pixels to [-1, 1]
    return F.grid_sample(image, places, mode="bilinear", padding_mode="border", align_corners=False)


def compose(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The flow from the source of the first to the target of the second; see `estimate_flow` for shapes."""
    (motion, maps), (next_motion, next_maps) = first, second
    colours = maps.shape[1]
    between = warp(torch.cat([motion, maps.flatten(1, 2)], 1), next_motion)
    earlier = between[:, 2:].unflatten(1, (colours, colours + 1))
    linear = torch.einsum("bochw,bcihw->boihw", next_maps[:, :, :-1], earlier)
    linear[:, :, -1] += next_maps[:, :, -1]
    return next_motion + between[:, :2], linear


def follow(image: Tensor, motion: Tensor, maps: Tensor) -> Tensor:
    """Move an image of any size, and change its colours, as a flow says, (B, C, H', W')."""
    motion, maps = resize_flow(motion, maps, tuple(image.shape[2:]))
    moved = warp(image, motion)
    return torch.einsum("bochw,bchw->bohw", maps[:, :, :-1], moved) + maps[:, :, -1]


def resize_flow(motion: Tensor, maps: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A flow of pictures of another size, with motion in pixels of that."""
    if tuple(motion.shape[2:]) == tuple(size):
        return motion, maps
    scale = motion.new_tensor([size[1] / motion.shape[3], size[0] / motion.shape[2]])[None, :, None, None]
    both = F.interpolate(torch.cat([motion, maps.flatten(1, 2)], 1), size, mode="bilinear", align_corners=False)
    return both[:, :2] * scale, both[:, 2:].unflatten(1, maps.shape[1:3])


def identity_maps(number: int, colours: int, size: tuple[int, ...], like: Tensor) -> Tensor:
    """Maps that leave colours as they are, (B, C, C + 1, H, W)."""
    eye = torch.eye(colours, colours + 1, device=like.device, dtype=like.dtype)
    return eye[None, :, :, None, None].expand(number, -1, -1, *size).clone()
