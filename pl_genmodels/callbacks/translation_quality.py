"""How good translations are while a model learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, Trainer

from pl_genmodels.callbacks.fidelity import SPLITS, real_images
from pl_genmodels.metrics import DigitReader, FeatureExtractor, TranslationMetrics
from pl_genmodels.metrics.fidelity import require_measures
from pl_genmodels.models.sharding import gathered
from pl_genmodels.specs import to_spec


class TranslationQuality(Callback):
    """Measures translations in every direction and logs the results as `val/<direction>/<measure>`.

    It measures at the end of every validation, or of every training epoch (each `check_val_every_n_epoch`-th) if the
    trainer validates nothing, and at the end of a test, on `test`. See `TranslationMetrics` for the measures; those of
    classes need a data module with `labelled`. Training continues bit for bit as it would without the callback.

    Args:
        extractor: Network that gives features for FID and KID; None leaves both out, the rest is cheap.
        metrics: Some of `fid`, `kid`, `isc`, `prc`, with an extractor.
        split: What to translate: `train`, `val` or `test`.
        seed: Of the generators' noise.

    Raises:
        ValueError: If a measure or the split is unknown, and for a model that translates nothing.
    """

    def __init__(
        self,
        extractor: FeatureExtractor | None = None,
        metrics: Sequence[str] = ("fid", "kid"),
        split: str = "val",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if split not in SPLITS:
            raise ValueError(f"split: got {split!r}, allowed are {', '.join(SPLITS)}")
        self.extractor, self.metrics, self.split, self.seed = extractor, require_measures(metrics), split, seed
        self._readers: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """How the run was judged, as plain data, so that it can be judged likewise again."""
        try:
            extractor = to_spec(self.extractor)
        except ValueError:  # someone's own network, which no checkpoint can rebuild
            extractor = None
        return {"extractor": extractor, "metrics": list(self.metrics), "split": self.split, "seed": self.seed}

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Refuse models that translate nothing; get all weights now, which should not cost an epoch if it fails."""
        if not hasattr(pl_module, "translate"):
            raise ValueError(f"TranslationQuality: got {type(pl_module).__name__}, allowed are models that translate")
        if stage == "predict":
            return
        if self.extractor is not None:
            self.extractor.load()
        self._readers = readers_for(getattr(trainer, "datamodule", None))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Measure on the chosen split."""
        if not trainer.sanity_checking:
            self._measure(trainer, pl_module, "val", self.split)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Measure on the chosen split, unless validation does."""
        interval = trainer.check_val_every_n_epoch or 1
        if not trainer.enable_validation and (trainer.current_epoch + 1) % interval == 0:
            self._measure(trainer, pl_module, "val", self.split)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Measure on the test split."""
        self._measure(trainer, pl_module, "test", "test")

    def _measure(self, trainer: Trainer, module: Any, stage: str, split: str) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        paired = getattr(data, "paired", True)
        measure = TranslationMetrics(self.extractor, self.metrics, paired, self._readers, self.seed)
        batches, _ = real_images(trainer, split)
        with gathered(module):
            results = measure(module, batches, domains_of(data, split), split)
        named = {f"{stage}/{name}": value for name, value in results.items()}
        named["images_seen"] = float(module.images_seen)  # the axis of all curves
        module.log_dict(named, sync_dist=False, rank_zero_only=False)  # every process holds the same values


def domains_of(data: Any, split: str) -> dict[str, Any] | None:
    """Loaders of each domain alone, if the data module has them."""
    if not hasattr(data, "domain_loader"):
        return None
    return {domain: data.domain_loader(split, domain) for domain in ("source", "target")}


def readers_for(data: Any) -> dict[str, Any]:
    """What reads the classes in each domain of a data module that gives labelled pictures of both; trained once."""
    if not hasattr(data, "labelled"):
        return {}
    found = {}
    for domain in ("source", "target"):
        tensors = data.labelled("train", domain).tensors
        name = f"{data.fingerprint}-{data.direction}-{domain}"
        found[domain] = DigitReader(tensors["image"], tensors["label"], name)
    return found


def quality_from_checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `TranslationQuality` of a run kept of itself, None if there was none."""
    states = checkpoint.get("callbacks", {})
    return next((dict(state) for key, state in states.items() if key == TranslationQuality.__qualname__), None)
