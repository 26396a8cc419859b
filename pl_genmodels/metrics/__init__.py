"""Measures of generated images, points and codes. Plain torch, no Lightning."""

from pl_genmodels.metrics.coverage import class_coverage, mode_coverage, sliced_wasserstein, symmetric_kl, wasserstein
from pl_genmodels.metrics.digit_classifier import DigitClassifier, DigitReader
from pl_genmodels.metrics.disentanglement import beta_vae_score, dci, disentanglement, factor_vae_score, mig, sap
from pl_genmodels.metrics.features import FeatureExtractor, InceptionV3
from pl_genmodels.metrics.fidelity import FidelityMetrics, evaluate, real_state, to_uint8
from pl_genmodels.metrics.frechet import FrechetStatistics, frechet_distance
from pl_genmodels.metrics.translation import TranslationMetrics, pair_values
