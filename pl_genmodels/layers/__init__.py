"""Blocks that networks are made of: plain torch."""

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
    "BiasedLeakyReLU",
    "FIRDownsample",
    "FIRUpsample",
    "FixupBottleneck",
    "InputDownBlock",
    "ResidualBlock",
    "downsample_mean",
    "glorot_uniform_",
    "resampling_kernel",
    "scaled_normal_",
    "upsample_nearest",
]
