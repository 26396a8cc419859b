"""A memory of generated pictures from which a discriminator learns."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RankLocal(nn.Module):
    """State that belongs to one rank: its buffers are never averaged over ranks, nor taken back after a player's turn.

    A checkpoint holds those of every rank.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


class ImagePool(RankLocal):
    """The last generated pictures, half of which are shown in place of new ones (Shrivastava et al. 2017).

    Until it is full it keeps and returns every new picture. Then, for each picture in turn, with even odds it returns
    the new one, or a random kept one whose place the new one takes. Everything happens on the device, without a loop
    over the pictures. Random numbers come from torch's global state, two a picture.

    Args:
        shape: Of one picture.
        size: Pictures to keep, 50 in the paper; 0 always returns the new ones.

    Raises:
        ValueError: If the size is negative.
    """

    kept: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...], size: int = 50) -> None:
        super().__init__()
        if size < 0:
            raise ValueError(f"pool_size: got {size}, allowed is 0 or more")
        self.size = size
        self.register_buffer("kept", torch.zeros(size, *shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Exchange pictures with the pool.

        Args:
            images: New ones, (B, *shape).

        Returns:
            As many, each new or kept, (B, *shape).
        """
        if self.size == 0:
            return images
        order = torch.arange(len(images), device=images.device)
        coin, place = (torch.rand(len(images), device=images.device) for _ in range(2))
        filling = self.count + order < self.size
        slots = torch.where(filling, self.count + order, (place * self.size).long().clamp(max=self.size - 1))
        swaps = ~filling & (coin >= 0.5)
        written = (slots[:, None] == slots) & (swaps | filling)  # (B, B): [i, j], picture j goes where i looks
        earlier = torch.where(written & (order < order[:, None]), order, -1).amax(1)
        final = torch.where(written, order, -1).amax(1)
        kept, images = self.kept[slots], images.to(self.kept.dtype)
        old = self._choose(earlier, images, kept)
        # pictures that share a slot all write what the last of them leaves there
        self.kept[slots] = self._choose(final, images, kept)
        self.count.add_(len(images)).clamp_(max=self.size)
        return self._choose(torch.where(swaps, -1, order), images, old)

    @staticmethod
    def _choose(index: Tensor, images: Tensor, otherwise: Tensor) -> Tensor:
        """images[index], and the other picture where the index is -1."""
        given = (index >= 0).view(-1, *[1] * (images.ndim - 1))
        return torch.where(given, images[index.clamp(min=0)], otherwise)
