"""The directions of a latent along which pictures change most."""

from __future__ import annotations

import torch
from torch import Tensor

from pl_genmodels.editing.latent_space import LatentSpace

NUM_LATENTS = 64  # at which the change is looked at
NUM_PROBES = 8  # random mixtures of pixels for each of them


def principal_directions(space: LatentSpace, number: int, seed: int = 0) -> Tensor:
    r"""Eigenvectors of $E_z J^T J$ with the largest eigenvalues, J the Jacobian of the image with respect to z.

    J itself is never formed: with w normal, $w^T J$ has the second moment $J^T J$, and one gradient gives it. Its 512
    draws are decomposed instead. For a linear decoder and uncorrelated latents these are the principal components of
    the images, led back to latents.

    Args:
        space: Whose latents.
        number: How many directions, at most as many as a latent has entries.
        seed: Of the latents and the mixtures.

    Returns:
        Orthonormal rows, the first one changes pictures most, (number, latent_dim). The largest entry of each is
        positive.

    Raises:
        ValueError: For a number below 1, or above what there is.
    """
    latents = space.draw(NUM_LATENTS, seed=seed)
    most = min(latents.shape[1], NUM_LATENTS * NUM_PROBES)
    if not 1 <= number <= most:
        raise ValueError(f"number: got {number}, allowed is 1 to {most}")
    generator, slopes = torch.Generator().manual_seed(seed), []
    with space.searched():
        for _ in range(NUM_PROBES):
            place = latents.detach().clone().requires_grad_()
            images = space.decode(place)
            mixture = torch.randn(images.shape, generator=generator).to(images)
            slopes.append(torch.autograd.grad((mixture * images).sum(), place)[0])
    _, _, found = torch.linalg.svd(torch.cat(slopes).double(), full_matrices=False)
    found = found[:number]
    largest = found.gather(1, found.abs().argmax(1, keepdim=True))
    return (found * largest.sign()).to(latents)
