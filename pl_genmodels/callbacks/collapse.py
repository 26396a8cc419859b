"""Watches an adversarial run for the ways in which it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.sharding import local


class TrainingCollapsedError(RuntimeError):
    """The run cannot go on: a loss or weight is not finite, or the samples have collapsed."""


class CollapseMonitor(Callback):
    """Logs signs of collapse and says so in one sentence.

    Logged under `monitor/`: `diversity`, the mean distance between generated samples over that between real ones;
    `accuracy`, the share of (real, generated) pairs in which the discriminator's logit is higher for the real one (0.5:
    it cannot tell, 1: it has won); `logit_gap`, mean logit of real minus generated; `gradient_norm_ratio`,
    discriminator over generator. Losses are checked for non-finite values at the same interval, and weights before any
    checkpoint is written, so that a broken state never replaces a good one.

    Args:
        every_n_images: Interval in images seen.
        num_samples: Fixed latents that are watched.
        min_diversity: Below this the samples count as collapsed; 0 turns the test off.
        action: `warn` says so once; `stop` ends the run with an error; `restore` goes back to the newest checkpoint
            with finite weights, once an interval.
        seed: Of the latents.

    Raises:
        ValueError: For an interval or number below 1 or an unknown action, and for a model without players.
    """

    actions = ("warn", "stop", "restore")

    def __init__(
        self,
        every_n_images: int = 20_000,
        num_samples: int = 64,
        min_diversity: float = 0.1,
        action: str = "warn",
        seed: int = 0,
    ) -> None:
        if every_n_images < 1:
            raise ValueError(f"every_n_images: got {every_n_images}, allowed is 1 or more")
        if num_samples < 2:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 2 or more")
        if action not in self.actions:
            raise ValueError(f"action: got {action!r}, allowed are {list(self.actions)}")
        self.every_n_images, self.num_samples, self.seed = every_n_images, num_samples, seed
        self.min_diversity, self.action = min_diversity, action
        self._last = 0
        self._said: set[str] = set()

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Refuse models without players."""
        if not hasattr(pl_module, "last_terms"):
            raise ValueError(f"CollapseMonitor: got {type(pl_module).__name__}, allowed are adversarial models")

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Count intervals from here."""
        self._last = pl_module.images_seen

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Look, log, and act."""
        if pl_module.images_seen // self.every_n_images == self._last // self.every_n_images:
            return
        self._last = pl_module.images_seen
        broken = _non_finite_term(pl_module) or _non_finite_weights(pl_module)
        if trainer.strategy.reduce_boolean_decision(broken is not None, all=False):  # all ranks act or none does
            self._act(trainer, pl_module, "values", f"{broken or 'a value of another process'} is not finite")
            return
        signs = self._signs(pl_module, pl_module.read_batch(batch)[pl_module.batch_keys[0]])
        found = {name: float(trainer.strategy.reduce(value, reduce_op="mean")) for name, value in signs.items()}
        values = {f"monitor/{name}": value for name, value in found.items()}
        pl_module.log_dict(values, logger=False)
        for logger in trainer.loggers:  # at once: log_every_n_steps rarely falls on this batch
            step = trainer.fit_loop.epoch_loop._batches_that_stepped
            logger.log_metrics({**values, "images_seen": float(pl_module.images_seen)}, step=step)
        if found["diversity"] < self.min_diversity:
            share = f"their mean distance is {found['diversity']:.3f} of that between real ones"
            problem = f"the samples have collapsed: {share} (min_diversity {self.min_diversity})"
            self._act(trainer, pl_module, "diversity", problem)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Never let broken weights replace good ones."""
        broken = _non_finite_weights(pl_module)
        if broken is None or self.action == "warn":
            return
        if self.action == "stop":
            raise TrainingCollapsedError(f"{broken} is not finite; no checkpoint was written, the last good one stays")
        self._act(trainer, pl_module, "values", f"{broken} is not finite")
        checkpoint["state_dict"] = trainer.strategy.lightning_module_state_dict()
        checkpoint["optimizer_states"] = [trainer.strategy.optimizer_state(o) for o in trainer.optimizers]

    @torch.no_grad()
    def _signs(self, module: Any, real: Tensor) -> dict[str, Tensor]:
        real = real[: self.num_samples]
        fake = module.sample(self.num_samples, seed=self.seed).to(real.dtype)
        signs = {"diversity": _mean_distance(fake) / _mean_distance(real).clamp_min(1e-12)}
        if hasattr(module, "judge"):
            with evaluating(module.discriminator):
                on_real, on_fake = module.judge(real), module.judge(fake)
            signs["accuracy"] = (on_real[:, None] > on_fake[None, :]).double().mean()
            signs["logit_gap"] = on_real.mean() - on_fake.mean()
        norms = module.gradient_norms
        if {"discriminator", "generator"} <= norms.keys():
            signs["gradient_norm_ratio"] = norms["discriminator"] / norms["generator"].clamp_min(1e-12)
        return signs

    def _act(self, trainer: Trainer, module: Any, kind: str, problem: str) -> None:
        sentence = f"After {module.images_seen:,} images (step {trainer.global_step}), {problem}"
        if self.action == "stop":
            raise TrainingCollapsedError(f"{sentence}; the last good checkpoint stays.")
        if self.action == "restore":
            source = _restore_newest(trainer, module)
            if source is None:
                raise TrainingCollapsedError(f"{sentence}; there is no good checkpoint to go back to.")
            rank_zero_warn(f"{sentence}; went back to {source}.")
        elif kind not in self._said:
            self._said.add(kind)
            rank_zero_warn(f"{sentence}.")


def _mean_distance(samples: Tensor) -> Tensor:
    """Mean Euclidean distance over pairs of different samples, (N, ...) to ()."""
    distances = torch.pdist(samples.flatten(1).float())
    return distances.mean()


def _non_finite_term(module: Any) -> str | None:
    """Name of a term of the last round that is not finite, unless a loss scaler is still looking for its scale."""
    scaler = module.loss_scaler
    return None if scaler is not None and scaler.get_scale() >= 1 else next(_non_finite_terms(module), None)


def _non_finite_terms(module: Any) -> Iterator[str]:
    for player, parts in module.last_terms.items():
        for part in parts:
            for name, values in part.items():
                if not bool(values.isfinite().all()):
                    yield f"{player}/{name}"


def _non_finite_weights(module: Any) -> str | None:
    """Name of a parameter with a non-finite entry; one reduction for all of them unless there is one."""
    parameters = dict(module.named_parameters())
    norms = torch.stack(torch._foreach_norm(local(parameters.values())))
    if bool(norms.isfinite().all()):
        return None
    return next(name for name, norm in zip(parameters, norms, strict=True) if not bool(norm.isfinite()))


def _restore_newest(trainer: Trainer, module: Any) -> Path | None:
    callbacks: list[Any] = list(trainer.checkpoint_callbacks)
    folders = {Path(c.path).parent for c in callbacks if getattr(c, "path", None)}
    folders |= {Path(c.dirpath) for c in callbacks if getattr(c, "dirpath", None)}
    files = [file for folder in folders for file in folder.glob("*.ckpt")]
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        try:
            checkpoint = torch.load(file, map_location=module.device, weights_only=True)
        except Exception:  # cut short by whatever broke an earlier run
            continue
        tensors = [value for value in checkpoint["state_dict"].values() if value.is_floating_point()]
        if "optimizer_states" in checkpoint and all(bool(value.isfinite().all()) for value in tensors):
            module.load_state_dict(checkpoint["state_dict"])
            for optimizer, state in zip(trainer.optimizers, checkpoint["optimizer_states"], strict=True):
                optimizer.load_state_dict(state)
            return file
    return None
