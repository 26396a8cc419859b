"""Generators and discriminators, and the abstract types that own ones subclass: plain torch."""

from pl_genmodels.networks.base import Discriminator, Generator, NormalPrior, Prior, UniformPrior
from pl_genmodels.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from pl_genmodels.networks.mlp import MLPDiscriminator, MLPGenerator
from pl_genmodels.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from pl_genmodels.networks.resnet import ResNetDiscriminator, ResNetGenerator

__all__ = [
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Discriminator",
    "Generator",
    "MLPDiscriminator",
    "MLPGenerator",
    "NormalPrior",
    "Prior",
    "R3GANDiscriminator",
    "R3GANGenerator",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "UniformPrior",
]
