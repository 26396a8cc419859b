"""Blocks that networks are made of: plain torch."""

from pl_genmodels.layers.augmentation import Augmentation, DiffAugment, InstanceNoise
from pl_genmodels.layers.conditioning import (
    Attributes,
    Codes,
    Condition,
    ConditionalBatchNorm,
    Conditioned,
    EmbeddingMaps,
    Labels,
    Projection,
    concatenated,
)
from pl_genmodels.layers.corruption import Corruption, GaussianCorruption, MaskingCorruption
from pl_genmodels.layers.features import Features
from pl_genmodels.layers.iaf import ConvInverseAutoregressiveStep, InverseAutoregressiveStep
from pl_genmodels.layers.image_pool import ImagePool, RankLocal
from pl_genmodels.layers.masked import MaskedLinear, spread_degrees
from pl_genmodels.layers.masked_conv import MaskedConv2d, MaskedConvCache
from pl_genmodels.layers.minibatch import BatchSimilarity
from pl_genmodels.layers.multiscale import MultiscaleBlock, MultiscaleDilatedConv2d
from pl_genmodels.layers.noise import GaussianNoise, NoiseDropout
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
from pl_genmodels.layers.reversal import GradientReversal
from pl_genmodels.layers.running_normal import RunningNormal
from pl_genmodels.layers.virtual_batch_norm import VirtualBatchNorm

__all__ = [
    "AtHandBatchNorm2d",
    "Attributes",
    "Augmentation",
    "BatchSimilarity",
    "BiasedLeakyReLU",
    "Codes",
    "Condition",
    "ConditionalBatchNorm",
    "Conditioned",
    "ConvInverseAutoregressiveStep",
    "Corruption",
    "DiffAugment",
    "EmbeddingMaps",
    "FIRDownsample",
    "FIRUpsample",
    "Features",
    "FixupBottleneck",
    "GaussianCorruption",
    "GaussianNoise",
    "GradientReversal",
    "ImagePool",
    "InputDownBlock",
    "InstanceNoise",
    "InverseAutoregressiveStep",
    "Labels",
    "MaskedConv2d",
    "MaskedConvCache",
    "MaskedLinear",
    "MaskingCorruption",
    "MultiscaleBlock",
    "MultiscaleDilatedConv2d",
    "NoiseDropout",
    "PictureNorm2d",
    "Projection",
    "RankLocal",
    "ResidualBlock",
    "RunningNormal",
    "VirtualBatchNorm",
    "concatenated",
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
