"""Generators, discriminators, encoders and decoders, and the abstract types that own ones subclass: plain torch."""

from pl_genmodels.networks.base import Decoder, Discriminator, Encoder, Generator, NormalPrior, Prior, UniformPrior
from pl_genmodels.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from pl_genmodels.networks.mlp import MLPDecoder, MLPDiscriminator, MLPEncoder, MLPGenerator
from pl_genmodels.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from pl_genmodels.networks.resnet import ResNetDiscriminator, ResNetGenerator

__all__ = [
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Decoder",
    "Discriminator",
    "Encoder",
    "Generator",
    "MLPDecoder",
    "MLPDiscriminator",
    "MLPEncoder",
    "MLPGenerator",
    "NormalPrior",
    "Prior",
    "R3GANDiscriminator",
    "R3GANGenerator",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "UniformPrior",
]
