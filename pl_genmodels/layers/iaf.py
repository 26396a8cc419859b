"""Inverse autoregressive flow: latents that are moved in an order, each by what stands before it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.layers.masked import MaskedLinear, spread_degrees
from pl_genmodels.layers.weight_norm import NormalizedMaskedConv

GATE = 1.5  # start of the gates' logits: 0.82 of a latent passes at first


class InverseAutoregressiveStep(nn.Module):
    r"""$z' = \sigma_g z + (1 - \sigma_g) m$ with $\sigma_g$ and $m$ of $z_i$ functions of the z before it.

    The gated form of Kingma et al. 2016, algorithm 1 and equation 14: the Jacobian is triangular, its log-determinant
    $\sum\log\sigma_g$. Two hidden masked layers with ELU; a context enters the first.

    Args:
        latent_dim: Length of a latent, n.
        context_dim: Length of what the encoder tells of the image; 0 for none.
        hidden_dim: Units of each hidden layer.
        reverse: Whether the order is from the last to the first; steps take turns.
    """

    def __init__(self, latent_dim: int, context_dim: int, hidden_dim: int, reverse: bool = False) -> None:
        super().__init__()
        order = torch.arange(1, latent_dim + 1)
        order = order.flip(0) if reverse else order
        hidden = spread_degrees(hidden_dim, 0, latent_dim - 1)  # those of degree 0 know the context only
        self.first, self.second = MaskedLinear(order, hidden), MaskedLinear(hidden, hidden)
        self.context = nn.Linear(context_dim, hidden_dim, bias=False) if context_dim else None
        self.last = MaskedLinear(hidden, order.repeat(2), strict=True)
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            self.last.bias[latent_dim:].fill_(GATE)

    def forward(self, latent: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Move latents.

        Args:
            latent: (..., B, latent_dim).
            context: (B, context_dim), if the step takes one.

        Returns:
            Latents, and the logarithm of each dimension's scale, whose sum is the log-determinant; both like `latent`.
        """
        kind = self.last.weight.dtype
        hidden = self.first(latent.to(kind))
        if self.context is not None and context is not None:
            hidden = hidden + self.context(context.to(kind))
        moved, gate = self.last(F.elu(self.second(F.elu(hidden)))).to(latent.dtype).chunk(2, -1)
        return torch.lerp(moved, latent, gate.sigmoid()), F.logsigmoid(gate)


class ConvInverseAutoregressiveStep(nn.Module):
    r"""$z' = (z - m) e^{-s}$ of feature maps, $m$ and $s$ of a value functions of those before it.

    The form of the code that Kingma et al. 2016 published: row by row from the top left, at a place one map after the
    other; two hidden masked convolutions with ELU, the context enters the first; $m$ and $s$ are scaled by 0.1.

    Args:
        latent_channels: Feature maps of a latent.
        context_channels: Feature maps of what encoder and decoder tell, and of each hidden layer; at least as many.
        init_scale: See `WeightNormalized`.
    """

    def __init__(self, latent_channels: int, context_channels: int, init_scale: float = 0.1) -> None:
        super().__init__()
        z, h = latent_channels, context_channels
        self.first = NormalizedMaskedConv(z, h, 3, "B", z, init_scale)
        self.second = NormalizedMaskedConv(h, h, 3, "B", z, init_scale)
        self.shift, self.log_scale = (NormalizedMaskedConv(h, z, 3, "A", z, init_scale) for _ in range(2))

    def forward(self, latent: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Move latents.

        Args:
            latent: (B, latent_channels, H, W).
            context: (B, context_channels, H, W).

        Returns:
            Latents, and the logarithm of each value's scale, whose sum is the log-determinant; both like `latent`.
        """
        hidden = F.elu(self.first(latent.to(context.dtype)) + context)
        hidden = F.elu(self.second(hidden))
        shift, log_scale = (0.1 * layer(hidden).to(latent.dtype) for layer in (self.shift, self.log_scale))
        return (latent - shift) * torch.exp(-log_scale), -log_scale
