"""Generators, discriminators, encoders and decoders, and the abstract types that own ones subclass: plain torch."""

from pl_genmodels.networks.acgan import ACGANDiscriminator, ACGANGenerator
from pl_genmodels.networks.artgan import (
    ArtGANClassifier,
    ArtGANDecoder,
    ArtGANGenerator,
    AutoencodingClassifier,
    OverSampledGenerator,
)
from pl_genmodels.networks.autoencoders import AutoencoderDiscriminator
from pl_genmodels.networks.auxiliary import AuxiliaryDiscriminator
from pl_genmodels.networks.base import (
    Decoder,
    Discriminator,
    Encoder,
    Generator,
    NormalPrior,
    PixelCache,
    PixelNetwork,
    Prior,
    Translator,
    UniformPrior,
)
from pl_genmodels.networks.began import BEGANDecoder, BEGANEncoder
from pl_genmodels.networks.casia import CASIAEncoder, CASIAGenerator
from pl_genmodels.networks.classifiers import (
    ClassDiscriminator,
    Classifier,
    ConvClassifier,
    EncoderClassifier,
    MLPClassifier,
)
from pl_genmodels.networks.coded import CodedTranslator
from pl_genmodels.networks.codes import ClusterHeads, CodeDiscriminators
from pl_genmodels.networks.conditional import (
    ConcatDiscriminator,
    ConcatGenerator,
    ConditionalDiscriminator,
    ConditionalGenerator,
    ConditionalNormGenerator,
    EmbeddingMapDiscriminator,
    ProjectionDiscriminator,
)
from pl_genmodels.networks.convolutional import ConvDecoder, ConvDiscriminator, ConvEncoder
from pl_genmodels.networks.coupled import CoupledDiscriminator, CoupledGenerator
from pl_genmodels.networks.coupled_autoencoders import (
    CoupledAutoencoders,
    EmbeddingAutoencoders,
    OneWay,
    ResNetAutoencoders,
)
from pl_genmodels.networks.dcgan import DCGANDiscriminator, DCGANEncoder, DCGANGenerator
from pl_genmodels.networks.ensemble import DiscriminatorEnsemble, GeneratorEnsemble
from pl_genmodels.networks.gated_pixel_cnn import GatedPixelCNNNetwork
from pl_genmodels.networks.genes import GeneDiscriminator, GeneTranslator
from pl_genmodels.networks.ian import IANDiscriminator, IANGenerator
from pl_genmodels.networks.infogan import InfoGANDiscriminator, InfoGANGenerator
from pl_genmodels.networks.ladder import LadderNetwork
from pl_genmodels.networks.made import MADENetwork, NADENetwork, VectorNetwork
from pl_genmodels.networks.maxout import MaxoutDiscriminator
from pl_genmodels.networks.mirza import TwoWayDiscriminator, TwoWayGenerator
from pl_genmodels.networks.mlp import (
    DecoderGenerator,
    MLPDecoder,
    MLPDiscriminator,
    MLPEncoder,
    MLPGenerator,
    MLPTranslator,
)
from pl_genmodels.networks.noisy import NoisyGenerator
from pl_genmodels.networks.pairs import NormalEncoder, PairDiscriminator
from pl_genmodels.networks.patches import PatchDiscriminator, PixelDiscriminator
from pl_genmodels.networks.pixel_cnn import PixelCNNNetwork
from pl_genmodels.networks.pixel_cnn_pp import PixelCNNPPNetwork
from pl_genmodels.networks.pixel_rnn import DiagonalBiLSTMNetwork, PixelRNNNetwork, RowLSTMNetwork
from pl_genmodels.networks.pixel_shuffle import PixelShuffleGenerator
from pl_genmodels.networks.priors import CategoricalPrior, MixturePrior, RingPrior, SwissRollPrior
from pl_genmodels.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from pl_genmodels.networks.resnet import ResNetDiscriminator, ResNetGenerator
from pl_genmodels.networks.rotating import RotatingGenerator
from pl_genmodels.networks.translators import EncoderDecoderTranslator, ResNetTranslator, UNetTranslator
from pl_genmodels.networks.vae_gan import VAEGANDiscriminator, VAEGANEncoder, VAEGANGenerator
from pl_genmodels.networks.vgg import VGGDiscriminator
from pl_genmodels.networks.wrapped import (
    InstanceNormDiscriminator,
    MinibatchDiscriminator,
    PackedDiscriminator,
    VirtualBatchNormGenerator,
)

__all__ = [
    "ACGANDiscriminator",
    "ACGANGenerator",
    "ArtGANClassifier",
    "ArtGANDecoder",
    "ArtGANGenerator",
    "AutoencoderDiscriminator",
    "AutoencodingClassifier",
    "AuxiliaryDiscriminator",
    "BEGANDecoder",
    "BEGANEncoder",
    "CASIAEncoder",
    "CASIAGenerator",
    "CategoricalPrior",
    "ClassDiscriminator",
    "Classifier",
    "ClusterHeads",
    "CodeDiscriminators",
    "CodedTranslator",
    "ConcatDiscriminator",
    "ConcatGenerator",
    "ConditionalDiscriminator",
    "ConditionalGenerator",
    "ConditionalNormGenerator",
    "ConvClassifier",
    "ConvDecoder",
    "ConvDiscriminator",
    "ConvEncoder",
    "CoupledAutoencoders",
    "CoupledDiscriminator",
    "CoupledGenerator",
    "DCGANDiscriminator",
    "DCGANEncoder",
    "DCGANGenerator",
    "Decoder",
    "DecoderGenerator",
    "DiagonalBiLSTMNetwork",
    "Discriminator",
    "DiscriminatorEnsemble",
    "EmbeddingAutoencoders",
    "EmbeddingMapDiscriminator",
    "Encoder",
    "EncoderClassifier",
    "EncoderDecoderTranslator",
    "GatedPixelCNNNetwork",
    "GeneDiscriminator",
    "GeneTranslator",
    "Generator",
    "GeneratorEnsemble",
    "IANDiscriminator",
    "IANGenerator",
    "InfoGANDiscriminator",
    "InfoGANGenerator",
    "InstanceNormDiscriminator",
    "LadderNetwork",
    "MADENetwork",
    "MLPClassifier",
    "MLPDecoder",
    "MLPDiscriminator",
    "MLPEncoder",
    "MLPGenerator",
    "MLPTranslator",
    "MaxoutDiscriminator",
    "MinibatchDiscriminator",
    "MixturePrior",
    "NADENetwork",
    "NoisyGenerator",
    "NormalEncoder",
    "NormalPrior",
    "OneWay",
    "OverSampledGenerator",
    "PackedDiscriminator",
    "PairDiscriminator",
    "PatchDiscriminator",
    "PixelCNNNetwork",
    "PixelCNNPPNetwork",
    "PixelCache",
    "PixelDiscriminator",
    "PixelNetwork",
    "PixelRNNNetwork",
    "PixelShuffleGenerator",
    "Prior",
    "ProjectionDiscriminator",
    "R3GANDiscriminator",
    "R3GANGenerator",
    "ResNetAutoencoders",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "ResNetTranslator",
    "RingPrior",
    "RotatingGenerator",
    "RowLSTMNetwork",
    "SwissRollPrior",
    "Translator",
    "TwoWayDiscriminator",
    "TwoWayGenerator",
    "UNetTranslator",
    "UniformPrior",
    "VAEGANDiscriminator",
    "VAEGANEncoder",
    "VAEGANGenerator",
    "VGGDiscriminator",
    "VectorNetwork",
    "VirtualBatchNormGenerator",
]
