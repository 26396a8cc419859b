"""What averaged weights, grids and FID add to a whole run."""

from __future__ import annotations

import pytest
from lightning.pytorch import Callback

from pl_genmodels.callbacks import Fidelity, GeneratorEMA, SampleGrid
from pl_genmodels.metrics import DigitClassifier
from tests.benchmarks.timing import now
from tests.models.harness import Recorder, build, trainer

INTERVAL, BATCHES = 10_000, 156  # images, and the batches of 64 that hold so many
EPOCHS = 60  # as many as the config has


class Meter:
    """Sums up the time inside of a callback's hooks."""

    def __init__(self, device):
        self.device, self.total = device, 0.0

    def attach(self, callback):
        for name in [name for name in dir(Callback) if name.startswith("on_") or name in ("setup", "teardown")]:
            setattr(callback, name, self.timed(getattr(callback, name)))
        return callback

    def timed(self, hook):
        def call(*args, **kwargs):
            start = now(self.device)
            result = hook(*args, **kwargs)
            self.total += now(self.device) - start
            return result

        return call


@pytest.mark.benchmark
def test_watching_a_run_costs_little(tmp_path, device, measured, configs):
    """The run of configs/dcgan.yaml; the digits' classifier was trained before, once a machine."""
    model, data, _ = build(configs / "dcgan.yaml", batch_size=64)
    extractor = DigitClassifier(str(tmp_path))
    extractor.load()
    meter, recorder = Meter(device), Recorder()
    watching = [
        GeneratorEMA(half_life=2000),
        SampleGrid(every_n_images=INTERVAL),
        Fidelity(extractor, cache_dir=str(tmp_path)),
    ]
    runner = trainer(
        tmp_path,
        accelerator=device.type,
        max_epochs=EPOCHS,
        check_val_every_n_epoch=None,
        val_check_interval=BATCHES,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        callbacks=[meter.attach(callback) for callback in watching],
        logger=recorder,
        log_every_n_steps=10,
    )
    start = now(device)
    runner.fit(model, datamodule=data)
    whole = now(device) - start
    assert sum("fid" in row for _, row in recorder.rows) == model.images_seen // (64 * BATCHES)
    row = measured(
        "whole run",
        "EMA, grids and FID",
        "the run without them",
        meter.total / (whole - meter.total),
        "<= 0.05",
        unit="time",
        setting=f"configs/dcgan.yaml, grid and FID each {INTERVAL} images",
    )
    assert row.holds
