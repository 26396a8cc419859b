"""Paths between latents."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pl_genmodels.editing.latent_space import LatentSpace


def lerp(start: Tensor, end: Tensor, share: Tensor | float) -> Tensor:
    """Straight line, start at share 0 and end at share 1; latents (..., latent_dim)."""
    return torch.lerp(start, end, torch.as_tensor(share, dtype=start.dtype, device=start.device))


def slerp(start: Tensor, end: Tensor, share: Tensor | float) -> Tensor:
    """Great circle: sin((1-t)w)/sin(w) u + sin(tw)/sin(w) v with w the angle between u and v.

    Keeps the norm of equally long ends, where normal latents lie; nearly parallel ends fall back to `lerp`.
    White 2016, "Sampling Generative Networks", section 2.1.

    Args:
        start: u, (..., latent_dim).
        end: v, (..., latent_dim).
        share: t, in [0, 1], a number or (..., 1).
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1).clamp(-1, 1).unsqueeze(-1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    straight = sine < 1e-4
    safe = torch.where(straight, torch.ones_like(sine), sine)
    share = torch.as_tensor(share, dtype=start.dtype, device=start.device)
    arc = torch.sin((1 - share) * angle) / safe * start + torch.sin(share * angle) / safe * end
    return torch.where(straight, lerp(start, end, share), arc)


def walk(model: Any, ends: Tensor, num_steps: int = 10, *, path: str = "slerp", **condition: Any) -> Tensor:
    """Samples along paths from each latent to the next.

    Args:
        model: With latents.
        ends: Of the paths, drawn, encoded or found by `project`, (paths + 1, latent_dim).
        num_steps: Samples on each, both ends included.
        path: `slerp` for latents around a sphere (normal priors), `lerp` for a box (uniform priors).
        **condition: See `LatentSpace`.

    Returns:
        (paths, num_steps, *image_shape).

    Raises:
        ValueError: For an unknown path, no paths or fewer than two steps.
    """
    between = {"slerp": slerp, "lerp": lerp}
    if path not in between:
        raise ValueError(f"path: got {path!r}, allowed are {sorted(between)}")
    if len(ends) < 2:
        raise ValueError(f"ends: got {len(ends)}, allowed are 2 latents or more")
    if num_steps < 2:
        raise ValueError(f"num_steps: got {num_steps}, allowed is 2 or more")
    shares = torch.linspace(0, 1, num_steps, device=ends.device)[None, :, None]  # (1, steps, 1)
    latents = between[path](ends[:-1, None].expand(-1, num_steps, -1), ends[1:, None].expand(-1, num_steps, -1), shares)
    frames = LatentSpace(model, **condition).decode(latents.flatten(0, 1))
    return frames.detach().unflatten(0, (len(ends) - 1, num_steps))


def interpolate(
    model: Any, num_paths: int = 8, num_steps: int = 10, *, seed: int = 0, path: str = "slerp", **condition: Any
) -> Tensor:
    """Samples along paths between consecutive latents of a seed.

    Args:
        model: With latents.
        num_paths: Number of paths.
        num_steps: See `walk`.
        seed: Of the ends.
        path: See `walk`.
        **condition: See `LatentSpace`.

    Returns:
        (num_paths, num_steps, *image_shape).

    Raises:
        ValueError: For an unknown path, no paths or fewer than two steps.
    """
    if num_paths < 1:
        raise ValueError(f"num_paths: got {num_paths}, allowed is 1 or more")
    ends = LatentSpace(model).draw(num_paths + 1, seed=seed)
    return walk(model, ends, num_steps, path=path, **condition)
