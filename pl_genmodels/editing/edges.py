"""Histograms of oriented gradients through which a search can see strokes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ORIENTATIONS = 8


def cell_of(height: int, width: int) -> int:
    """Side of a cell in pixels: an eighth of the picture's shorter side, 8 pixels of 64, and 2 at least."""
    return max(2, min(height, width) // 8)


def gradient_histograms(image: Tensor, cell: int) -> Tensor:
    r"""Strength of edges by direction, pooled in cells and differentiable; Zhu et al. 2016.

    $h_k = \text{pool}\, |\cos\theta_k\, \partial_x I + \sin\theta_k\, \partial_y I|$.
    Gradients by Sobel's filters over 4, so that a step from -1 to 1 has 1; $\theta_k = k \pi / 8$; colours are averaged
    first. An edge is in the bin of its gradient's direction, and in neighbouring bins by the cosine of the angle.

    Args:
        image: In [-1, 1], (B, C, H, W).
        cell: Pixels between centres of cells.

    Returns:
        (B, 8, H', W').

    Raises:
        ValueError: For a cell that is larger than the picture.
    """
    grey = (image.mean(1, keepdim=True) + 1) / 2
    across = image.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    gradients = F.conv2d(F.pad(grey, (1, 1, 1, 1), "replicate"), torch.stack([across, across.T])[:, None])
    angles = torch.arange(ORIENTATIONS, device=image.device) * (math.pi / ORIENTATIONS)
    directions = torch.stack([angles.cos(), angles.sin()], 1).to(image)  # (8, 2)
    return pool_cells(F.conv2d(gradients, directions[:, :, None, None]).abs(), cell)


def pool_cells(values: Tensor, cell: int) -> Tensor:
    """Means over cells, to which a pixel counts bilinearly by its distance from the centres, (B, K, H, W).

    Raises:
        ValueError: For a cell below 2, or larger than the picture.
    """
    if not 2 <= cell <= min(values.shape[2:]):
        raise ValueError(f"cell: got {cell}, allowed are 2 to {min(values.shape[2:])}, the picture's shorter side")
    places = torch.arange(2 * cell, device=values.device, dtype=values.dtype)
    hat = 1 - (places - (cell - 0.5)).abs() / cell
    kernel = (hat[:, None] * hat / hat.sum() ** 2)[None, None].expand(values.shape[1], 1, -1, -1)
    return F.conv2d(values, kernel, stride=cell, padding=cell - cell // 2, groups=values.shape[1])
