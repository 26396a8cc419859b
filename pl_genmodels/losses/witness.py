"""The witness of a discrepancy, and the penalty on its gradient (Binkowski et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pl_genmodels.layers.ranks import rows_of_all_ranks
from pl_genmodels.losses.kernels import Kernel
from pl_genmodels.losses.penalties import gradient_norm
from pl_genmodels.losses.precision import at_least_single, exact_gradients, in_single_precision


def witness_penalty(encoder: nn.Module, kernel: Kernel, real: Tensor, fake: Tensor) -> Tensor:
    r"""$(\|\nabla w(u)\| - 1)^2$ at u = e x + (1 - e) y, e ~ U(0, 1) per sample, of the witness w.

    $w(u) = E k(f(x), f(u)) - E k(f(y), f(u))$ says where real samples outweigh generated ones under the kernel of the
    encoder f; its expectations are over the batches of all ranks (section 2.1 and equation 5). All of it is computed in
    at least single precision, hence codes anew.

    Args:
        encoder: f, (B, ...) to (B, d); it must not mix samples.
        kernel: k, of codes.
        real: x, (B, ...).
        fake: y, detached, (B, ...).

    Returns:
        (B,).
    """
    real, fake = at_least_single(real), at_least_single(fake)
    mix = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    with exact_gradients(real.device.type):
        codes_at, dtype = in_single_precision(encoder)
        points = (fake + mix * (real - fake)).detach().to(dtype).requires_grad_()
        codes, *others = codes_at(torch.cat([points, real.to(dtype), fake.to(dtype)])).chunk(3)
        codes_real, codes_fake = map(rows_of_all_ranks, others)
        witness = kernel.varying(codes, codes_real).mean(1) - kernel.varying(codes, codes_fake).mean(1)
        (gradient,) = torch.autograd.grad(witness.sum(), points, create_graph=True)
        return (gradient_norm(gradient.flatten(1)) - 1) ** 2
