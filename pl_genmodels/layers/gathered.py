"""A memory of everything that was seen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Gathered(nn.Module):
    """Rows seen so far, which a checkpoint in the middle of an epoch holds."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length, self.parts = length, list[Tensor]()

    def add(self, rows: Tensor) -> None:
        """Keep rows, (B, length)."""
        self.parts.append(rows)

    def all(self) -> Tensor:
        """Everything kept, (N, length)."""
        return torch.cat([torch.zeros(0, self.length), *(part.cpu() for part in self.parts)])

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        if self.parts:
            destination[f"{prefix}rows"] = self.all()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        rows = state_dict.get(f"{prefix}rows")
        self.parts = [] if rows is None else [rows.clone()]
