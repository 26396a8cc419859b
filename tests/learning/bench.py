"""What every family's acceptance experiments share: data, training, and checks against bounds."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass, replace
from functools import cache

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import nn

from pl_genmodels.data import Digits, Ring8
from pl_genmodels.metrics import FeatureExtractor, evaluate, mode_coverage


@dataclass(frozen=True)
class Check:
    """A measured value, the bounds that it has to keep, and what a correct implementation measured last."""

    name: str
    value: float
    low: float = -math.inf
    high: float = math.inf
    last: float = math.nan

    @property
    def passed(self):
        return self.low <= self.value <= self.high  # never for NaN

    def __str__(self):
        verdict = "ok  " if self.passed else "FAIL"
        return f"{verdict} {self.name}: {self.value:.7g} in [{self.low:.7g}, {self.high:.7g}], last {self.last:.7g}"


def near(name, value, target, tolerance, last):
    return Check(name, value, target - tolerance, target + tolerance, last)


def passed(checks):
    return all(check.passed for check in checks)


def assert_learns(experiments):
    """Every check of a row holds."""
    checks = [check for experiment in experiments for check in experiment()]
    print(*checks, sep="\n")
    assert passed(checks), "; ".join(str(check) for check in checks if not check.passed)


def every(seeds, experiment):
    """Checks of all seeds, each of which has to pass."""
    return [check for seed in seeds for check in experiment(seed)]


def best_of(seeds, experiment):
    """Checks of the first seed that passes, else of the last."""
    for seed in seeds:
        checks = experiment(seed)
        if passed(checks):
            break
    return checks


# ---- training


def fit(model, data, *, updates=-1, epochs=-1, callbacks=()):
    """Train through Lightning, without any output.

    Args:
        model: Not yet fitted.
        data: Data module, or an iterable of batches.
        updates: Generator updates (steps of the last player) to stop after.
        epochs: Passes over the data to stop after.
        callbacks: Of the Trainer.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            max_steps=updates,
            max_epochs=epochs,
            limit_val_batches=0,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=0,
            accelerator="cpu",
        )
        trainer.fit(model, data)
    return model


class Stream:
    """Batches that are drawn when they are asked for, so many an epoch."""

    def __init__(self, draw, batches):
        self.draw, self.batches = draw, batches

    def __len__(self):
        return self.batches

    def __iter__(self):
        return ({"image": self.draw()} for _ in range(self.batches))


class EachBatch(Callback):
    """Keeps what a function says of the model after every batch."""

    def __init__(self, measure):
        self.measure, self.values = measure, []

    def on_train_batch_end(self, trainer, module, *args):
        self.values.append(self.measure(module))


class CountSteps(Callback):
    """Counts the steps of every optimiser, in the order of the players."""

    def on_train_start(self, trainer, module):
        self.steps = [0] * len(trainer.optimizers)
        for index, optimizer in enumerate(trainer.optimizers):
            optimizer.register_step_post_hook(lambda *args, index=index: self._count(index))

    def _count(self, index):
        self.steps[index] += 1


# ---- data sets on which a trained model is judged


class Within(Callback):
    """Judges the model from time to time and ends training when it passes.

    Args:
        judge: Says of the model which checks it keeps.
        every: Generator updates between two judgements.
    """

    def __init__(self, judge, every):
        self.judge, self.every, self.judged, self.checks = judge, every, 0, []

    def on_train_batch_end(self, trainer, module, *args):
        if trainer.global_step >= self.judged + self.every:
            self.judged = trainer.global_step
            self.checks = self.judge(module)
            trainer.should_stop = passed(self.checks)


def ring8(make, *, updates=3000, every=500, modes=8, high_quality=0.6, divergence=0.1, last, seed=0):
    """Train on eight modes in the plane, 256 points a batch, until 2,500 samples pass.

    Args:
        make: Called without arguments once the seed is set; makes the model.
        updates: Generator updates within which it has to pass.
        every: Generator updates between two judgements.
        modes: Least number of modes.
        high_quality: Least share of samples within three standard deviations of a mode.
        divergence: Most of the modes' KL from eight equal shares, in nats.
        last: Share and divergence of the modes that were measured last, after how many updates, and how many modes
            unless it was all of them.
        seed: Of weights, latents and the order of the points.
    """
    seed_everything(seed, verbose=False)
    data = Ring8(num_samples=100_000, batch_size=256, seed=seed)

    def judge(model):
        measured = mode_coverage(model.sample(2500, seed=seed), data.centers, data.sigma)
        return [
            Check("ring modes", measured["modes"], modes, 8, last[3] if len(last) > 3 else 8),
            Check("ring high quality", measured["high_quality"], high_quality, 1, last[0]),
            Check("ring mode KL", measured["kl"], 0, divergence, last[1]),
        ]

    judged = Within(judge, every)
    fit(make(), data, updates=updates, callbacks=[judged])
    after = f" after {judged.judged} updates (last {last[2]})"
    return [replace(check, name=check.name + after) for check in judged.checks]


class DigitPixels(FeatureExtractor):
    """The digits' 8 x 8 pixels themselves in [-1, 1], and the logits of a logistic regression on the real ones."""

    def __init__(self, side=8):
        super().__init__(64)
        self.side = side

    @property
    def name(self):
        return "pixels"

    def build(self):
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        images, labels = real_digits(self.side)
        with threadpool_limits(1):
            regression = LogisticRegression(max_iter=2000).fit(self.pixels(images).numpy(), labels.numpy())
        layer = nn.Linear(64, 10)
        layer.weight.data, layer.bias.data = torch.tensor(regression.coef_), torch.tensor(regression.intercept_)
        return layer

    def pixels(self, images):
        return nn.functional.avg_pool2d(images.float() / 127.5 - 1, self.side // 8).flatten(1)

    def extract(self, network, images):
        pixels = self.pixels(images)
        return pixels, network(pixels)


@cache
def digit_pixels(side):
    return DigitPixels(side)


@cache
def real_digits(side):
    data = Digits(size=side)
    parts = [data.load(split).tensors for split in ("train", "val", "test")]
    return torch.cat([part["image"] for part in parts]), torch.cat([part["label"] for part in parts])


def fidelity(model, extractor, real, metrics, seed=0):
    """What `evaluate` says of as many samples as there are real images, by name of the measure."""
    results = evaluate(model, [real], extractor, metrics, seed=seed)
    return {key.split("-")[0]: value for key, value in results.items()}


def class_divergence(model, extractor, num_samples, seed=0):
    """KL in nats of the samples' classes from ten equal shares, and how many classes there are."""
    images = model.sample(num_samples, seed=seed).mul(127.5).add(127.5).round().clamp(0, 255).byte()
    counts = torch.bincount(extractor(images)[1].argmax(1), minlength=10).double()
    share = counts / counts.sum()
    return torch.xlogy(share, 10 * share).sum().item(), int((counts > 0).sum())


def judge_digits(model, side, last, seed=0, precision=0.25):
    """Gate on raw pixels: a fitted Gaussian would have a small Frechet distance, but a precision of 0.155."""
    extractor, (images, _) = digit_pixels(side), real_digits(side)
    measured = fidelity(model, extractor, images, ("fid", "prc"), seed)
    divergence, classes = class_divergence(model, extractor, len(images), seed)
    return [
        Check("digits Frechet distance", measured["fid"], 0, 1.5, last[0]),
        Check("digits precision", measured["precision"], precision, 1, last[1]),
        Check("digits recall", measured["recall"], 0.4, 1, last[2]),
        Check("digits class KL", divergence, 0, 0.15, last[3]),
        Check("digits classes", classes, 10, 10, 10),
    ]


def digits(make, *, updates, side=8, batch_size=128, precision=0.25, last, seed=0):
    """Train on handwritten digits, then judge once as many samples as there are digits.

    Args:
        make: Called without arguments once the seed is set; makes the model.
        updates: Generator updates.
        side: Of the pictures that the model sees; the judge sees 8 x 8.
        batch_size: Digits a batch.
        precision: Least precision.
        last: Frechet distance, precision, recall and divergence of the classes that were measured last.
        seed: Of weights, latents and the order of the digits.
    """
    seed_everything(seed, verbose=False)
    model = fit(make(), Digits(size=side, batch_size=batch_size, seed=seed), updates=updates)
    return judge_digits(model, side, last, seed, precision)
