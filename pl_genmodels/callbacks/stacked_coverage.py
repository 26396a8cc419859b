"""How many of the thousand modes of stacked digits a generator finds."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from pl_genmodels.callbacks.measurement import Measurement
from pl_genmodels.callbacks.output import require_positive
from pl_genmodels.metrics import DigitClassifier, FeatureExtractor, class_coverage, to_uint8
from pl_genmodels.metrics.processes import rank_and_size, sum_over_processes
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.sharding import gathered

BATCH = 1000  # samples drawn and read at a time
DIGITS = 10


class StackedCoverage(Measurement):
    """Counts the modes among samples of `StackedDigits`, at the end of every validation and of every test.

    A classifier reads the digit in each of the three channels. Logged are `<stage>/modes-<classifier>`, how many of the
    1,000 numbers occur, and `<stage>/mode_kl-<classifier>`, the divergence in nats of their shares from uniform. The
    published numbers are of a classifier of MNIST: compare like with like. Processes share the work.

    Args:
        extractor: Classifier of digits; by default `DigitClassifier()`, which is trained in seconds.
        num_samples: Samples; 26,000 in Srivastava et al., "VEEGAN", 2017, and Lin et al., "PacGAN", 2018.
        seed: Of the samples.

    Raises:
        ValueError: For no samples; when fitting starts, for data that are no pictures of three channels.
    """

    def __init__(self, extractor: FeatureExtractor | None = None, num_samples: int = 26_000, seed: int = 0) -> None:
        super().__init__("val")
        require_positive(num_samples=num_samples)
        self.extractor = DigitClassifier() if extractor is None else extractor
        self.num_samples, self.seed = num_samples, seed

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Train or read the classifier now, not in the middle of a run."""
        shape = getattr(getattr(trainer, "datamodule", None), "image_shape", None) or pl_module.image_shape
        if shape is not None and (len(shape) != 3 or shape[0] != 3):
            raise ValueError(f"StackedCoverage: got data of shape {tuple(shape)}, allowed are those of StackedDigits")
        self.extractor.load()

    def measure(self, trainer: Trainer, module: Any, stage: str, split: str) -> None:
        """Draw, read and count."""
        with gathered(module), evaluating(module):
            counts = sum_over_processes(self.count(module))
        found = class_coverage(counts)
        name = self.extractor.name
        named = {f"{stage}/modes-{name}": found["modes"], f"{stage}/mode_kl-{name}": found["kl"]}
        named["images_seen"] = module.images_axis
        module.log_dict(named, sync_dist=False, rank_zero_only=False)  # the same on every rank

    def count(self, module: Any) -> Tensor:
        """This process's share of the samples by their numbers, (1000,)."""
        rank, size = rank_and_size()
        counts, end = torch.zeros(DIGITS**3), self.num_samples * (rank + 1) // size
        for first in range(self.num_samples * rank // size, end, BATCH):
            images = to_uint8(module.sample(min(BATCH, end - first), seed=self.seed, first=first))
            _, logits = self.extractor(images.flatten(0, 1).unsqueeze(1))  # every channel by itself
            assert logits is not None
            digits = logits.argmax(1).view(-1, 3).cpu()
            counts += torch.bincount(digits @ torch.tensor([DIGITS**2, DIGITS, 1]), minlength=DIGITS**3)
        return counts
