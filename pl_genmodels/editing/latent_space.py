"""The one way in which everything here sees a model: latents are drawn, decoded with gradient, and encoded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.models.engine import evaluating, keeping_gradient
from pl_genmodels.models.latent_grids import latent_quantiles

TAIL = 1e-4  # share of a coordinate's values beyond each of its limits


def has_latents(model: Any) -> bool:
    """Whether a model draws latents and decodes them."""
    return hasattr(model, "draw_latents") and hasattr(model, "decode")


class LatentSpace:
    """A model's latents, whether its generator or its decoder makes images of them.

    Args:
        model: With `draw_latents` and `decode`; `encode` and `discriminator` are used where it has them.
        **condition: What `decode` and `encode` are told besides, such as `label`.

    Raises:
        ValueError: For a model without latents.
    """

    def __init__(self, model: Any, **condition: Any) -> None:
        if not has_latents(model):
            raise ValueError(f"model: got a {type(model).__name__}, allowed are models with latents")
        self.model, self.condition = model, condition

    def draw(self, num_latents: int, *, seed: int, first: int = 0) -> Tensor:
        """Latents of a seed, which `sample` makes its samples of, (num_latents, latent_dim)."""
        return self.model.draw_latents(num_latents, seed=seed, first=first)

    def decode(self, latents: Tensor) -> Tensor:
        """Images of latents, with gradient where latents have one, (B, latent_dim) to (B, *image_shape)."""
        with keeping_gradient():
            return self.model.decode(latents, **self.condition)

    @property
    def has_encoder(self) -> bool:
        """Whether images have latents without any search."""
        return hasattr(self.model, "encode")

    def encode(self, image: Tensor) -> Tensor:
        """Latents of images by the encoder, (B, *image_shape) to (B, latent_dim).

        An encoder that takes no condition is told none.

        Raises:
            ValueError: For a model without one.
        """
        if not self.has_encoder:
            raise ValueError(f"model: got a {type(self.model).__name__}, allowed are models with an encoder")
        allowed = inspect.signature(self.model.encode).parameters
        told = {name: value for name, value in self.condition.items() if name in allowed}
        return self.model.encode(image.to(self.model.device), **told)

    def limits(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest values that a search may give to the coordinates, (latent_dim,) each.

        Beyond them lie the 0.01 % least and the 0.01 % largest values of a coordinate.
        """
        low, high = latent_quantiles(self.model, torch.tensor([TAIL, 1 - TAIL])).unbind(0)
        return low, high

    def critic(self) -> Callable[[Tensor], Tensor] | None:
        """The logits of a discriminator that sees nothing but images, (B, *image_shape) to (B,); None without one."""
        return None if hasattr(self.model, "judge_pairs") else getattr(self.model, "judge", None)

    def features(self) -> Callable[[Tensor], Tensor] | None:
        """The last hidden layer of a discriminator that sees nothing but images, (B, n); None without one."""
        network = getattr(self.model, "discriminator", None)
        if not getattr(network, "gives_features", False) or hasattr(self.model, "judge_pairs"):
            return None
        if getattr(network, "image_shape", None) != self.model.image_shape:  # it judges codes
            return None
        return lambda image: network(image, with_features=True)[1][-1].flatten(1)  # type: ignore[misc]

    @contextmanager
    def searched(self) -> Iterator[None]:
        """Everything in evaluation mode and no weight with a gradient, while only latents change."""
        flags = [(weight, weight.requires_grad) for weight in self.model.parameters()]
        with evaluating(self.model), torch.enable_grad():
            try:
                nn.Module.requires_grad_(self.model, False)
                yield
            finally:
                for weight, flag in flags:
                    weight.requires_grad_(flag)
