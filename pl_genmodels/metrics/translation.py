"""How good translations are: fidelity to the other domain, faithfulness to the source, nearness to the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.metrics.features import FeatureExtractor
from pl_genmodels.metrics.fidelity import FidelityMetrics, to_uint8
from pl_genmodels.metrics.isolation import device_of, undisturbed
from pl_genmodels.metrics.processes import gather_objects
from pl_genmodels.types import as_batch

KEYS = ("source", "target")
SSIM_WINDOW = 11
"""Pixels of the Gaussian window of SSIM (Wang et al. 2004); pictures of smaller sides have no such value."""

Reader = Callable[[Tensor], Tensor]
"""Classes (B,) of uint8 pictures (B, C, H, W)."""


class Means:
    """Means of named values over the samples of all processes."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Values of some samples, (B,)."""
        total, count = self.sums.get(name, (0.0, 0))
        self.sums[name] = (total + values.double().sum().item(), count + len(values))

    def compute(self) -> dict[str, float]:
        """Mean of each; all processes must call it, and one may know fewer names."""
        everyone = gather_objects(self.sums)
        results = {}
        for name in dict.fromkeys(name for sums in everyone for name in sums):
            totals, counts = zip(*(sums[name] for sums in everyone if name in sums), strict=True)
            results[name] = sum(totals) / sum(counts)
        return results


def absolute(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference of each sample, (B, ...) to (B,)."""
    return (first - second).abs().flatten(1).mean(1)


def pair_values(images: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Nearness of translations to their true targets, by name, each (B,).

    `l1` is in the range of the data, [-1, 1] for pictures. For these, `psnr` in decibels and `ssim` compare bytes, as
    files would hold them.

    Args:
        images: Floats, (B, C, H, W) or points (B, n).
        truth: Likewise.
    """
    values = {"l1": absolute(images, truth)}
    if images.ndim != 4:
        return values
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    ours, theirs = (to_uint8(part).float() / 255 for part in (images, truth))
    values["psnr"] = peak_signal_noise_ratio(ours, theirs, data_range=1.0, dim=(1, 2, 3), reduction="none")
    if min(images.shape[-2:]) >= SSIM_WINDOW:
        similarity = structural_similarity_index_measure(ours, theirs, data_range=1.0, reduction="none")
        assert isinstance(similarity, Tensor)
        values["ssim"] = similarity.reshape(-1)
    return values


def as_floats(images: Tensor, device: torch.device) -> Tensor:
    """Samples as models read them: pictures held as bytes become floats in [-1, 1]."""
    images = images.to(device)
    return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images


class TranslationMetrics:
    """Measures a translation model in each of its directions; training goes on as if it had not been called.

    Results are named `<direction>/<measure>`: `fid-...` and `kid-...` of the translations against all samples of the
    domain that they lead to (see `FidelityMetrics`); `cycle_l1`, the mean absolute difference between a sample and what
    the way back makes of its translation; `identity_l1`, that between a sample and its own translation where it is in
    the domain already; with pairs `l1`, `psnr` and `ssim`; with labels and readers `label_kept`, the share of
    translations that are read as their source's class, and beside it `label_read`, the same for the true samples of
    that domain, which it cannot be expected to exceed.

    Args:
        extractor: Gives features for FID and KID; None leaves them out.
        metrics: Some of `fid`, `kid`, `prc`, `isc`.
        paired: Whether source and target belong together.
        readers: What reads classes from pictures of `source` and of `target`, or nothing.
        seed: Of the generators' noise.
    """

    def __init__(
        self,
        extractor: FeatureExtractor | None = None,
        metrics: Sequence[str] = ("fid", "kid"),
        paired: bool = True,
        readers: Mapping[str, Reader] | None = None,
        seed: int = 0,
    ) -> None:
        self.extractor, self.metrics, self.paired = extractor, tuple(metrics), paired
        self.readers, self.seed = readers or {}, seed

    def __call__(
        self, model: Any, batches: Iterable[Any], domains: Mapping[str, Iterable[Any]] | None = None, split: str = "val"
    ) -> dict[str, float]:
        """Measure on the samples of one split.

        Args:
            model: With `translate(images, direction, seed)` and `directions`.
            batches: This process's share of the sources and targets, each once; pictures as uint8 or in [-1, 1].
            domains: This process's share of `source` and `target` alone, batches with `image`, for FID and KID where
                they are not as many; by default those of `batches`.
            split: Where the samples are from, for the keys.

        Returns:
            Results by name; the same on all processes.
        """
        device = device_of(model)
        batches = list(batches)
        results: dict[str, float] = {}
        with undisturbed(device, self.seed):
            for direction in model.directions:
                found = self._faithfulness(model, batches, direction, device)
                if self.extractor is not None and len(model.image_shape) == 3:
                    found |= self._fidelity(model, batches, domains, direction, split)
                results |= {f"{direction}/{name}": value for name, value in found.items()}
        return results

    def _faithfulness(
        self, model: Any, batches: Iterable[Any], direction: str, device: torch.device
    ) -> dict[str, float]:
        start, end = KEYS if direction == "AtoB" else KEYS[::-1]
        back = "BtoA" if direction == "AtoB" else "AtoB"
        means = Means()
        for batch in batches:
            batch = as_batch(batch, KEYS)
            given, other = (as_floats(batch[key], device) for key in (start, end))
            done = model.translate(given, direction, self.seed)
            if back in model.directions:
                means.add("cycle_l1", absolute(model.translate(done, back, self.seed), given))
            if given.shape[1:] == other.shape[1:]:
                means.add("identity_l1", absolute(model.translate(other, direction, self.seed), other))
            if self.paired:
                for name, values in pair_values(done, other).items():
                    means.add(name, values)
            if end in self.readers and "label" in batch:
                for name, images in (("label_kept", done), ("label_read", other)):
                    classes = self.readers[end](to_uint8(images.cpu()))
                    means.add(name, (classes == batch["label"].cpu()).float())
        return means.compute()

    def _fidelity(
        self,
        model: Any,
        batches: Iterable[Any],
        domains: Mapping[str, Iterable[Any]] | None,
        direction: str,
        split: str,
    ) -> dict[str, float]:
        assert self.extractor is not None
        start, end = KEYS if direction == "AtoB" else KEYS[::-1]
        device = device_of(model)

        def samples(key: str) -> Iterable[Tensor]:
            if domains is None:
                return (as_batch(batch, KEYS)[key] for batch in batches)
            return (as_batch(batch)["image"] for batch in domains[key])

        measured = FidelityMetrics(self.extractor, self.metrics, split, device)
        measured.fake.interleaved = True  # shared as the sources are
        for images in samples(end):
            measured.update_real(images)
        for images in samples(start):
            measured.update_fake(model.translate(as_floats(images, device), direction, self.seed))
        return measured.compute()
