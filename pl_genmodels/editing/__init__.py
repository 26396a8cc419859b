"""What one does with a trained generator."""

from pl_genmodels.editing.anomaly import Anomalies, anomaly_scores
from pl_genmodels.editing.arithmetic import arithmetic, around, combine
from pl_genmodels.editing.blending import blend, composite, gaussian_poisson
from pl_genmodels.editing.directions import principal_directions
from pl_genmodels.editing.inpainting import Filled, importance_weights, inpaint, poisson_blend
from pl_genmodels.editing.interpolation import interpolate, lerp, slerp, walk
from pl_genmodels.editing.latent_space import LatentSpace
from pl_genmodels.editing.manipulation import edit, grey_of, morph, transfer, warped
from pl_genmodels.editing.neighbours import Neighbours, nearest_neighbours
from pl_genmodels.editing.originals import carry_over, transfer_error
from pl_genmodels.editing.projection import Found, descend, project
from pl_genmodels.editing.projector import Projector, fit_projector

__all__ = [
    "Anomalies",
    "Filled",
    "Found",
    "LatentSpace",
    "Neighbours",
    "Projector",
    "anomaly_scores",
    "arithmetic",
    "around",
    "blend",
    "carry_over",
    "combine",
    "composite",
    "descend",
    "edit",
    "fit_projector",
    "gaussian_poisson",
    "grey_of",
    "importance_weights",
    "inpaint",
    "interpolate",
    "lerp",
    "morph",
    "nearest_neighbours",
    "poisson_blend",
    "principal_directions",
    "project",
    "slerp",
    "transfer",
    "transfer_error",
    "walk",
    "warped",
]
