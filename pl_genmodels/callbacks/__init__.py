"""Lightning callbacks: pictures, FID, averaged weights, exact resume, signs of collapse."""

from pl_genmodels.callbacks.clusters import ClusterAccuracy
from pl_genmodels.callbacks.collapse import CollapseMonitor, TrainingCollapsedError
from pl_genmodels.callbacks.completions import Completions
from pl_genmodels.callbacks.ema import GeneratorEMA
from pl_genmodels.callbacks.fidelity import Fidelity
from pl_genmodels.callbacks.last_checkpoint import LastCheckpoint
from pl_genmodels.callbacks.latent_pictures import (
    CodeTraversals,
    EditGrid,
    LatentManifold,
    LatentTraversals,
    Reconstructions,
    SwapGrid,
)
from pl_genmodels.callbacks.mode_coverage import ModeCoverage
from pl_genmodels.callbacks.past_discriminator import PastDiscriminator
from pl_genmodels.callbacks.progress import GenerativeProgressBar, RunSummary
from pl_genmodels.callbacks.resume import ExactResume
from pl_genmodels.callbacks.sample_grid import ConditionGrid, SampleGrid
from pl_genmodels.callbacks.stacked_coverage import StackedCoverage
from pl_genmodels.callbacks.translation_grid import TranslationGrid
from pl_genmodels.callbacks.translation_quality import TranslationQuality

__all__ = [
    "ClusterAccuracy",
    "CodeTraversals",
    "CollapseMonitor",
    "Completions",
    "ConditionGrid",
    "EditGrid",
    "ExactResume",
    "Fidelity",
    "GenerativeProgressBar",
    "GeneratorEMA",
    "LastCheckpoint",
    "LatentManifold",
    "LatentTraversals",
    "ModeCoverage",
    "PastDiscriminator",
    "Reconstructions",
    "RunSummary",
    "SampleGrid",
    "StackedCoverage",
    "SwapGrid",
    "TrainingCollapsedError",
    "TranslationGrid",
    "TranslationQuality",
]
