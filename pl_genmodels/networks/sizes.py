"""Which picture sizes a network of doublings or halvings can take."""

from __future__ import annotations

from pl_genmodels.networks.base import require_picture
from pl_genmodels.types import ImageShape


def num_doublings(network: str, image_shape: ImageShape, smallest: int) -> int:
    """Number of doublings from 4x4 to the picture's size.

    Args:
        network: Name for the error.
        image_shape: (C, H, W).
        smallest: Least side the network takes, a power of two of at least 4.

    Raises:
        ValueError: If the picture is not square with a power-of-two side of at least `smallest`.
    """
    _, height, width = require_picture(network, image_shape)
    if height != width or height < smallest or height & (height - 1):
        sides = ", ".join(str(smallest * 2**k) for k in range(4))
        raise ValueError(f"{network}: got images of {height}x{width}, allowed are squares of side {sides}, ...")
    return height.bit_length() - 3
