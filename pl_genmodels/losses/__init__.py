"""Per-sample losses, penalties and constraints: plain torch, no reduction, no optimiser."""

from pl_genmodels.losses.adversarial import (
    AdversarialLoss,
    CrossEntropy,
    Hinge,
    LabelledLoss,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    RelativisticAverage,
    Wasserstein,
)
from pl_genmodels.losses.divergences import kl_normal
from pl_genmodels.losses.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood, PixelLikelihood
from pl_genmodels.losses.penalties import (
    DRAGAN,
    R1,
    R2,
    Constraint,
    GradientPenalty,
    Penalty,
    SpectralNorm,
    WeightClipping,
)
from pl_genmodels.losses.similarity import absolute_error, per_sample, squared_error
from pl_genmodels.losses.wrapped import LabelNoise, LeCam

__all__ = [
    "DRAGAN",
    "R1",
    "R2",
    "AdversarialLoss",
    "Bernoulli",
    "Categorical",
    "Constraint",
    "CrossEntropy",
    "Gaussian",
    "GradientPenalty",
    "Hinge",
    "LabelNoise",
    "LabelledLoss",
    "LeCam",
    "LeastSquares",
    "Likelihood",
    "Minimax",
    "NonSaturating",
    "Penalty",
    "PixelLikelihood",
    "Relativistic",
    "RelativisticAverage",
    "SpectralNorm",
    "Wasserstein",
    "WeightClipping",
    "absolute_error",
    "kl_normal",
    "per_sample",
    "squared_error",
]
