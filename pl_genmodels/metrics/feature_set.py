"""The features of one set of images, shared by processes and put together again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pl_genmodels.metrics.frechet import FrechetStatistics
from pl_genmodels.metrics.processes import gather_rows, rank_and_size, sum_over_processes

SUMS = ("count", "total", "outer")


class FeatureSet:
    """What the measures need of one set of images: sums, and when asked for, every feature and logit.

    Args:
        num_features: Length d of a feature.
        device: Where sums are made.
        keep_features: Whether to keep the features themselves, float32 on the CPU.
        keep_logits: Likewise for logits.
        interleaved: How processes share the set: in turn, image by image, or in one block each.
    """

    def __init__(
        self, num_features: int, device: torch.device, *, keep_features: bool, keep_logits: bool, interleaved: bool
    ) -> None:
        sums_device = torch.device("cpu") if device.type == "mps" else device  # Apple's GPU has no float64
        self.sums = FrechetStatistics(num_features).to(sums_device)
        self.keep_features, self.keep_logits, self.interleaved = keep_features, keep_logits, interleaved
        self._features: list[Tensor] = []
        self._logits: list[Tensor] = []
        self.complete = False

    @property
    def _kept(self) -> list[str]:
        return [name for name in ("features", "logits") if getattr(self, f"keep_{name}")]

    @property
    def count(self) -> int:
        """Number of images in this process, or in all of them after `gather`."""
        return int(self.sums.count)

    @property
    def features(self) -> Tensor:
        """Kept features, (n, d)."""
        return torch.cat(self._features) if self._features else torch.empty(0, self.sums.num_features)

    @property
    def logits(self) -> Tensor:
        """Kept logits, (n, K)."""
        return torch.cat(self._logits) if self._logits else torch.empty(0, 0)

    def update(self, features: Tensor, logits: Tensor | None) -> None:
        """Add features, (B, d), and logits, (B, K).

        Raises:
            ValueError: If the set was gathered or loaded already.
        """
        if self.complete:
            raise ValueError("images: got more of them for a set that is complete, allowed is to start another set")
        self.sums.update(features)
        if self.keep_features:
            self._features.append(features.cpu())
        if self.keep_logits and logits is not None:
            self._logits.append(logits.cpu())

    def gather(self) -> FeatureSet:
        """Give every process the whole set, in the order that one process would have; all processes must call it."""
        if self.complete or rank_and_size()[1] == 1:
            return self
        for name in SUMS:
            setattr(self.sums, name, sum_over_processes(getattr(self.sums, name)))
        if self.keep_features:
            self._features = [gather_rows(self.features, interleaved=self.interleaved)]
        if self.keep_logits:
            self._logits = [gather_rows(self.logits, interleaved=self.interleaved)]
        self.complete = True
        return self

    def state(self) -> dict[str, Tensor]:
        """Everything as CPU tensors, for a file."""
        state = {name: getattr(self.sums, name).cpu() for name in SUMS}
        return state | {name: getattr(self, name) for name in self._kept}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave, as the whole set.

        Raises:
            ValueError: If it holds less than this set needs, or features of another length.
        """
        needed = {*SUMS, *self._kept}
        if not needed <= state.keys() or state["total"].shape != self.sums.total.shape:
            raise ValueError(
                f"state: got {sorted(state)} of {state['total'].numel() if 'total' in state else 0} features, "
                f"allowed are {sorted(needed)} of {self.sums.num_features}"
            )
        for name in SUMS:
            setattr(self.sums, name, state[name].to(self.sums.total.device))
        self._features = [state["features"]] if self.keep_features else []
        self._logits = [state["logits"]] if self.keep_logits else []
        self.complete = True
