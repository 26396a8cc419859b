"""How good translations are while a model learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Trainer

from pl_genmodels.callbacks.fidelity import real_images
from pl_genmodels.callbacks.measurement import Measurement, plain_extractor
from pl_genmodels.metrics import DigitReader, FeatureExtractor, TranslationMetrics
from pl_genmodels.metrics.fidelity import require_measures
from pl_genmodels.models.sharding import gathered


class TranslationQuality(Measurement):
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
        super().__init__(split)
        self.extractor, self.metrics, self.seed = extractor, require_measures(metrics), seed
        self._readers: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """How the run was judged, as plain data, so that it can be judged likewise again."""
        protocol = {"metrics": list(self.metrics), "split": self.split, "seed": self.seed}
        return {"extractor": plain_extractor(self.extractor), **protocol}

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Refuse models that translate nothing; get all weights now, which should not cost an epoch if it fails."""
        if not hasattr(pl_module, "translate"):
            raise ValueError(f"TranslationQuality: got {type(pl_module).__name__}, allowed are models that translate")
        if stage == "predict":
            return
        if self.extractor is not None:
            self.extractor.load()
        self._readers = readers_for(getattr(trainer, "datamodule", None))

    def measure(self, trainer: Trainer, module: Any, stage: str, split: str) -> None:
        """Translate the samples of a split."""
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
