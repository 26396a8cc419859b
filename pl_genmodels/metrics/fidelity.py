"""FID, KID, inception score, precision and recall of a generator, on one process or shared by many."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.metrics.am_score import am_score
from pl_genmodels.metrics.cache import cache_folder, load_cached, save_cached
from pl_genmodels.metrics.feature_set import FeatureSet
from pl_genmodels.metrics.features import FeatureExtractor
from pl_genmodels.metrics.frechet import frechet_distance
from pl_genmodels.metrics.isolation import device_of, evaluating, undisturbed
from pl_genmodels.metrics.processes import broadcast, rank_and_size
from pl_genmodels.types import as_batch

SMALLEST_SET = {
    "fid": 2,
    "kid": 2,
    "isc": 10,
    "prc": 4,
    "ams": 1,
}  # IS makes 10 splits, PRC looks at 3 neighbours
NEED_LOGITS = ("isc", "ams")
KID_SUBSET_SIZE = 1000  # the literature's; keys name any other


def to_uint8(images: Tensor) -> Tensor:
    """The bytes that an image file would hold: floats in [-1, 1] are rounded, uint8 stays as it is.

    Raises:
        ValueError: If the images are of another type.
    """
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise ValueError(f"images: got {images.dtype}, allowed are uint8, or floats in [-1, 1]")
    return (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def require_measures(metrics: Sequence[str]) -> tuple[str, ...]:
    """Check the names of measures.

    Raises:
        ValueError: If one is unknown, or there is none.
    """
    if isinstance(metrics, str) or not metrics or not set(metrics) <= SMALLEST_SET.keys():
        raise ValueError(f"metrics: got {metrics!r}, allowed is a list of {', '.join(SMALLEST_SET)}")
    return tuple(metrics)


class FidelityMetrics:
    """Compares two sets of images by torch-fidelity's measures, on any features.

    `fid` comes from sums alone; `kid`, `isc` (inception score) and `prc` (`precision` and `recall`) are
    torch-fidelity's own functions with its defaults, on features kept in memory; `ams` is `am_score`. Processes share
    the images as they like; all of them make this object together, and each gets the value of the whole.

    Args:
        extractor: Gives the features, and logits for `isc` and `ams`.
        metrics: Some of `fid`, `kid`, `isc`, `prc`, `ams`.
        split: Where the real images are from, for the keys of the results.
        device: Where features are computed.

    Raises:
        ValueError: If a measure is unknown.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        metrics: Sequence[str] = ("fid", "kid", "isc", "prc"),
        split: str = "train",
        device: torch.device | str = "cpu",
    ) -> None:
        self.extractor, self.metrics, self.split = extractor, require_measures(metrics), split
        self.device = torch.device(device)
        extractor.load()
        keep = not {"kid", "prc"}.isdisjoint(self.metrics)
        size, where = extractor.num_features, self.device
        # Samplers deal a data set out image by image; samples are drawn in one block per process.
        of_real, of_fake = "ams" in self.metrics, not set(NEED_LOGITS).isdisjoint(self.metrics)
        self.real = FeatureSet(size, where, keep_features=keep, keep_logits=of_real, interleaved=True)
        self.fake = FeatureSet(size, where, keep_features=keep, keep_logits=of_fake, interleaved=False)

    def update_real(self, images: Tensor) -> None:
        """Add real images: uint8, or floats in [-1, 1], (B, C, H, W)."""
        self.real.update(*self._extract(images))

    def update_fake(self, images: Tensor) -> None:
        """Add generated images: uint8, or floats in [-1, 1], (B, C, H, W); one that is not finite makes results NaN.

        Raises:
            ValueError: If a measure that needs logits is asked for and the extractor gives none.
        """
        self.fake.update(*self._extract(images))

    def _extract(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        features, logits = self.extractor(to_uint8(images).to(self.device))
        without = [metric for metric in self.metrics if metric in NEED_LOGITS and logits is None]
        if without:
            raise ValueError(f"metrics: got {without[0]!r}, which needs logits, but {self.extractor.name} gives none")
        if images.is_floating_point():
            broken = ~images.isfinite().flatten(1).all(1).to(self.device)
            features = features.masked_fill(broken[:, None], torch.nan)
        return features, logits

    def real_state(self) -> dict[str, Tensor]:
        """All that is needed of the real images, as plain CPU tensors; all processes must call it."""
        return self.real.gather().state()

    def load_real_state(self, state: Mapping[str, Tensor]) -> None:
        """Use what `real_state` gave instead of real images."""
        self.real.load_state(state)

    def compute(self) -> dict[str, float]:
        """Results of all images of all processes; all of them must call it, and all get the same.

        Returns:
            Keys `<measure>-<extractor>-<split><number of real>-fake<number of fake>`. Where there are fewer images than
            torch-fidelity's 1,000 for a KID subset, the measure is `kid-subset<size>`.

        Raises:
            ValueError: If there are too few images for a measure.
        """
        real, fake = self.real.gather(), self.fake.gather()
        for metric in self.metrics:
            if fake.count < SMALLEST_SET[metric] or (metric != "isc" and real.count < SMALLEST_SET[metric]):
                raise ValueError(
                    f"metrics: got {metric!r} for {real.count} real and {fake.count} generated images, "
                    f"allowed are {SMALLEST_SET[metric]} or more of each"
                )
        protocol = f"{self.extractor.name}-{self.split}{real.count}-fake{fake.count}"
        results = self._measure() if rank_and_size()[0] == 0 else None
        return {f"{measure}-{protocol}": value for measure, value in broadcast(results).items()}

    def _measure(self) -> dict[str, float]:
        results: dict[str, float] = {}
        for metric in self.metrics:
            results |= getattr(self, f"_{metric}")()
        broken = not bool(self.fake.sums.total.isfinite().all())
        return dict.fromkeys(results, float("nan")) if broken else results

    def _fid(self) -> dict[str, float]:
        real, fake = self.real.sums.mean_and_covariance(), self.fake.sums.mean_and_covariance()
        return {"fid": frechet_distance(*real, *fake).item()}

    def _kid(self) -> dict[str, float]:
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

        size = min(KID_SUBSET_SIZE, self.real.count, self.fake.count)
        result = kid_features_to_metric(self.fake.features, self.real.features, kid_subset_size=size, verbose=False)
        return {"kid" if size == KID_SUBSET_SIZE else f"kid-subset{size}": result[KEY_METRIC_KID_MEAN]}

    def _isc(self) -> dict[str, float]:
        from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

        return {"isc": isc_features_to_metric(self.fake.logits)[KEY_METRIC_ISC_MEAN]}

    def _ams(self) -> dict[str, float]:
        return {"ams": am_score(self.real.logits, self.fake.logits).item()}

    def _prc(self) -> dict[str, float]:
        from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

        # Blocks of 2,500 rows: the whole matrix of distances of 50,000 images would take 10 GB.
        result = prc_features_to_metric(
            self.fake.features, self.real.features, save_cpu_ram=True, prc_batch_size=2500, verbose=False
        )
        return {"precision": result[KEY_METRIC_PRECISION], "recall": result[KEY_METRIC_RECALL]}


def real_state(
    real: Iterable[Any],
    extractor: FeatureExtractor,
    metrics: Sequence[str] = ("fid",),
    *,
    split: str = "train",
    seed: int = 0,
    fingerprint: str | None = None,
    cache_dir: str | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """What the measures need of the real images, from a file if these images were seen before.

    All processes must call it, each with a loader of its own share; each gets the whole.

    Args:
        real: Batches that `as_batch` understands, with `image` as uint8 or floats in [-1, 1].
        extractor: Gives the features.
        metrics: Some of `fid`, `kid`, `isc`, `prc`, `ams`.
        split: Part of the data set that the images are.
        seed: Of random augmentations, if the loader makes any.
        fingerprint: Of the data set, its resolution and its transforms; without one, nothing is kept in files.
        cache_dir: Folder of these files; by default the user's cache.
        device: Where features are computed.
    """
    first = rank_and_size()[0] == 0
    path = None
    with undisturbed(torch.device(device), seed):
        fidelity = FidelityMetrics(extractor, metrics, split, device)
        if fingerprint is not None:
            path = _real_file(extractor, split, fingerprint, fidelity.real, cache_dir)
            state = broadcast(load_cached(path) if first else None)
            if state is not None:
                return state
        for batch in real:
            fidelity.update_real(as_batch(batch)["image"])
        state = fidelity.real_state()
        if path is not None and first:
            save_cached(state, path)
        return state


def _real_file(
    extractor: FeatureExtractor, split: str, fingerprint: str, real: FeatureSet, cache_dir: str | None
) -> Path:
    kept = [real.keep_features, *(["logits"] if real.keep_logits else [])]
    identity = json.dumps([1, fingerprint, split, extractor.name, extractor.digest(), *kept])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return cache_folder(cache_dir) / "fidelity" / f"{extractor.name}-{split}-{digest}.pt"


def evaluate(
    model: nn.Module,
    real: Iterable[Any] | Mapping[str, Tensor],
    extractor: FeatureExtractor,
    metrics: Sequence[str] = ("fid",),
    *,
    num_samples: int | None = None,
    split: str = "train",
    seed: int = 0,
    batch_size: int = 256,
) -> dict[str, float]:
    """Draw samples from a model and compare them with real images; training goes on as if it had not been called.

    Sample i depends only on (seed, i), so the results depend neither on the batch size nor on the number of processes.

    Args:
        model: Anything with `sample(num_samples, *, seed, first)` that returns images in [-1, 1], (n, C, H, W).
        real: Batches of real images (of this process's share), or what `real_state` gave.
        extractor: Gives the features; it runs on the model's device.
        metrics: Some of `fid`, `kid`, `isc`, `prc`, `ams`.
        num_samples: Number of samples over all processes; by default as many as there are real images.
        split: Where the real images are from, for the keys.
        seed: Of the samples.
        batch_size: Images per call of `sample`.

    Returns:
        Results by key, see `FidelityMetrics.compute`.

    Raises:
        ValueError: If the model cannot sample, or there are too few images.
    """
    sample = getattr(model, "sample", None)
    if not callable(sample):
        raise ValueError(
            f"model: got {type(model).__name__}, allowed are models with sample(num_samples, *, seed, first)"
        )
    device = device_of(model)
    if not isinstance(real, Mapping):
        real = real_state(real, extractor, metrics, split=split, seed=seed, device=device)
    rank, size = rank_and_size()
    with undisturbed(device, seed), evaluating(model):
        fidelity = FidelityMetrics(extractor, metrics, split, device)
        fidelity.load_real_state(real)
        num_samples = fidelity.real.count if num_samples is None else num_samples
        end = num_samples * (rank + 1) // size
        for first in range(num_samples * rank // size, end, batch_size):
            fidelity.update_fake(sample(min(batch_size, end - first), seed=seed, first=first))
        return fidelity.compute()
