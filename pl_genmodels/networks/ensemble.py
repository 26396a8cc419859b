"""Several networks of one architecture, evaluated together by operations on tensors with one dimension more."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from pl_genmodels.networks.base import Discriminator, Generator
from pl_genmodels.networks.mlp import MLPDiscriminator, MLPGenerator
from pl_genmodels.types import ImageShape


class Stacked(nn.Module):
    """Weights of K networks, each in one tensor (K, ...), and one call for all of them.

    Args:
        members: Networks of one architecture, made of operations that `torch.func.vmap` knows.

    Raises:
        ValueError: If there is none.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ValueError("num_members: got 0, allowed is 1 or more")
        parameters, buffers = stack_module_state(list(members))
        self.names = {name: name.replace(".", "/") for name in (*parameters, *buffers)}
        for name, value in parameters.items():
            self.register_parameter(self.names[name], nn.Parameter(value.detach()))
        for name, value in buffers.items():
            self.register_buffer(self.names[name], value)
        self.num_members = len(members)
        self.call_one = partial(functional_call, copy.deepcopy(members[0]).to("meta"))  # has no weights of its own

    def train(self, mode: bool = True) -> Stacked:
        """Also the network through which all are called."""
        self.call_one.args[0].train(mode)
        return super().train(mode)

    def forward(self, inputs: Tensor, members: Tensor | None = None, each: bool = False) -> Tensor:
        """Answers of all members, or for each input of one.

        Args:
            inputs: (N, ...), or (N, K, ...) with an input of its own for `each` member.
            members: Which one answers each input, integers (N,).
            each: Whether inputs have a dimension of members.

        Returns:
            (N, K, ...), or with `members` (N, ...).
        """
        values = {name: getattr(self, key) for name, key in self.names.items()}
        if members is None:
            together = vmap(self._call_one, (0, 1 if each else None), out_dims=1, randomness="different")
            return together(values, inputs)
        rows = [(members == number).nonzero().squeeze(1) for number in range(self.num_members)]
        answers = [
            self._call_one({name: value[number] for name, value in values.items()}, inputs[own])
            for number, own in enumerate(rows)
        ]
        return torch.cat(answers)[torch.cat(rows).argsort()]

    def _call_one(self, values: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return self.call_one(values, (inputs,))


class GeneratorEnsemble(Generator):
    """K generators.

    Args:
        image_shape: Shape of one sample.
        generator: Called with the image shape, K times.
        num_members: K, 1 or more.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        num_members: int = 10,
    ) -> None:
        members = [generator(tuple(image_shape)) for _ in range(num_members)]
        stacked = Stacked(members)
        super().__init__(image_shape, members[0].latent_dim)
        self.stacked = stacked

    def forward(self, latent: Tensor, members: Tensor | None = None) -> Tensor:
        """Samples (N, K, *image_shape) for latents (N, K, latent_dim); by given `members` for (N, latent_dim)."""
        return self.stacked(latent, members, each=members is None)


class DiscriminatorEnsemble(Discriminator):
    """K discriminators.

    Args:
        image_shape: Shape of one sample.
        discriminator: Called with the image shape, K times.
        num_members: K, 1 or more.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        num_members: int = 2,
    ) -> None:
        super().__init__(image_shape)
        self.stacked = Stacked([discriminator(self.image_shape) for _ in range(num_members)])

    def forward(self, image: Tensor) -> Tensor:
        """Logits of all, (N, *image_shape) to (N, K)."""
        return self.stacked(image)
