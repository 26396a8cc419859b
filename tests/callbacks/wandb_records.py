"""Reads back what an offline run of Weights & Biases has written."""

from __future__ import annotations

import json
import struct
from pathlib import Path

BLOCK = 32 * 1024  # a log in LevelDB's framing: blocks of records, each with a header of 7 bytes
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path):
    """All records of a .wandb file, in order; read after `wandb.teardown()`."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()
    assert content[:4] == b":W&B"
    position, pending = 7, b""
    while position + 7 <= len(content):
        left = BLOCK - position % BLOCK
        if left < 7:  # no header fits: the rest of the block is empty
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        data = content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind not in (FULL, FIRST, MIDDLE, LAST):
            break
        pending = data if kind in (FULL, FIRST) else pending + data
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(pending)
            yield record


def read_run(folder: Path):
    """History rows, summary and the x-axis of each metric of the only run in a folder."""
    (path,) = folder.rglob("*.wandb")
    rows, summary, axes = [], {}, {}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            rows.append(_items(record.history.item))
        elif kind == "summary":
            summary.update(_items(record.summary.update))
        elif kind == "metric":
            metric = record.metric
            axes[metric.name or metric.glob_name] = metric.step_metric
    return rows, summary, axes


def _items(items):
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
