"""LightningDataModules: sets inside Python packages, points, sprites, standard sets, any folder of pictures, pairs."""

from pl_genmodels.data.barred import BarredDigits, CelebAByAttribute
from pl_genmodels.data.base import ImageData, rebuild
from pl_genmodels.data.composites import PastedPhotographs
from pl_genmodels.data.embedded import Digits, Faces, Patches, Photographs, StackedDigits, Textures, TintedDigits
from pl_genmodels.data.factors import FactorData, FactorSet
from pl_genmodels.data.folder import ImageFolder
from pl_genmodels.data.large_sets import LSUN, CelebA
from pl_genmodels.data.loader import Loader, TensorSet
from pl_genmodels.data.pair_folders import AlignedFolder, UnalignedFolders
from pl_genmodels.data.pair_sets import DigitsToColour, EdgesToPhotos, RingToRing
from pl_genmodels.data.pairs import PairData, PairLoader, UnpairedSet, UnpairedTensors
from pl_genmodels.data.people import People
from pl_genmodels.data.pictures import to_float, unit_to_uint8
from pl_genmodels.data.points import Grid25, Mixture, PointData, Ring8, Spiral, SwissRoll
from pl_genmodels.data.sprites import DSprites, Sprites
from pl_genmodels.data.tags import TagData, TaggedFeatures, TaggedShapes
from pl_genmodels.data.torchvision_sets import CIFAR10, MNIST, STL10, FashionMNIST
from pl_genmodels.data.turned_people import TurnedPeople

__all__ = [
    "CIFAR10",
    "LSUN",
    "MNIST",
    "STL10",
    "AlignedFolder",
    "BarredDigits",
    "CelebA",
    "CelebAByAttribute",
    "DSprites",
    "Digits",
    "DigitsToColour",
    "EdgesToPhotos",
    "Faces",
    "FactorData",
    "FactorSet",
    "FashionMNIST",
    "Grid25",
    "ImageData",
    "ImageFolder",
    "Loader",
    "Mixture",
    "PairData",
    "PairLoader",
    "PastedPhotographs",
    "Patches",
    "People",
    "Photographs",
    "PointData",
    "Ring8",
    "RingToRing",
    "Spiral",
    "Sprites",
    "StackedDigits",
    "SwissRoll",
    "TagData",
    "TaggedFeatures",
    "TaggedShapes",
    "TensorSet",
    "Textures",
    "TintedDigits",
    "TurnedPeople",
    "UnalignedFolders",
    "UnpairedSet",
    "UnpairedTensors",
    "rebuild",
    "to_float",
    "unit_to_uint8",
]
