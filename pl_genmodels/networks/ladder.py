"""The ResNet VAE of Kingma et al. 2016: latents in many layers, inferred on the way up and on the way down."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.layers.iaf import ConvInverseAutoregressiveStep
from pl_genmodels.layers.weight_norm import NormalizedConv, NormalizedDeconv, WeightNormalized
from pl_genmodels.networks.base import require_picture
from pl_genmodels.specs import Recorded
from pl_genmodels.types import ImageShape

SHARE = 0.1  # of a block in the sum with what goes past it
INIT_SCALE = 0.1  # deviation of what each layer gives for the first batch


class Evidence(NamedTuple):
    """What the way up tells a layer of the image: mean, log-deviation (B, z, H, W) and context (B, h, H, W)."""

    mean: Tensor
    log_std: Tensor
    context: Tensor


class Rung(NamedTuple):
    """A layer's latents and what their densities are made of, (B, z, H, W) each, in at least single precision.

    Args:
        value: The latents.
        noise: Standard normal, of which they are made.
        log_scale: Logarithm of the derivative of `value` by `noise`.
        prior_mean: Of the latents given those above.
        prior_log_std: Logarithm of their deviation.
    """

    value: Tensor
    noise: Tensor
    log_scale: Tensor
    prior_mean: Tensor
    prior_log_std: Tensor


class WayUp(nn.Module):
    """A layer's residual block on the way up, which also tells of the image.

    Args:
        channels: Feature maps of the blocks, h.
        latent_channels: Feature maps of the latents, z.
        halves: Whether it goes to half the resolution.
        flow: Whether it gives a context.
        top: Whether there is no layer above, and features end here.
    """

    def __init__(self, channels: int, latent_channels: int, halves: bool, flow: bool, top: bool) -> None:
        super().__init__()
        h, z = channels, latent_channels
        self.sizes = [z, z, h if flow else 0, *([] if top else [h])]
        self.halves = halves
        self.first = NormalizedConv(h, sum(self.sizes), 3, 2 if halves else 1, INIT_SCALE)
        self.second = None if top else NormalizedConv(h, h, 3, init_scale=INIT_SCALE)

    def forward(self, features: Tensor) -> tuple[Tensor, Evidence]:
        """(B, h, H, W) to features for the layer above and what is told of them."""
        mean, log_std, context, *inner = self.first(F.elu(features)).split(self.sizes, 1)
        told = Evidence(mean, log_std, context)
        if self.second is None:
            return features, told
        past = features[:, :, ::2, ::2] if self.halves else features
        return past + SHARE * self.second(F.elu(inner[0])), told


class WayDown(nn.Module):
    """A layer's latents and its residual block on the way down.

    The posterior's mean and log-deviation are sums of what comes from below and from above. It is a diagonal normal,
    moved by one step of inverse autoregressive flow that sees the sum of both contexts, or not moved.

    Args:
        channels: Feature maps of the blocks, h.
        latent_channels: Feature maps of the latents, z.
        doubles: Whether it goes to twice the resolution.
        flow: Whether the posterior is moved.
        top: Whether there is no layer above: what comes from there is then the same for all images.
    """

    def __init__(self, channels: int, latent_channels: int, doubles: bool, flow: bool, top: bool) -> None:
        super().__init__()
        h, z = channels, latent_channels
        self.sizes = [z, z, z, z, h if flow else 0, h]
        self.doubles = doubles
        # no data to start the top's from
        self.first = NormalizedConv(h, sum(self.sizes), 3, init_scale=None if top else INIT_SCALE)
        self.second = (
            NormalizedDeconv(h + z, h, 3, INIT_SCALE) if doubles else NormalizedConv(h + z, h, 3, init_scale=INIT_SCALE)
        )
        self.flow = ConvInverseAutoregressiveStep(z, h, INIT_SCALE) if flow else None

    def forward(self, features: Tensor, evidence: Evidence | None, noise: Tensor) -> tuple[Tensor, Rung]:
        """Features (B, h, H, W) and noise (B, z, H, W) to features for the layer below and latents.

        Without evidence the latents are the prior's.
        """
        parts = self.first(F.elu(features)).split(self.sizes, 1)
        prior_mean, prior_log_std, mean, log_std = (
            part.to(torch.promote_types(part.dtype, torch.float32)) for part in parts[:4]
        )
        if evidence is None:
            value, log_scale = torch.addcmul(prior_mean, prior_log_std.exp(), noise), prior_log_std
        else:
            log_scale = log_std + evidence.log_std
            value = torch.addcmul(mean + evidence.mean, log_scale.exp(), noise)
            if self.flow is not None:
                value, moved = self.flow(value, parts[4] + evidence.context)
                log_scale = log_scale + moved
        inner = self.second(F.elu(torch.cat([value.to(features.dtype), parts[5]], 1)))
        past = F.interpolate(features, scale_factor=2.0) if self.doubles else features
        return past + SHARE * inner, Rung(value, noise, log_scale, prior_mean, prior_log_std)


class LadderNetwork(Recorded, nn.Module):
    """Image to features and up, then down through latents in every layer to the parameters of the image's likelihood.

    All convolutions are weight-normalised and start from data (see `start_from_data`); 5x5 ones of stride 2 lead from
    the image and to it. A model calls its network argument with the image shape and the number of parameters.

    Args:
        image_shape: (C, H, W), sides multiples of 2 to the power of `num_resolutions`.
        num_parameters: Of a value.
        channels: Feature maps, h.
        latent_channels: Feature maps of each layer's latents, z; at most `channels`.
        num_resolutions: Resolutions with latents, from half the image's on.
        num_blocks: Layers at each resolution.
        flow: Whether posteriors are moved by inverse autoregressive flow.

    Attributes:
        latent_shapes: Of each layer's latents, (z, H, W), from the top.

    Raises:
        ValueError: For counts below 1, or an image whose sides cannot be halved so often.
    """

    supplied = ("image_shape", "num_parameters")

    def __init__(
        self,
        image_shape: ImageShape,
        num_parameters: int,
        *,
        channels: int = 160,
        latent_channels: int = 32,
        num_resolutions: int = 1,
        num_blocks: int = 20,
        flow: bool = True,
    ) -> None:
        super().__init__()
        colours, height, width = require_picture("LadderNetwork", image_shape)
        counts = {"latent_channels": latent_channels, "num_resolutions": num_resolutions, "num_blocks": num_blocks}
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name}: got {value}, allowed is 1 or more")
        if channels < latent_channels:
            raise ValueError(f"channels: got {channels}, allowed is latent_channels ({latent_channels}) or more")
        multiple = 2**num_resolutions
        if height % multiple or width % multiple:
            raise ValueError(
                f"image_shape: got {tuple(image_shape)}, allowed with {num_resolutions} resolutions are sides that are "
                f"multiples of {multiple}"
            )
        self.encode = NormalizedConv(colours, channels, 5, 2, INIT_SCALE)
        self.decode = NormalizedDeconv(channels, colours * num_parameters, 5, INIT_SCALE)
        places = [(level, block) for level in range(num_resolutions) for block in range(num_blocks)]
        options = [(level > 0 and block == 0, flow, (level, block) == places[-1]) for level, block in places]
        self.ups = nn.ModuleList(WayUp(channels, latent_channels, *each) for each in options)
        self.downs = nn.ModuleList(WayDown(channels, latent_channels, *each) for each in reversed(options))
        self.latent_shapes = [
            (latent_channels, height >> (level + 1), width >> (level + 1)) for level, _ in reversed(places)
        ]
        self.top = nn.Parameter(0.1 * torch.randn(channels, 1, 1))
        for part in self.modules():  # tame without data too: deviations of latents are exponentials
            if isinstance(part, WeightNormalized):
                nn.init.constant_(part.gain, INIT_SCALE)

    @property
    def latent_dim(self) -> int:
        """Length of all latents of an image."""
        return sum(math.prod(shape) for shape in self.latent_shapes)

    def forward(self, image: Tensor | None, noise: Sequence[Tensor]) -> tuple[Tensor, list[Rung]]:
        """Down through latents that are made of noise, of images or of none.

        Args:
            image: In [-1, 1], (B, C, H, W), for latents of the posterior; None for those of the prior.
            noise: Of each layer from the top, (K B, z, h, w); copy k of the images takes numbers k B to k B + B.

        Returns:
            Parameters, (K B, num_parameters * C, H, W), and each layer's latents from the top.
        """
        told: Iterator[Evidence | None] = iter([None] * len(self.downs))
        if image is not None:
            copies = len(noise[0]) // len(image)
            told = reversed([Evidence(*(part.repeat(copies, 1, 1, 1) for part in each)) for each in self._up(image)])
        features = self.top.expand(len(noise[0]), -1, *self.latent_shapes[0][1:])
        rungs = []
        for layer, evidence, numbers in zip(self.downs, told, noise, strict=True):
            features, rung = layer(features, evidence, numbers)
            rungs.append(rung)
        return self.decode(F.elu(features)), rungs

    def _up(self, image: Tensor) -> list[Evidence]:
        """What each layer is told of images, from the bottom."""
        features, found = self.encode(image.to(self.encode.direction.dtype)), []
        for layer in self.ups:
            features, evidence = layer(features)
            found.append(evidence)
        return found
