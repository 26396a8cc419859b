"""Pictures with a part of another one pasted in, and what they are to become: what blending is learnt from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pl_genmodels.data.embedded import Photographs
from pl_genmodels.data.loader import TensorSet
from pl_genmodels.data.pairs import PairData
from pl_genmodels.data.pictures import check_picture, unit_to_uint8
from pl_genmodels.data.seeds import stable_seed


class PastedPhotographs(PairData):
    """Patches of the photographs inside scikit-image, and the same ones with the centre as another light shows it.

    The pairs of Wu et al. 2019, section 4.1, who paste the central square of a picture of a scene onto another picture
    of the scene, aligned with it, and learn to return the latter. Here the scene's other picture is made: each colour
    channel's exponent, contrast and brightness are changed. A blending that is learnt from these takes the colours of
    a pasted part from what is around it.

    Args:
        size: Height and width of the patches in pixels; the square has half of each.
        num_patches: Training patches of each photograph; `val` and `test` have a quarter as many each, at least one.
        scale: How much the photographs are reduced: `scale * size` is at most 96.
        light: How much the light differs, in [0, 1]; 0 pastes each square onto itself.
        **kwargs: Of `PairData`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, size: int = 32, num_patches: int = 256, scale: int = 2, light: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if size % 4:
            raise ValueError(f"size: got {size}, allowed are multiples of 4")
        if not 0 <= light <= 1:
            raise ValueError(f"light: got {light}, allowed are values in [0, 1]")
        self.source_shape = self.target_shape = check_picture(size, 3)
        self.photographs = Photographs(size, 3, num_patches, scale)
        self.light = light
        self.save_hyperparameters()

    def load(self, split: str) -> TensorSet:
        """Patches of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            `source`, composites, and `target`, both uint8 (N, 3, size, size).
        """
        images = self.photographs.load(split).tensors["image"]
        generator = torch.Generator().manual_seed(stable_seed("PastedPhotographs", split))
        if split != "train":  # the first few shall show all photographs
            images = images[torch.randperm(len(images), generator=generator)]
        first = self.target_shape[1] // 4
        square = slice(first, 3 * first)
        pasted = images.clone()
        pasted[:, :, square, square] = relit(images[:, :, square, square], self.light, generator)
        return TensorSet({"source": pasted, "target": images}, f"PastedPhotographs {split}")


def relit(images: Tensor, light: float, generator: torch.Generator) -> Tensor:
    """Pictures in another light, drawn for each: $a x^g + b$ with g, a and b of each channel.

    Args:
        images: uint8 (N, C, H, W).
        light: g is within a factor of 2^light of 1, a within light of 1, and b within light / 2 of 0 (of white).
        generator: Of the draws.
    """
    draws = 2 * torch.rand(3, *images.shape[:2], 1, 1, generator=generator) - 1
    exponent, contrast, brightness = 2 ** (light * draws[0]), 1 + light * draws[1], light / 2 * draws[2]
    return unit_to_uint8(contrast * (images.float() / 255) ** exponent + brightness)
