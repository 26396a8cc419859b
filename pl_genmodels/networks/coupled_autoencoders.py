"""Two autoencoders with one latent space: what lies next to the code is shared between the domains."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from pl_genmodels.layers.norm import norm_layers
from pl_genmodels.layers.padding import on_multiples
from pl_genmodels.networks.base import require_same_sides
from pl_genmodels.networks.dcgan import init_weights
from pl_genmodels.specs import Recorded
from pl_genmodels.types import ImageShape


class CoupledAutoencoders(Recorded, nn.ModuleDict):
    """Encoders and decoders of two domains, A and B, that share the layers next to the code.

    A model calls it with both shapes; every other constructor argument needs a default. No batch normalisation: both
    domains pass what is shared in one call.

    Args:
        source_shape: Shape of a sample of A, (C, H, W).
        target_shape: Shape of a sample of B.
        code_shape: Shape of such a sample's code.
        parts: `encoder_A`, `encoder_B`, `shared_encoder`, `shared_decoder`, `decoder_A` and `decoder_B`.

    Attributes:
        multiple: What the sides of a picture have to be multiples of.
    """

    supplied = ("source_shape", "target_shape")
    multiple: int = 1

    def __init__(
        self, source_shape: ImageShape, target_shape: ImageShape, code_shape: ImageShape, parts: dict[str, nn.Module]
    ) -> None:
        super().__init__(parts)
        self.source_shape, self.target_shape = tuple(source_shape), tuple(target_shape)
        self.code_shape = tuple(code_shape)

    def encode(self, images: dict[str, Tensor]) -> Tensor:
        """Codes of pictures of some domains, by the domain's name, one domain's after the other's."""
        features = [self[f"encoder_{domain}"](part) for domain, part in images.items()]
        return self["shared_encoder"](torch.cat(features))

    def start_decoding(self, code: Tensor) -> Tensor:
        """What the shared layers make of codes; `finish` makes it a picture of either domain."""
        return self["shared_decoder"](code)

    def finish(self, domain: str, features: Tensor) -> Tensor:
        """Pictures of a domain in [-1, 1]."""
        return self[f"decoder_{domain}"](features)

    def convert(self, images: Tensor, direction: str) -> Tensor:
        """Pictures of one domain, whose sides are multiples, as those of the other; without noise."""
        start, end = direction[0], direction[-1]
        return self.finish(end, self.start_decoding(self.encode({start: images})))

    def translate(self, images: Tensor, direction: str) -> Tensor:
        """The same for pictures of any size."""
        return on_multiples(lambda part: self.convert(part, direction), images, self.multiple)


class OneWay(Recorded, nn.Module):
    """One direction of coupled autoencoders, through the code without noise: what `export` writes.

    Args:
        networks: The autoencoders.
        direction: `AtoB` or `BtoA`.
    """

    supplied = ("source_shape", "target_shape")

    def __init__(self, networks: CoupledAutoencoders, direction: str = "AtoB") -> None:
        super().__init__()
        self.networks, self.direction, self.multiple = networks, direction, networks.multiple
        shapes = networks.source_shape, networks.target_shape
        self.source_shape, self.target_shape = shapes if direction == "AtoB" else shapes[::-1]

    def convert(self, image: Tensor) -> Tensor:
        """Translations of pictures whose sides are multiples, (B, C, H, W) to (B, C', H, W)."""
        return self.networks.convert(image, self.direction)

    def forward(self, image: Tensor) -> Tensor:
        """Translations of pictures of any size."""
        return self.networks.translate(image, self.direction)


def in_domains(
    encoder: Callable[[int], nn.Module], decoder: Callable[[int], nn.Module], channels: tuple[int, int]
) -> dict[str, nn.Module]:
    """What each domain has of its own, by name: made for the channels of A and of B."""
    makers = {"encoder": encoder, "decoder": decoder}
    domains = list(zip("AB", channels, strict=True))
    return {f"{name}_{domain}": make(number) for name, make in makers.items() for domain, number in domains}


def require_multiples(network: str, shape: ImageShape, multiple: int) -> tuple[int, int]:
    """Height and width of a picture over a number.

    Raises:
        ValueError: If that does not divide them.
    """
    _, height, width = shape
    if height % multiple or width % multiple:
        raise ValueError(
            f"{network}: got pictures of {height}x{width} to train on, allowed are sides that {multiple} divides"
        )
    return height // multiple, width // multiple


class _Block(nn.Module):
    """Two reflected 3x3 convolutions with instance normalisation around a ReLU, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for half in range(2):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), *norm_layers("instance", width)]
            layers += [nn.ReLU()] if half == 0 else []
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features)


class ResNetAutoencoders(CoupledAutoencoders):
    """Three convolutions and residual blocks on each side of the code; the block next to it is shared (Liu et al.).

    7x7, then two of stride 2, LeakyReLU; two transposed ones of stride 2 and a 1x1 with tanh. Start: N(0, 0.02). The
    authors' code has the convolutions of stride 2 with instance normalisation and ReLU (`COCOResGen`) and without
    (`COCOResGen2`, in their recipe for faces).

    Args:
        source_shape: Shape of a sample of A, (C, H, W).
        target_shape: Shape of a sample of B, of the same height and width.
        channels: Feature maps of the first layer, doubled at each halving.
        num_blocks: Residual blocks of each encoder and each decoder, of which one is shared.
        norm: Of the convolutions of stride 2: `instance` or `none`.

    Raises:
        ValueError: For counts that are not positive, another norm, or shapes of different sizes or with sides that are
            no multiples of 4.
    """

    multiple = 4

    def __init__(
        self,
        source_shape: ImageShape,
        target_shape: ImageShape,
        channels: int = 64,
        num_blocks: int = 4,
        norm: str = "none",
    ) -> None:
        shapes = require_same_sides("ResNetAutoencoders", source_shape, target_shape)
        for name, value in (("channels", channels), ("num_blocks", num_blocks)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, allowed is 1 or more")
        if norm not in ("instance", "none"):
            raise ValueError(f"norm: got {norm!r}, allowed are instance and none")
        sides = require_multiples("ResNetAutoencoders", source_shape, self.multiple)
        width = 4 * channels

        def normed(features: int) -> list[nn.Module]:
            return [nn.LeakyReLU()] if norm == "none" else [*norm_layers(norm, features), nn.ReLU()]

        def encoder(inputs: int) -> nn.Module:
            layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, channels, 7), nn.LeakyReLU()]
            for before in (channels, 2 * channels):
                layers += [nn.Conv2d(before, 2 * before, 3, 2, 1), *normed(2 * before)]
            return nn.Sequential(*layers, *(_Block(width) for _ in range(num_blocks - 1)))

        def decoder(outputs: int) -> nn.Module:
            layers: list[nn.Module] = [_Block(width) for _ in range(num_blocks - 1)]
            for before in (width, width // 2):
                layers += [nn.ConvTranspose2d(before, before // 2, 3, 2, 1, 1), *normed(before // 2)]
            return nn.Sequential(*layers, nn.Conv2d(channels, outputs, 1), nn.Tanh())

        parts = in_domains(encoder, decoder, shapes)
        shared = {name: nn.Sequential(_Block(width)) for name in ("shared_encoder", "shared_decoder")}
        super().__init__(source_shape, target_shape, (width, *sides), {**parts, **shared})
        self.apply(init_weights)


class EmbeddingAutoencoders(CoupledAutoencoders):
    """Convolutions of stride 2 around a code that is a vector, with the base widths of XGAN (Royer et al. 2017).

    Of each domain's own 32 and 64 feature maps; shared 128 and 256 and two hidden layers of 1,024 units; back through
    shared 512 and 256 and a domain's own 128, 64 and 3. 3x3 down, 4x4 up, ReLU, tanh; what the paper does not say is as
    usual: no normalisation, start of He et al. 2015. The hidden layers are convolutions over windows of 4x4, which at
    64x64 are the whole picture; on larger ones they slide. With the defaults on RGB: 17,456,518 parameters.

    Args:
        source_shape: Shape of a sample of A, (C, H, W).
        target_shape: Shape of a sample of B, of the same height and width.
        channels: Feature maps of the first layer; all others in proportion.
        code_dim: Units of both hidden layers.

    Raises:
        ValueError: For counts that are not positive, or shapes of different sizes or with sides that are no multiples
            of 64.
    """

    multiple = 64

    def __init__(
        self, source_shape: ImageShape, target_shape: ImageShape, channels: int = 32, code_dim: int = 1024
    ) -> None:
        shapes = require_same_sides("EmbeddingAutoencoders", source_shape, target_shape)
        for name, value in (("channels", channels), ("code_dim", code_dim)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, allowed is 1 or more")
        require_multiples("EmbeddingAutoencoders", source_shape, self.multiple)

        def down(*widths: int) -> list[nn.Module]:
            pairs = pairwise(widths)
            return [layer for pair in pairs for layer in (nn.Conv2d(*pair, 3, 2, 1), nn.ReLU())]

        def up(*widths: int) -> list[nn.Module]:
            pairs = pairwise(widths)
            return [layer for pair in pairs for layer in (nn.ConvTranspose2d(*pair, 4, 2, 1), nn.ReLU())]

        def encoder(inputs: int) -> nn.Module:
            return nn.Sequential(*down(inputs, channels, 2 * channels))

        def decoder(outputs: int) -> nn.Module:
            return nn.Sequential(*up(8 * channels, 4 * channels, 2 * channels, outputs)[:-1], nn.Tanh())

        hidden = [nn.Conv2d(8 * channels, code_dim, 4), nn.ReLU(), nn.Conv2d(code_dim, code_dim, 1)]
        shared = {
            "shared_encoder": nn.Sequential(*down(2 * channels, 4 * channels, 8 * channels), *hidden),
            "shared_decoder": nn.Sequential(
                nn.ConvTranspose2d(code_dim, 16 * channels, 4), nn.ReLU(), *up(16 * channels, 8 * channels)
            ),
        }
        code_shape = (code_dim, *(side // 16 - 3 for side in source_shape[1:]))
        super().__init__(source_shape, target_shape, code_shape, {**in_domains(encoder, decoder, shapes), **shared})
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.constant_(cast(Tensor, layer.bias), 0)
