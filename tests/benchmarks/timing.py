"""How things are measured here: two of them in turn, in one run, by the time or the memory that they took."""

from __future__ import annotations

import gc
import time
from itertools import accumulate, pairwise
from statistics import median

import torch
from lightning.pytorch import Callback
from torch.profiler import ProfilerActivity, profile

from tests.models.harness import trainer
from tests.small import Batches


def now(device):
    """Seconds: processor time on a CPU, which others on the machine disturb least; on a GPU when its work is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def seconds(work, device, repeats=1):
    """Time of one call, the mean of several in a row."""
    start = now(device)
    for _ in range(repeats):
        work()
    return (now(device) - start) / repeats


def time_ratio(ours, theirs, device, rounds=7, repeats=1):
    """Median over rounds of the time of `ours` over that of `theirs`; one more round before them warms up."""
    ratios = [seconds(ours, device, repeats) / seconds(theirs, device, repeats) for _ in range(rounds + 1)]
    return median(ratios[1:])


class Alternate(Callback):
    """Before each batch of a Trainer's loop another step on the same batch, and the time of both."""

    def __init__(self, step, device):
        self.step, self.device = step, device
        self.theirs, self.ours, self.since = [], [], None

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        start = now(self.device)
        if self.since is not None:  # everything that the loop did since the other step
            self.ours.append(start - self.since)
        self.step(*batch.values())
        self.since = now(self.device)
        self.theirs.append(self.since - start)


def loop_ratio(model, step, images, tmp_path, device, rounds, steps_a_round=1, keys=("image",), **options):
    """Time of a module in its Trainer over that of another step, alternating batch by batch: medians over rounds.

    `images()` makes a batch for each of the keys; `step` takes them. One more round before the others warms up.
    """
    alternate = Alternate(step, device)
    batches = ({key: images().to(device) for key in keys} for _ in range((rounds + 1) * steps_a_round + 1))
    fit(model, batches, tmp_path, device, callbacks=[alternate], **options)

    def of_a_round(times):
        starts = range(steps_a_round, (rounds + 1) * steps_a_round, steps_a_round)
        return median(sum(times[start : start + steps_a_round]) for start in starts)

    return of_a_round(alternate.ours) / of_a_round(alternate.theirs)


class Marks(Callback):
    """When each batch began."""

    def __init__(self, device):
        self.device, self.times = device, []

    def on_train_batch_start(self, *args):
        self.times.append(now(self.device))


def seconds_a_step(model, batches, tmp_path, device, **options):
    """Median time of a step in the Trainer's loop; the first step warms up."""
    marks = Marks(device)
    fit(model, batches, tmp_path, device, callbacks=[marks], **options)
    return median(end - start for start, end in pairwise(marks.times[1:]))


def fit(model, batches, tmp_path, device, **options):
    """Train on given batches as a user would, with the default interval of logging but without a logger."""
    options = {"max_epochs": 1, "log_every_n_steps": 50, "accelerator": device.type, **options}
    trainer(tmp_path, **options).fit(model, Batches(batches))


def peak_bytes(work, device):
    """Most bytes that tensors took at any time while `work` ran, counted from nothing.

    On a CPU what torch's allocator handed out and had not yet got back, which leaves out scratch memory inside of
    oneDNN; on a GPU what torch's caching allocator handed out.
    """
    gc.collect()  # modules and Trainers refer to each other; what an earlier run left would be given back in this one
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))
