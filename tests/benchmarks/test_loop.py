"""What the training loop costs beyond the step itself, and what the command line costs beyond its libraries."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from functools import partial
from statistics import median

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger

from pl_genmodels.models.gan.gan import GAN
from pl_genmodels.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator
from tests.conftest import ROOT
from tests.models.harness import trainer
from tests.small import Batches

ROUNDS = 12
CASES = {  # networks, shape, batch size, steps a round, bound of the ratio
    "dcgan": (
        (partial(DCGANGenerator, channels=32), partial(DCGANDiscriminator, channels=32)),
        (1, 32, 32),
        64,
        6,
        1.05,
    ),
    "points": ((MLPGenerator, MLPDiscriminator), (2,), 256, 50, 1.5),
}


def bare_step(model, optimizers, real):
    """The same step without a framework: shared samples, the discriminator frozen in the generator's turn."""
    generator, discriminator = model.generator, model.discriminator
    discriminator_optimizer, generator_optimizer = optimizers
    fake = generator(torch.randn(len(real), generator.latent_dim))
    discriminator_optimizer.zero_grad()
    loss = model.loss.discriminator(discriminator(real), discriminator(fake.detach())).mean()
    loss.backward()
    discriminator_optimizer.step()
    discriminator.requires_grad_(False)
    generator_optimizer.zero_grad()
    loss = model.loss.generator(discriminator(fake)).mean()
    loss.backward()
    generator_optimizer.step()
    discriminator.requires_grad_(True)


class Alternate(Callback):
    """Before each batch of the loop one bare step on the same batch; processor time of both."""

    def __init__(self, bare):
        self.step = partial(bare_step, bare, bare.configure_optimizers()[0])
        self.bare, self.ours, self.since = [], [], None

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        start = time.process_time()
        if self.since is not None:  # everything that the loop did since the last bare step
            self.ours.append(start - self.since)
        self.step(batch["image"])
        self.since = time.process_time()
        self.bare.append(self.since - start)


def median_of_rounds(seconds, steps):
    """Milliseconds a step; the first round warms up."""
    rounds = [seconds[first : first + steps] for first in range(steps, (ROUNDS + 1) * steps, steps)]
    return 1000 * median(sum(each) / steps for each in rounds)


@pytest.mark.benchmark
@pytest.mark.parametrize("name", CASES)
def test_the_loop_costs_little_beyond_the_step(name, tmp_path, record_property):
    torch.set_num_threads(1)
    (generator, discriminator), shape, batch_size, steps, bound = CASES[name]
    ours, bare = (GAN(shape, generator=generator, discriminator=discriminator) for _ in range(2))
    real = (torch.rand(batch_size, *shape) * 2 - 1 for _ in range((ROUNDS + 1) * steps + 1))
    alternate = Alternate(bare)
    options = {"logger": CSVLogger(tmp_path), "log_every_n_steps": 50, "callbacks": [alternate]}
    runner = trainer(tmp_path, max_epochs=1, **options)
    runner.fit(ours, Batches({"image": images} for images in real))
    assert runner.global_step == (ROUNDS + 1) * steps + 1
    left, right = (median_of_rounds(seconds, steps) for seconds in (alternate.ours, alternate.bare))
    print(f"{name}: ours {left:.3f} ms a step, bare {right:.3f} ms, ratio {left / right:.3f}, bound {bound}")
    record_property("ratio", left / right)
    assert left / right <= bound


def processor_seconds(*command):
    """User and system time of a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *command], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.benchmark
def test_the_command_line_starts_nearly_as_fast_as_its_libraries(record_property):
    times = {"ours": [], "libraries": []}
    for _ in range(3):
        times["ours"].append(processor_seconds("-m", "pl_genmodels", "list"))
        times["libraries"].append(processor_seconds("-c", "import lightning.pytorch, torchvision"))
    ratio = median(times["ours"]) / median(times["libraries"])
    print(f"list {median(times['ours']):.2f} s, libraries {median(times['libraries']):.2f} s, ratio {ratio:.3f}")
    record_property("ratio", ratio)
    assert ratio <= 1.5
