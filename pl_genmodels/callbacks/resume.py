"""Random states in checkpoints, so that a resumed run equals the straight one bit for bit."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, Trainer


class ExactResume(Callback):
    """Stores the random state of Python, NumPy, torch and the rank's GPU, one set per rank.

    Lightning restores weights, optimisers and loops; this restores the rest. Together with a loader that stores its
    position (every data module of this package) training may stop after any batch. With another loader it is exact
    from epoch to epoch only. A run resumed with another number of ranks keeps its fresh random states.
    """

    def __init__(self) -> None:
        self._states: list[dict[str, Any]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Random states of all ranks; a collective call, as checkpoints are."""
        mine = _random_state()
        if not (dist.is_available() and dist.is_initialized()):
            return {"ranks": [mine]}
        states: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(states, mine)
        return {"ranks": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the states until training starts."""
        self._states = state_dict["ranks"]

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Restore; everything that draws random numbers on the way here (initial weights, sanity check) is over."""
        states, self._states = self._states, None
        if states is not None and len(states) == trainer.world_size:
            _restore(states[trainer.global_rank])


def _random_state() -> dict[str, Any]:
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _restore(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
