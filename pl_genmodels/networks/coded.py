"""A translator that is told numbers about its picture, such as the shape and the turn of a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pl_genmodels.networks.base import require_same_sides
from pl_genmodels.specs import Recorded
from pl_genmodels.types import ImageShape


def _start(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class CodedTranslator(Recorded, nn.Module):
    """4x4 convolutions of stride 2 down and up, with what a linear layer draws of the coefficients in the middle.

    Pictures become features as coarse as they get; the coefficients become as many maps of the same size (in the
    paper a network decodes them); a 3x3 convolution joins both. On the way up every level sees the one that it came
    from. ReLU, tanh at the end. Start: He et al. 2015; what is added to the picture starts at 0.

    Args:
        source_shape: Shape of one input, (C, H, W).
        target_shape: Shape of one output, of the same height and width.
        num_coefficients: Numbers about a picture, each of the order of 1.
        channels: Feature maps of the first layer, doubled at each of the next.
        num_halvings: Convolutions of stride 2.
        norm: `batch` or `none`.
        residual: Whether the outcome is added to the picture, for translations that leave most of it as it is.

    Raises:
        ValueError: For counts that are not positive, another norm, or sides that cannot be halved so often.
    """

    supplied = ("source_shape", "target_shape", "num_coefficients")

    def __init__(
        self,
        source_shape: ImageShape,
        target_shape: ImageShape,
        num_coefficients: int,
        channels: int = 64,
        num_halvings: int = 4,
        norm: str = "batch",
        residual: bool = False,
    ) -> None:
        super().__init__()
        inputs, outputs = require_same_sides("CodedTranslator", source_shape, target_shape)
        for name, value in (("channels", channels), ("num_halvings", num_halvings)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, allowed is 1 or more")
        if norm not in ("batch", "none"):
            raise ValueError(f"norm: got {norm!r}, allowed are batch and none")
        times, (_, height, width) = 2**num_halvings, source_shape
        if height % times or width % times:
            raise ValueError(f"CodedTranslator: got pictures of {height}x{width}, allowed are multiples of {times}")
        self.source_shape, self.target_shape = tuple(source_shape), tuple(target_shape)
        if residual and inputs != outputs:
            raise ValueError(f"residual: got true, allowed is false from {inputs} to {outputs} channels")
        self.num_coefficients, self.residual = num_coefficients, residual

        def normed(layer: nn.Module, features: int) -> nn.Sequential:
            return nn.Sequential(layer, *([nn.BatchNorm2d(features)] if norm == "batch" else []), nn.ReLU())

        widths = [channels * 2**level for level in range(num_halvings)]
        befores = [inputs, *widths[:-1]]
        self.down = nn.ModuleList(
            normed(nn.Conv2d(before, after, 4, 2, 1), after) for before, after in zip(befores, widths, strict=True)
        )
        small = (widths[-1], height // times, width // times)
        self.draw = nn.Sequential(
            nn.Linear(num_coefficients, small[0] * small[1] * small[2]), nn.ReLU(), nn.Unflatten(1, small)
        )
        self.join = normed(nn.Conv2d(2 * widths[-1], widths[-1], 3, 1, 1), widths[-1])
        # above each level lies the one before it, and above the first one the picture
        afters = [max(channels // 2, 1), *widths[:-1]]
        self.up = nn.ModuleList(
            normed(nn.ConvTranspose2d(2 * width, after, 4, 2, 1), after)
            for width, after in zip(widths, afters, strict=True)
        )
        self.last = nn.Sequential(nn.Conv2d(afters[0] + inputs, outputs, 3, 1, 1), nn.Tanh())
        self.apply(_start)
        if residual:
            nn.init.zeros_(self.last[0].weight)  # type: ignore[arg-type]

    def forward(self, image: Tensor, coefficients: Tensor) -> Tensor:
        """Translations, (B, C, H, W) and (B, num_coefficients) to (B, C', H, W)."""
        levels = [image]
        for layer in self.down:
            levels.append(layer(levels[-1]))
        features = self.join(torch.cat([levels[-1], self.draw(coefficients)], 1))
        for level, layer in reversed(list(zip(levels[1:], self.up, strict=True))):
            features = layer(torch.cat([features, level], 1))
        made = self.last(torch.cat([features, image], 1))
        return image + 2 * made if self.residual else made
