"""How players take turns.

Leaves hold the objective. They return named terms, one value per sample; here, and only here, adversarial terms are
reduced, back-propagated, synchronised over ranks, clipped, stepped and logged.
"""

from __future__ import annotations

import functools
import operator
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, cast

import torch
from lightning.pytorch import Callback
from lightning.pytorch.core.optimizer import LightningOptimizer, do_nothing_closure
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.layers.image_pool import RankLocal
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.base import GenerativeModule
from pl_genmodels.models.engine import (
    FlagKeeper,
    StepCounter,
    average_buffers,
    average_gradients,
    held_still,
    made_for,
    mean_terms,
    split,
)
from pl_genmodels.models.finite import require_finite
from pl_genmodels.models.ranks import refuse_single_optimizer_strategies
from pl_genmodels.models.sharding import apart_from, clip_gradients, total_norm
from pl_genmodels.types import Batch, ImageShape, Terms

OptimizerFactory = Callable[[Iterable], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]


class AdversarialModule(GenerativeModule):
    """Players that take turns under manual optimisation.

    `players` names them in the order in which they play; the last one is the clock: one update of it is one
    `global_step`. On every batch each other player makes one step, unless `plays` says otherwise; the clock plays on
    every `critic_steps`-th batch. For each player a leaf writes `<player>_terms(batch, generated) -> Terms`, pure and
    without optimiser or backward.

    The Trainer's `accumulate_grad_batches` splits each batch into that many micro-batches within a player's turn, and
    `gradient_clip_val` clips each player's gradient after it has been averaged over ranks. Under plain `ddp` the
    result equals one process on the whole batch; statistics across the batch (batch normalisation) stay local, and
    running statistics are averaged over ranks before validation and checkpoints.

    Under `16-mixed` all players share the Trainer's loss scaler. After an overflow, on whichever rank, the player's
    step is left out on all ranks and the scale is halved; the round still counts: batches, `global_step`, schedules and
    averaged weights go on. `<player>/skipped_steps` is logged, since fitting started. The scaler's growth interval
    counts the steps of all players.

    Args:
        image_shape: See `GenerativeModule`.
        optimizers: One factory a player.
        schedulers: A factory or None a player.
        scheduler_interval: Whether schedules advance by `step` (of the clock) or `epoch`.
        critic_steps: Steps of the other players for one of the clock, each on its own batch.
        fresh_latents: Draw new latents for the clock's turn instead of using the ones that its opponents just saw.
        compile: See `GenerativeModule`.
    """

    players: ClassVar[tuple[str, ...]] = ("discriminator", "generator")

    def __init__(
        self,
        image_shape: ImageShape | None,
        optimizers: dict[str, OptimizerFactory],
        schedulers: dict[str, SchedulerFactory | None],
        scheduler_interval: str = "step",
        critic_steps: int = 1,
        fresh_latents: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__(image_shape, compile)
        if critic_steps < 1:
            raise ValueError(f"critic_steps: got {critic_steps}, allowed is 1 or more")
        if scheduler_interval not in ("step", "epoch"):
            raise ValueError(f"scheduler_interval: got {scheduler_interval!r}, allowed are 'step' and 'epoch'")
        self.automatic_optimization = False
        self.optimizer_factories, self.scheduler_factories = optimizers, schedulers
        self.scheduler_interval, self.critic_steps, self.fresh_latents = scheduler_interval, critic_steps, fresh_latents
        self.generator_updates = 0
        self.critic_turns = 0  # since the clock last played
        self.num_micro_batches = 1
        self.gradient_clip: float | None = None
        self.last_terms: dict[str, list[Terms]] = {}  # of each player's last turn, detached
        self.gradient_norms: dict[str, Tensor] = {}
        self.step_counters: dict[str, StepCounter] = {}  # under a loss scaler
        self._others: dict[str, tuple[list[nn.Parameter], list[Tensor]]] = {}

    # ---- what a leaf writes

    @abstractmethod
    def draw(self, batch: Batch) -> Batch:
        """The batch with the random inputs of the generator added, one row per sample, e.g. `latent`."""

    @abstractmethod
    def generate(self, batch: Batch) -> Batch:
        """Generated samples for a drawn batch, by name."""

    def player_networks(self, player: str) -> list[nn.Module]:
        """Networks that a player's optimiser owns."""
        return [getattr(self, player)]

    def replicated_players(self) -> set[str]:
        """Players whose networks must lie whole on every rank, because a gradient of their gradient is taken."""
        return set(self.players) if self.differentiates_gradients else set()

    def networks_to_shard(self) -> list[nn.Module]:
        """Networks of all other players."""
        whole = [network for player in self.replicated_players() for network in self.player_networks(player)]
        return apart_from(whole, [network for player in self.players for network in self.player_networks(player)])

    def critic_steps_at(self, update: int) -> int:
        """Steps of the clock's opponents before its update number `update`, counted from 0."""
        return self.critic_steps

    def plays(self, player: str) -> bool:
        """Whether an opponent of the clock takes its turn on this batch."""
        return True

    def takes_step(self, player: str) -> bool:
        """Whether an opponent's gradient is used, now that its terms are in `last_terms`; the same on every rank."""
        return True

    def draw_for_clock(self, batch: Batch) -> Batch:
        """The batch of the clock's own turn when it does not share its opponents' samples."""
        return self.draw({name: value for name, value in batch.items() if name != "latent"})

    def shown(self, player: str, generated: Batch) -> Batch:
        """What a player is shown of the generated samples; a memory of earlier ones exchanges them here."""
        return generated

    def after_step(self, player: str) -> None:
        """Called after each optimiser step of a player."""

    @property
    def shares_samples(self) -> bool:
        """Whether one generator forward serves all players of a round."""
        return not self.fresh_latents and self.num_micro_batches == 1

    # ---- the alternation

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One round: every opponent's turn, and the clock's if it is due."""
        batch = self.read_batch(batch)
        self.count_images(batch)
        batch = self.draw(batch)
        *critics, clock = self.players
        self.critic_turns += 1
        clock_plays = self.critic_turns >= self.critic_steps_at(self.generator_updates)
        shared = self.generate(batch) if clock_plays and self.shares_samples else None
        seen = None if shared is None else {name: value.detach() for name, value in shared.items()}
        for player in filter(self.plays, critics):
            with self.turn(player):
                self.optimize(player, self._terms(player, batch, seen))
        if clock_plays:
            if self.fresh_latents:
                batch = self.draw_for_clock(batch)
            with self.turn(clock):
                self.optimize(clock, self._terms(clock, batch, shared))
            self.critic_turns = 0
            self.generator_updates += 1
        self._advance_schedules(clock_plays)
        if self.log_due:
            self._log_round()
            require_finite(self)

    def _terms(self, player: str, batch: Batch, generated: Batch | None) -> Iterator[tuple[float, Terms]]:
        """A player's terms, micro-batch by micro-batch, each with its share of the batch."""
        compute = getattr(self, f"{player}_terms")
        for share, part in split(batch, len(batch[self.batch_keys[0]]), self.num_micro_batches):
            samples = generated
            if samples is None:
                with torch.set_grad_enabled(player == self.players[-1]):  # its opponents see samples as data
                    samples = self.generate(part)
            yield share, compute(part, self.shown(player, samples))

    def turn(self, player: str) -> AbstractContextManager[None]:
        """Freeze every other network: no gradients are collected in it, and its buffers are as before afterwards."""
        if player not in self._others:  # walking the modules takes longer than a small network's forward
            mine = {id(module) for network in self.player_networks(player) for module in network.modules()}
            others = [m for m in self.modules() if m is not self and id(m) not in mine and not isinstance(m, RankLocal)]
            parameters = [p for module in others for p in module.parameters(recurse=False)]
            buffers = [b for module in others if module.training for b in module.buffers(recurse=False)]
            self._others[player] = (parameters, buffers)
        return held_still(*self._others[player])

    def optimize(self, player: str, terms: Terms | Iterable[tuple[float, Terms]]) -> None:
        """One optimiser step of a player on the sum of its terms' means.

        Args:
            player: Whose step.
            terms: Named values per sample; or pairs of a share of the batch and such terms, one per micro-batch,
                computed as they are read.
        """
        optimizer = self._optimizer_of(player)
        optimizer.zero_grad()
        self.last_terms[player] = []
        for share, part in [(1.0, terms)] if isinstance(terms, dict) else terms:
            means = mean_terms(part)
            self.finite.add(player, means, self.images_seen, self.trainer.global_step + 1)
            loss = functools.reduce(operator.add, means.values())
            self.manual_backward(loss if share == 1 else share * loss)
            self.last_terms[player].append({name: share * term.detach() for name, term in part.items()})
        if not self.takes_step(player):
            self.gradient_norms.pop(player, None)
            return
        if self._averages_gradients:
            average_gradients(self.parameters_of(player), self.trainer.world_size)
        if player in self.step_counters:
            self.step_counters[player].due += 1
        if player == self.players[-1]:
            optimizer.step()  # the only call that advances trainer.global_step
        else:
            self.trainer.strategy.optimizer_step(optimizer.optimizer, closure=do_nothing_closure, model=self)
        with torch.no_grad():
            self.after_step(player)
        # where autocast keeps weights that it has cast, it does so until training_step ends; others may train them too
        torch.clear_autocast_cache()

    # ---- optimisers

    def parameters_of(self, player: str) -> list[nn.Parameter]:
        """Parameters that a player's optimiser owns."""
        return [parameter for network in self.player_networks(player) for parameter in network.parameters()]

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """One optimiser a player, in the order of `players`, and the schedules that were given."""
        optimizers = [
            made_for(f"optimizer_{player}", self.optimizer_factories[player], self.parameters_of(player))
            for player in self.players
        ]
        schedules = [self.scheduler_factories.get(player) for player in self.players]
        return optimizers, [make(of) for make, of in zip(schedules, optimizers, strict=True) if make is not None]

    def _optimizer_of(self, player: str) -> LightningOptimizer:
        optimizers = self.optimizers(use_pl_optimizer=True)
        listed = optimizers if isinstance(optimizers, list) else [optimizers]  # a single one comes alone
        return listed[self.players.index(player)]

    def _advance_schedules(self, clock_played: bool) -> None:
        # inside training_step: a checkpoint written after the batch must hold the schedules' new state
        if not (clock_played if self.scheduler_interval == "step" else self.trainer.is_last_batch):
            return
        schedulers = cast(Any, self.lr_schedulers() or [])
        for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
            scheduler.step()

    # ---- what the Trainer refuses under manual optimisation, and what DDP does not do

    def configure_callbacks(self) -> list[Callback]:
        """Take over the Trainer's accumulation and clipping before it refuses them; the run's end gives them back."""
        trainer, callbacks = self.trainer, super().configure_callbacks()
        refuse_single_optimizer_strategies(trainer)
        self.gradient_clip, self.num_micro_batches = trainer.gradient_clip_val or None, trainer.accumulate_grad_batches
        keeper = FlagKeeper(trainer.gradient_clip_val, trainer.accumulate_grad_batches)
        trainer.gradient_clip_val, trainer.accumulate_grad_batches = None, 1
        return [*callbacks, keeper]

    @property
    def _averages_gradients(self) -> bool:
        return (self.shards or isinstance(self.trainer.strategy, DDPStrategy)) and self.trainer.world_size > 1

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Backward pass that leaves the exchange between ranks to `optimize`."""
        strategy = self.trainer.strategy
        # also with a single process: DDP's own bookkeeping knows one backward pass over all parameters only
        with strategy.block_backward_sync() if isinstance(strategy, DDPStrategy) else nullcontext():
            super().manual_backward(loss, *args, **kwargs)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Measure and clip a player's gradient; a mixed-precision scale has been taken out by now."""
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.log_due:
            player = self.players[self.trainer.optimizers.index(optimizer)]
            self.gradient_norms[player] = total_norm(gradients)
        if self.gradient_clip is not None and self.shards:
            clip_gradients(gradients, self.gradient_clip, self.trainer.gradient_clip_algorithm)
        elif self.gradient_clip is not None:
            self.clip_gradients(optimizer, self.gradient_clip, self.trainer.gradient_clip_algorithm or "norm")

    def _synchronise_buffers(self) -> None:
        if self._averages_gradients:
            average_buffers(self, self.trainer.world_size)

    def on_train_start(self) -> None:
        """Look anew at which networks and optimisers there are."""
        super().on_train_start()
        self._others = {}
        scaled = zip(self.players, self.trainer.optimizers, strict=True) if self.loss_scaler is not None else ()
        self.step_counters = {player: StepCounter(optimizer) for player, optimizer in scaled}

    def on_validation_start(self) -> None:
        """Agree on running statistics; Lightning never broadcasts them under manual optimisation."""
        super().on_validation_start()
        if not self.trainer.sanity_checking:
            self._synchronise_buffers()

    def on_train_end(self) -> None:
        """Agree on running statistics."""
        self._synchronise_buffers()
        super().on_train_end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Agree on running statistics (the checkpoint refers to the same tensors), then store the counters."""
        if not self.shards:
            self._synchronise_buffers()
        super().on_save_checkpoint(checkpoint)

    def progress(self) -> dict[str, int]:
        """Counters that a resumed run continues from."""
        counters = {"generator_updates": self.generator_updates, "critic_turns": self.critic_turns}
        return {**super().progress(), **counters}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing by itself: callbacks judge the samples when validation ends."""

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing by itself: callbacks judge the samples when testing ends."""

    def _log_round(self) -> None:
        values: dict[str, Tensor] = {}
        for player, parts in self.last_terms.items():
            for part in parts:
                for name, term in part.items():
                    key = f"{player}/{name}"
                    values[key] = values.get(key, 0) + at_least_single(term).mean()
            total = sum(values[f"{player}/{name}"] for name in parts[0])
            self.log(f"{player}/loss", total, prog_bar=True)
        norms = {f"{player}/gradient_norm": norm for player, norm in self.gradient_norms.items()}
        skipped = {f"{player}/skipped_steps": float(count.skipped) for player, count in self.step_counters.items()}
        self.log_dict({**values, **norms, **skipped, "images_seen": self.images_axis})
