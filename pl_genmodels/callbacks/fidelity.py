"""FID and its relatives while a generator trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from pl_genmodels.callbacks.measurement import Measurement, plain_extractor
from pl_genmodels.metrics import FeatureExtractor, InceptionV3, evaluate, real_state
from pl_genmodels.metrics.fidelity import require_measures
from pl_genmodels.metrics.loading import every_image_once
from pl_genmodels.models.sharding import gathered


class Fidelity(Measurement):
    """Compares samples with the data by FID, KID, inception score, precision and recall, and logs the results.

    It measures at the end of every validation, or of every training epoch (each `check_val_every_n_epoch`-th) if the
    trainer validates nothing, and at the end of a test. Keys name all that a result depends on, like
    `val/fid-inception-2048-train50000-fake10000`; the first of the trainer's `Fidelity` callbacks also logs its FID as
    plain `fid`, for `ModelCheckpoint(monitor="fid")`. Under DDP the processes share the work and agree on the results.
    Training continues bit for bit as it would without the callback.

    Data that are not pictures, such as points, are left alone with a warning.

    Real images are those of the data module's `evaluation_loader(split)` if it has one, and else of the trainer's own
    loader. They are read once a run; with a data module that has a `fingerprint`, once ever.

    Args:
        extractor: Network that turns images into features; by default `InceptionV3()`, which downloads its weights.
        metrics: Some of `fid`, `kid`, `isc` (inception score), `prc` (precision and recall), `ams` (AM score).
        num_samples: Number of samples to draw; by default as many as there are real images.
        split: Real images to compare with: `train`, `val` or `test`. A test always uses `test`.
        batch_size: Samples drawn at a time.
        seed: Of the samples, which start from the same latents every time.
        cache_dir: Folder for statistics of the real images; by default the user's cache.

    Raises:
        ValueError: If a measure or the split is unknown, or a number is not positive.
    """

    def __init__(
        self,
        extractor: FeatureExtractor | None = None,
        metrics: Sequence[str] = ("fid",),
        num_samples: int | None = None,
        split: str = "train",
        batch_size: int = 256,
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__(split)
        for name, value in (("num_samples", num_samples), ("batch_size", batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"{name}: got {value}, allowed is 1 or more")
        self.extractor = InceptionV3() if extractor is None else extractor
        self.metrics = require_measures(metrics)
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.cache_dir = cache_dir
        self._protocol = self._plain_protocol()
        self._real: dict[str, dict[str, Tensor]] = {}
        self._of_pictures = True

    def _plain_protocol(self) -> dict[str, Any]:
        return {
            "extractor": plain_extractor(self.extractor),
            "metrics": list(self.metrics),
            "num_samples": self.num_samples,
            "split": self.split,
            "batch_size": self.batch_size,
            "seed": self.seed,
        }

    @property
    def state_key(self) -> str:
        """Tells several of these callbacks apart in one checkpoint."""
        return self._generate_state_key(**self._protocol)

    def state_dict(self) -> dict[str, Any]:
        """The protocol as plain data, see `fidelity_from_checkpoint`."""
        return dict(self._protocol)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Get the weights now: a failing download should not cost an epoch."""
        self._real.clear()
        data = getattr(trainer, "datamodule", None)
        shape = tuple(getattr(data, "image_shape", None) or getattr(pl_module, "image_shape", None) or ())
        self._of_pictures = len(shape) in (0, 3)  # 0: anyone's data, whose shape is not known yet
        if not self._of_pictures:
            rank_zero_warn(f"Fidelity: the data have shape {shape}, not that of pictures; nothing is measured.")
        elif stage != "predict":
            self.extractor.load()

    def measure(self, trainer: Trainer, module: Any, stage: str, split: str) -> None:
        """Compare samples with the images of a split."""
        if not self._of_pictures:
            return
        if split not in self._real:
            images, fingerprint = real_images(trainer, split)
            self._real[split] = real_state(
                images,
                self.extractor,
                self.metrics,
                split=split,
                seed=self.seed,
                fingerprint=fingerprint,
                cache_dir=self.cache_dir,
                device=module.device,
            )
        with gathered(module):
            results = evaluate(
                module,
                self._real[split],
                self.extractor,
                self.metrics,
                num_samples=self.num_samples,
                split=split,
                seed=self.seed,
                batch_size=self.batch_size,
            )
        named = {f"{stage}/{key}": value for key, value in results.items()}
        if hasattr(module, "images_axis"):  # of all curves
            named["images_seen"] = module.images_axis
        # Every process holds the same value already.
        module.log_dict(named, sync_dist=False, rank_zero_only=False)
        if "fid" in self.metrics and self is next(c for c in trainer.callbacks if is_fid(c)):  # type: ignore[attr-defined]
            fid = next(value for key, value in results.items() if key.startswith("fid-"))
            module.log("fid", fid, prog_bar=True, sync_dist=False, rank_zero_only=False)


def is_fid(callback: Callback) -> bool:
    """Whether a callback measures the FID."""
    return isinstance(callback, Fidelity) and "fid" in callback.metrics


def real_images(trainer: Trainer, split: str) -> tuple[Iterable[Any], str | None]:
    """This process's share of a split's images, and the fingerprint of the data, if it has one.

    Raises:
        ValueError: If the trainer has no such loader, or several.
    """
    data = getattr(trainer, "datamodule", None)
    if data is not None and hasattr(data, "evaluation_loader"):
        return data.evaluation_loader(split), getattr(data, "fingerprint", None)
    loaders = {"train": trainer.train_dataloader, "val": trainer.val_dataloaders, "test": trainer.test_dataloaders}
    loader = loaders[split]
    if isinstance(loader, (list, tuple)) and len(loader) == 1:
        loader = loader[0]
    if loader is None or isinstance(loader, (list, tuple, Mapping)):
        found = "none" if loader is None else f"{len(loader)} loaders"
        raise ValueError(
            f"split: got {split!r}, for which the trainer has {found} here; allowed is a split with one loader, or a "
            "data module with evaluation_loader(split)"
        )
    return every_image_once(loader), None


def fidelity_from_checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """How a run was judged, so that it can be judged likewise again.

    Args:
        checkpoint: As `torch.load` gives it.

    Returns:
        Arguments of the run's first `Fidelity` callback in plain form, with `extractor` as class path and arguments;
        None if there was no such callback, or its extractor had arguments that are not plain.
    """
    for key, state in checkpoint.get("callbacks", {}).items():
        if str(key).startswith(f"{Fidelity.__qualname__}{{") and state["extractor"] is not None:
            return dict(state)
    return None
