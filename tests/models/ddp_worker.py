"""One rank of the pair that trains every config; started by the contract test through torchrun."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from tests.models.harness import build_shared, train_shared

if __name__ == "__main__":
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    folder = Path(sys.argv[1])
    for case in sys.argv[2:]:
        name, config, micro_batches, clip = case.split("=")
        given = torch.load(folder / f"{name}.in", weights_only=True)
        state = train_shared(
            build_shared(name, config, given["weights"]),
            given["batches"],
            folder / name,
            rank=rank,
            world_size=2,
            micro_batches=int(micro_batches),
            clip=float(clip) or None,
        )
        torch.save(state, folder / f"{name}.rank{rank}")
