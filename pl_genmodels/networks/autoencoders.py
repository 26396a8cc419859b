"""Discriminators that are autoencoders: what they cannot reconstruct is not like the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from pl_genmodels.networks.base import Decoder, Discriminator, Encoder
from pl_genmodels.networks.mlp import MLPDecoder, MLPEncoder
from pl_genmodels.types import ImageShape


class AutoencoderDiscriminator(Discriminator):
    r"""The logit of a sample is minus its energy, the mean over values of $|x - Dec(Enc(x))|^p$.

    High for what it knows, never positive. Asked for its features it gives the code.

    Args:
        image_shape: Shape of one sample.
        code_dim: Length of a code.
        encoder: Called with the image shape and the length of a code.
        decoder: Called with the image shape and the length of a code; pictures are taken as it makes them, without
            tanh.
        power: p; 2 for squared errors (EBGAN), 1 for absolute ones (BEGAN).

    Raises:
        ValueError: For a power other than 1 and 2, or a code without length.
    """

    gives_features = True
    powers: ClassVar[tuple[int, ...]] = (1, 2)

    def __init__(
        self,
        image_shape: ImageShape,
        code_dim: int = 16,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        decoder: Callable[[tuple[int, ...], int], Decoder] = MLPDecoder,
        power: int = 2,
    ) -> None:
        super().__init__(image_shape)
        if code_dim < 1:
            raise ValueError(f"code_dim: got {code_dim}, allowed is 1 or more")
        if power not in self.powers:
            raise ValueError(f"power: got {power}, allowed are {list(self.powers)}")
        self.encoder, self.decoder = encoder(self.image_shape, code_dim), decoder(self.image_shape, code_dim)
        self.code_dim, self.power = code_dim, power

    def forward(self, image: Tensor, with_features: bool = False) -> Any:
        """Minus energies, (B, *image_shape) to (B,); asked for features a pair of these and a list of the codes."""
        code = self.encoder(image)
        again = self.decoder(code)
        wide = torch.promote_types(again.dtype, torch.float32)  # a mean of small differences
        error = (again.to(wide) - image.to(wide)).abs()
        logits = -(error if self.power == 1 else error.square()).flatten(1).mean(1)
        return (logits, [code]) if with_features else logits
