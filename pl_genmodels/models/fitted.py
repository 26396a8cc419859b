"""Densities that are computed from the whole training set at once, without gradients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import Self

from pl_genmodels.layers.gathered import Gathered
from pl_genmodels.models.latents import draw_latents
from pl_genmodels.models.likelihood import LikelihoodModule
from pl_genmodels.networks import NormalPrior
from pl_genmodels.types import Batch, ImageShape, Terms, as_batch

MAX_PAIRS = 1 << 22  # of an image and something it is compared with, at once


class FittedModule(LikelihoodModule):
    """A density whose values are computed from the training set at the end of the first epoch, before validation.

    The first epoch gathers what the loader yields, of all ranks; the rows are sorted, so that neither their order nor
    the number of ranks matters. Later epochs change nothing: `max_epochs: 1` is enough. Values are buffers in double
    precision under every precision of the Trainer, and until the first epoch has ended those of a simple density. The
    term `nll` is exact, in nats an image, a density over values in [-1, 1].

    Args:
        image_shape: See `GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape | None = None) -> None:
        super().__init__(image_shape, torch.optim.SGD)
        if self.image_shape is not None:
            self.configure_model()

    @property
    def is_built(self) -> bool:
        """Whether the buffers exist."""
        return hasattr(self, "gathered")

    def build(self, image_shape: ImageShape) -> None:
        """Create the buffers of the density before it is fitted."""
        self.gathered = Gathered(torch.Size(image_shape).numel())
        for name, value in self.start(self.gathered.length).items():
            self.register_buffer(name, value.double())

    # ---- what a density says

    @abstractmethod
    def start(self, length: int) -> dict[str, Tensor]:
        """Values by name before anything is known of rows of this length."""

    @abstractmethod
    def estimate(self, rows: Tensor) -> dict[str, Tensor]:
        """Values by name from all rows, (N, D) float64 on the CPU."""

    @abstractmethod
    def log_density(self, rows: Tensor) -> Tensor:
        """Nats of rows, (B, D) float64 to (B,)."""

    @property
    @abstractmethod
    def num_normals(self) -> int:
        """Normal numbers that make one sample."""

    @abstractmethod
    def transform(self, normals: Tensor) -> Tensor:
        """Rows from normal numbers, (B, num_normals) float64 to (B, D)."""

    # ---- fitting

    def fit(self, images: Tensor) -> None:
        """Compute the values from all training images.

        Args:
            images: (N, *image_shape), in any order.

        Raises:
            ValueError: For fewer than two images.
        """
        if len(images) < 2:
            raise ValueError(f"images: got {len(images)} to fit {type(self).__name__} to, allowed are 2 or more")
        rows = np.ascontiguousarray(images.detach().flatten(1).double().cpu().numpy())
        order = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel().argsort(kind="stable")
        device = self.device
        for name, value in self.estimate(torch.from_numpy(rows[order])).items():
            setattr(self, name, value.double().to(device))

    def on_train_start(self) -> None:
        """A new run gathers anew; a resumed one goes on."""
        super().on_train_start()
        if self.trainer.global_step == 0:
            self.gathered.parts = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Gather in the first epoch, fit with its last batch; log the batch's terms."""
        if self.trainer.current_epoch == 0:
            rows = self.read_batch(batch)["image"].detach().flatten(1)
            self.gathered.add(self._of_all_ranks(rows) if self.trainer.world_size > 1 else rows)
            if self.trainer.is_last_batch:
                self._fit_gathered()
        with torch.no_grad():
            return super().training_step(batch, batch_idx)

    def on_train_end(self) -> None:
        """Fit to what there is if the run ends within its first epoch."""
        if self.gathered.parts:
            self._fit_gathered()
        super().on_train_end()

    def _fit_gathered(self) -> None:
        self.fit(self.gathered.all())
        self.gathered.parts = []
        if self.trainer.world_size > 1:  # other machines may round otherwise
            for buffer in self.buffers():
                dist.broadcast(buffer, 0)

    def _of_all_ranks(self, rows: Tensor) -> Tensor:
        """Rows of every rank, whose numbers may differ; (B, D) to (sum of B, D)."""
        gather = self.trainer.strategy.all_gather
        counts = gather(torch.tensor(len(rows), device=rows.device)).tolist()
        padded = gather(F.pad(rows, (0, 0, 0, max(counts) - len(rows))))
        return torch.cat([part[:count] for part, count in zip(padded, counts, strict=True)])

    # ---- Lightning without gradients

    def configure_optimizers(self) -> Optimizer:
        """What Lightning counts the steps of; it never makes one."""
        return torch.optim.SGD([torch.zeros(1)], lr=0.0)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """There are no gradients."""

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """See the batch, past scalers of gradients."""
        optimizer_closure()

    def setup(self, stage: str) -> None:
        """Keep `ddp` from wrapping a module that has no gradients to average, which it refuses."""
        super().setup(stage)
        if isinstance(self.trainer.strategy, DDPStrategy):
            self.trainer.strategy.configure_ddp = _do_nothing  # type: ignore[method-assign]

    def teardown(self, stage: str) -> None:
        """Give the strategy back as it was."""
        vars(self.trainer.strategy).pop("configure_ddp", None)
        super().teardown(stage)

    def read_batch(self, batch: Any) -> Batch:
        """A batch by name as the loader yields it: rounding it would gain nothing here."""
        return as_batch(batch, self.batch_keys)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Values move with the module but keep their precision."""
        return super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Take values of the lengths that the training set gave them."""
        for name, buffer in self.named_buffers(recurse=False):
            if (value := state_dict.get(prefix + name)) is not None and value.shape[1:] == buffer.shape[1:]:
                setattr(self, name, buffer.new_empty(value.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    # ---- what one does with it

    def terms(self, batch: Batch) -> Terms:
        """Exact negative log-likelihood."""
        return {"nll": -self.log_prob(batch["image"])}

    def log_prob(self, image: Tensor) -> Tensor:
        """Exact log-density, (B, *image_shape) to nats, (B,), in double precision."""
        with torch.autocast(image.device.type, enabled=False), torch.no_grad():
            return self.log_density(image.flatten(1).double())

    def sample(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:  # noqa: D102
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        normals = draw_latents(NormalPrior(), num_samples, self.num_normals, self.device, seed=seed, first=first)
        with torch.autocast(self.device.type, enabled=False), torch.no_grad():
            images = self.transform(normals.double()).float().unflatten(1, self.image_shape or ())
        return images.clamp(-1, 1) if images.ndim == 4 else images


def _do_nothing() -> None:
    pass


def pick(cumulative: Tensor, normals: Tensor) -> Tensor:
    """Indices of probabilities whose running sums are given, from normal numbers, (K,) and (B,) to (B,)."""
    uniform = torch.special.ndtr(normals) * cumulative[-1]
    return torch.searchsorted(cumulative, uniform, right=True).clamp(max=len(cumulative) - 1)
