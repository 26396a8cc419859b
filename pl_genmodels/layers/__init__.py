"""Blocks that networks are made of: plain torch."""

from pl_genmodels.layers.image_pool import ImagePool, RankLocal
from pl_genmodels.layers.masked import MaskedLinear, spread_degrees
from pl_genmodels.layers.noise import NoiseDropout
from pl_genmodels.layers.norm import AtHandBatchNorm2d, PictureNorm2d, mixes_pictures, norm_layers
from pl_genmodels.layers.padding import on_multiples, reflect
from pl_genmodels.layers.resample import (
    FIRDownsample,
    FIRUpsample,
    downsample_mean,
    resampling_kernel,
    upsample_nearest,
)
from pl_genmodels.layers.residual import (
    BiasedLeakyReLU,
    FixupBottleneck,
    InputDownBlock,
    ResidualBlock,
    glorot_uniform_,
    scaled_normal_,
)

__all__ = [
    "AtHandBatchNorm2d",
    "BiasedLeakyReLU",
    "FIRDownsample",
    "FIRUpsample",
    "FixupBottleneck",
    "ImagePool",
    "InputDownBlock",
    "MaskedLinear",
    "NoiseDropout",
    "PictureNorm2d",
    "RankLocal",
    "ResidualBlock",
    "downsample_mean",
    "glorot_uniform_",
    "mixes_pictures",
    "norm_layers",
    "on_multiples",
    "reflect",
    "resampling_kernel",
    "scaled_normal_",
    "spread_degrees",
    "upsample_nearest",
]
