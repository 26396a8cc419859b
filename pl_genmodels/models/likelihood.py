"""Models with one objective and one optimiser."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.base import GenerativeModule, SamplingModule
from pl_genmodels.models.engine import average_buffers, average_gradients, made_for
from pl_genmodels.models.finite import require_finite
from pl_genmodels.models.sharding import clip_gradients
from pl_genmodels.types import Batch, ImageShape, Terms


class ObjectiveModule(GenerativeModule):
    """A model that minimises the mean of a sum of named terms, by Lightning's automatic optimisation.

    Clipping, accumulation and every strategy of the Trainer are Lightning's own here. A leaf writes `terms`, pure and
    without optimiser, backward or logging.

    Args:
        image_shape: See `GenerativeModule`.
        optimizer: Called with all parameters.
        scheduler: Called with the optimiser.
        scheduler_interval: Whether the schedule advances by `step` or `epoch`.
        compile: See `GenerativeModule`.

    Raises:
        ValueError: For an unknown interval.
    """

    def __init__(
        self,
        image_shape: ImageShape | None,
        optimizer: Callable[[Iterable], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_interval: str = "step",
        compile: bool = False,
    ) -> None:
        super().__init__(image_shape, compile)
        if scheduler_interval not in ("step", "epoch"):
            raise ValueError(f"scheduler_interval: got {scheduler_interval!r}, allowed are 'step' and 'epoch'")
        self.optimizer_factory, self.scheduler_factory = optimizer, scheduler
        self.scheduler_interval = scheduler_interval

    @abstractmethod
    def terms(self, batch: Batch) -> Terms:
        """Named values per sample in nats, (B,), whose sum is minimised, e.g. `reconstruction` and `kl`."""

    def summaries(self, loss: Tensor) -> Terms:
        """Further values to log of a validation or test set, by name, out of the sum of its mean terms."""
        return {}

    def evaluation_terms(self, batch: Batch) -> Terms:
        """Terms that are logged of a validation or test set, where these are others than what training minimises."""
        return self.terms(batch)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        batch = self.read_batch(batch)
        self.count_images(batch)
        means = {name: at_least_single(term).mean() for name, term in self.terms(batch).items()}
        self.finite.add("train", means, self.images_seen, self.trainer.global_step + 1)
        loss = torch.stack(list(means.values())).sum()
        if self.log_due:
            require_finite(self)
            self.log("loss", loss.detach(), prog_bar=True)
            values = {f"train/{name}": mean.detach() for name, mean in means.items()}
            self.log_dict({**values, "images_seen": self.images_axis})
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Mean terms over the validation set."""
        self._log_mean_terms(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Mean terms over the test set."""
        self._log_mean_terms(batch, "test")

    def _log_mean_terms(self, batch: Any, split: str) -> None:
        batch = self.read_batch(batch)
        means = {name: at_least_single(term).mean() for name, term in self.evaluation_terms(batch).items()}
        total = torch.stack(list(means.values())).sum()
        values = {f"{split}/{name}": value for name, value in {**means, **self.summaries(total)}.items()}
        size = len(batch[self.batch_keys[0]])
        self.log_dict({**values, f"{split}/loss": total}, batch_size=size, sync_dist=True)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Average over ranks what sharding leaves out: parameters of the module itself."""
        if self.shards:
            average_gradients(self.parameters(), self.trainer.world_size)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip as Lightning does, but by the norm over all shards."""
        if self.shards and gradient_clip_val:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            clip_gradients(gradients, gradient_clip_val, gradient_clip_algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_validation_start(self) -> None:
        """Agree on running statistics; under `ddp` each forward pass does."""
        super().on_validation_start()
        if self.shards and not self.trainer.sanity_checking:
            average_buffers(self, self.trainer.world_size)

    def configure_optimizers(self) -> Any:
        """The optimiser, and the schedule if there is one."""
        # averaged weights are no one's to train
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = made_for("optimizer", self.optimizer_factory, trained)
        if self.scheduler_factory is None:
            return optimizer
        scheduler = {"scheduler": self.scheduler_factory(optimizer), "interval": self.scheduler_interval}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


class LikelihoodModule(ObjectiveModule, SamplingModule):
    """An `ObjectiveModule` that makes samples out of nothing but random numbers."""
