"""LightningDataModules: sets that come with Python packages, points, standard sets, and any folder of pictures."""

from pl_genmodels.data.base import ImageData, rebuild
from pl_genmodels.data.embedded import Digits, Faces, Patches, Photographs, Textures
from pl_genmodels.data.folder import ImageFolder
from pl_genmodels.data.large_sets import LSUN, CelebA
from pl_genmodels.data.loader import Loader, TensorSet
from pl_genmodels.data.pictures import to_float, unit_to_uint8
from pl_genmodels.data.points import Grid25, Mixture, PointData, Ring8, Spiral, SwissRoll
from pl_genmodels.data.torchvision_sets import CIFAR10, MNIST, FashionMNIST

__all__ = [
    "CIFAR10",
    "LSUN",
    "MNIST",
    "CelebA",
    "Digits",
    "Faces",
    "FashionMNIST",
    "Grid25",
    "ImageData",
    "ImageFolder",
    "Loader",
    "Mixture",
    "Patches",
    "Photographs",
    "PointData",
    "Ring8",
    "Spiral",
    "SwissRoll",
    "TensorSet",
    "Textures",
    "rebuild",
    "to_float",
    "unit_to_uint8",
]
