"""Watches an adversarial run for the ways in which it fails."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from pl_genmodels.models.checkpoint_files import readable_checkpoints
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.finite import TrainingCollapsedError, require_finite
from pl_genmodels.models.folder_checkpoints import holds_optimizers, is_folder_checkpoint
from pl_genmodels.models.sharding import is_sharded
from pl_genmodels.types import Batch


class CollapseMonitor(Callback):
    """Logs signs of collapse and says so in one sentence.

    Logged under `monitor/`: `diversity`, the mean distance between generated samples over that between real ones;
    `accuracy`, the share of (real, generated) pairs in which the discriminator's logit is higher for the real one (0.5:
    it cannot tell, 1: it has won); `logit_gap`, mean logit of real minus generated; `discriminator_loss`;
    `gradient_norm_ratio`, discriminator over generator. Losses and weights that are not finite end every run, with
    `restore` they do not.

    Args:
        every_n_images: Interval in images seen.
        num_samples: Fixed latents that are watched.
        min_diversity: Below this the samples count as collapsed; 0 turns the test off.
        min_discriminator_loss: Below this the discriminator has won and teaches nothing any more, such as 0.001 for
            cross-entropies; None turns the test off. Chintala et al. 2016 (ganhacks), item 10, as the next one.
        max_gradient_norm: Above this the game is out of hand, such as 100, for either player; measured where a logger
            takes values. None turns the test off.
        action: On collapse, or either of these, `warn` says so once and `stop` ends the run with an error; `restore`
            goes back to the newest checkpoint with finite weights, once an interval, and also when a loss or weight is
            not finite.
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
        min_discriminator_loss: float | None = None,
        max_gradient_norm: float | None = None,
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
        self.min_discriminator_loss, self.max_gradient_norm = min_discriminator_loss, max_gradient_norm
        self._last = 0
        self._said = False

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
        if require_finite(pl_module, weights=True):
            return
        signs = self._signs(pl_module, pl_module.read_batch(batch))
        found = {name: float(trainer.strategy.reduce(value, reduce_op="mean")) for name, value in signs.items()}
        values = {f"monitor/{name}": value for name, value in found.items()}
        pl_module.log_dict(values, logger=False)
        for logger in trainer.loggers:  # at once: log_every_n_steps rarely falls on this batch
            step = trainer.fit_loop.epoch_loop._batches_that_stepped
            logger.log_metrics({**values, "images_seen": float(pl_module.images_seen)}, step=step)
        problem = self._problem(found, pl_module.gradient_norms)
        if problem is not None:
            self._act(
                trainer, pl_module, f"After {pl_module.images_seen:,} images (step {trainer.global_step}), {problem}"
            )

    def _problem(self, found: dict[str, float], norms: dict[str, Tensor]) -> str | None:
        if found["diversity"] < self.min_diversity:
            share = f"their mean distance is {found['diversity']:.3f} of that between real ones"
            return f"the samples have collapsed: {share} (min_diversity {self.min_diversity})"
        least, loss = self.min_discriminator_loss, found.get("discriminator_loss")
        if least is not None and loss is not None and loss < least:
            return f"the discriminator has won: its loss is {loss:.3g} (min_discriminator_loss {least:g})"
        most = math.inf if self.max_gradient_norm is None else self.max_gradient_norm
        for player, norm in norms.items():
            if float(norm) > most:
                return f"the {player}'s gradient has norm {float(norm):.3g} (max_gradient_norm {most:g})"
        return None

    @torch.no_grad()
    def _signs(self, module: Any, batch: Batch) -> dict[str, Tensor]:
        watched = {key: value[: self.num_samples] for key, value in batch.items()}
        real = watched[module.batch_keys[0]]
        fake = module.sample(self.num_samples, seed=self.seed).to(real.dtype)
        signs = {"diversity": _mean_distance(fake) / _mean_distance(real).clamp_min(1e-12)}
        if hasattr(module, "logits_of"):
            with evaluating(module.discriminator):
                on_real, on_fake = module.logits_of(watched, fake, self.seed)
            signs["accuracy"] = (on_real[:, None] > on_fake[None, :]).double().mean()
            signs["logit_gap"] = on_real.mean() - on_fake.mean()
        if "discriminator" in module.last_terms:
            parts = [term.float().mean() for part in module.last_terms["discriminator"] for term in part.values()]
            signs["discriminator_loss"] = torch.stack(parts).sum()
        norms = module.gradient_norms
        if {"discriminator", "generator"} <= norms.keys():
            signs["gradient_norm_ratio"] = norms["discriminator"] / norms["generator"].clamp_min(1e-12)
        return signs

    def _act(self, trainer: Trainer, module: Any, sentence: str) -> None:
        if self.action == "stop":
            raise TrainingCollapsedError(f"{sentence}; the last good checkpoint stays.")
        if not self.recover(trainer, module, sentence) and not self._said:
            self._said = True
            rank_zero_warn(f"{sentence}.")

    def recover(self, trainer: Trainer, pl_module: Any, sentence: str) -> bool:
        """Go back to a good checkpoint if that is the action.

        Args:
            trainer: Whose checkpoints.
            pl_module: The model that has broken.
            sentence: What is wrong, without a full stop.

        Raises:
            TrainingCollapsedError: If there is no good checkpoint.
        """
        if self.action != "restore":
            return False
        source = _restore_newest(trainer, pl_module)
        if source is None:
            raise TrainingCollapsedError(f"{sentence}; there is no good checkpoint to go back to.")
        rank_zero_warn(f"{sentence}; went back to {source}.")
        return True


def _mean_distance(samples: Tensor) -> Tensor:
    """Mean Euclidean distance over pairs of different samples, (N, ...) to ()."""
    distances = torch.pdist(samples.flatten(1).float())
    return distances.mean()


def _restore_newest(trainer: Trainer, module: Any) -> Path | None:
    callbacks: list[Any] = list(trainer.checkpoint_callbacks)
    folders = {Path(c.path).parent for c in callbacks if getattr(c, "path", None)}
    folders |= {Path(c.dirpath) for c in callbacks if getattr(c, "dirpath", None)}
    files = {file for folder in folders for file in folder.glob("*.ckpt")}
    if trainer.ckpt_path is not None:
        files.add(Path(trainer.ckpt_path))  # a resumed run has a folder of its own
    files = {file for file in files if file.is_file() or is_folder_checkpoint(file)}
    for file, checkpoint in readable_checkpoints(files, module.device):
        tensors = [value for value in checkpoint["state_dict"].values() if value.is_floating_point()]
        complete = "optimizer_states" in checkpoint or holds_optimizers(file)
        if complete and all(bool(value.isfinite().all()) for value in tensors):
            if is_sharded(module):
                trainer.strategy.load_checkpoint(file, weights_only=True)
                return file
            module.load_state_dict(checkpoint["state_dict"])
            for optimizer, state in zip(trainer.optimizers, checkpoint["optimizer_states"], strict=True):
                optimizer.load_state_dict(state)
            return file
    return None
