"""What one does with a trained generator."""

from pl_genmodels.editing.arithmetic import arithmetic, around, combine
from pl_genmodels.editing.interpolation import interpolate, lerp, slerp, walk
from pl_genmodels.editing.latent_space import LatentSpace
from pl_genmodels.editing.neighbours import Neighbours, nearest_neighbours
from pl_genmodels.editing.projection import Found, descend, project

__all__ = [
    "Found",
    "LatentSpace",
    "Neighbours",
    "arithmetic",
    "around",
    "combine",
    "descend",
    "interpolate",
    "lerp",
    "nearest_neighbours",
    "project",
    "slerp",
    "walk",
]
