"""Per-sample losses, penalties and constraints: plain torch, no reduction, no optimiser."""

from pl_genmodels.losses.adversarial import (
    AdversarialLoss,
    BoundarySeeking,
    CrossEntropy,
    EnergyMargin,
    Hinge,
    LabelledLoss,
    LeastSquares,
    Margin,
    Minimax,
    NonSaturating,
    Relativistic,
    RelativisticAverage,
    Wasserstein,
)
from pl_genmodels.losses.density_ratio import BregmanRatio, ForwardRatio, ReverseRatio, importance_weights
from pl_genmodels.losses.divergences import kl_normal, kl_of_dimensions, log_normal
from pl_genmodels.losses.f_divergences import F_DIVERGENCES, Divergence, FDivergence
from pl_genmodels.losses.feature_matching import feature_matching
from pl_genmodels.losses.kernels import (
    GaussianSum,
    Kernel,
    MomentMatching,
    RationalQuadratic,
    pulling_away,
    root_mmd,
    squared_distances,
    squared_mmd,
)
from pl_genmodels.losses.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood, PixelLikelihood
from pl_genmodels.losses.logistic_mixture import DiscretizedLogistic, DiscretizedLogisticMixture
from pl_genmodels.losses.objectives import (
    Capacity,
    EvidenceLowerBound,
    FreeBits,
    ImportanceWeightedBound,
    VariationalObjective,
)
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
from pl_genmodels.losses.witness import witness_penalty
from pl_genmodels.losses.wrapped import LabelNoise, LeCam

__all__ = [
    "DRAGAN",
    "F_DIVERGENCES",
    "R1",
    "R2",
    "AdversarialLoss",
    "Bernoulli",
    "BoundarySeeking",
    "BregmanRatio",
    "Capacity",
    "Categorical",
    "Constraint",
    "CrossEntropy",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "Divergence",
    "EnergyMargin",
    "EvidenceLowerBound",
    "FDivergence",
    "ForwardRatio",
    "FreeBits",
    "Gaussian",
    "GaussianSum",
    "GradientPenalty",
    "Hinge",
    "ImportanceWeightedBound",
    "Kernel",
    "LabelNoise",
    "LabelledLoss",
    "LeCam",
    "LeastSquares",
    "Likelihood",
    "Margin",
    "Minimax",
    "MomentMatching",
    "NonSaturating",
    "Penalty",
    "PixelLikelihood",
    "RationalQuadratic",
    "Relativistic",
    "RelativisticAverage",
    "ReverseRatio",
    "SpectralNorm",
    "VariationalObjective",
    "Wasserstein",
    "WeightClipping",
    "absolute_error",
    "feature_matching",
    "importance_weights",
    "kl_normal",
    "kl_of_dimensions",
    "log_normal",
    "per_sample",
    "pulling_away",
    "root_mmd",
    "squared_distances",
    "squared_error",
    "squared_mmd",
    "witness_penalty",
]
