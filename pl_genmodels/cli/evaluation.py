"""The command that measures a checkpoint: samples against real images, translations against the other domain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pl_genmodels.cli.building import build, chosen_device
from pl_genmodels.cli.explaining import classes_for
from pl_genmodels.cli.measures import FIDELITY, MEASURES, chosen_measures, disentanglement, likelihood, probe
from pl_genmodels.data import AlignedFolder, ImageData, ImageFolder, PairData, UnalignedFolders, rebuild
from pl_genmodels.data.factors import FactorData
from pl_genmodels.metrics import FeatureExtractor
from pl_genmodels.types import ImageShape


def evaluate(
    ckpt_path: str,
    data: ImageData | str | None = None,
    extractor: FeatureExtractor | None = None,
    metrics: list[str] | None = None,
    num_samples: int | None = None,
    split: str | None = None,
    seed: int = 0,
    batch_size: int = 256,
    num_importance_samples: int | None = None,
    out: str | None = None,
    device: str = "auto",
) -> None:
    """Compare samples or translations of a checkpoint with real images.

    Of a model with a likelihood it says the nats of an image; of one with an encoder what a linear classifier makes
    of its codes, where images have labels, and how disentangled they are, where factors are known. Of translations it
    says how much of a sample comes back, how much is left of one that is in the domain already, and for pairs how near
    they are to the truth.

    Args:
        ckpt_path: Checkpoint of the model.
        data: A data set of this package, or a folder: of images, or for translations with trainA, trainB or pairs side
            by side; by default the data of the training run.
        extractor: Network that turns images into features; by default that of the run, else InceptionV3.
        metrics: Some of fid, kid, isc (inception score), prc (precision and recall), ams (AM score), likelihood, probe
            (linear) and disentanglement; by default all that model and data allow, for translations fid and kid.
        num_samples: How many samples; as many as there are real images by default. Of translations all are made.
        split: Real images to compare with: train, val or test; train by default, for translations val, for likelihood
            and probe (which is fitted to train in any case) test.
        seed: Of the samples, or of the noise of translations.
        batch_size: Samples drawn at a time.
        num_importance_samples: Latents an image for the bound on the likelihood; the more, the tighter. It takes time,
            so that by default it is left out unless metrics names it, then with 500.
        out: A .json file for the results, besides printing them.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    from pl_genmodels.checkpoints import load, read_checkpoint

    model = load(ckpt_path).to(chosen_device(device))
    checkpoint = read_checkpoint(ckpt_path, map_location="meta")
    given = choose_data(data, model, checkpoint, "evaluate")
    given.prepare_data()
    if hasattr(model, "translate"):
        results = _of_translations(model, given, extractor, metrics, split or "val", seed, checkpoint)
    else:
        require_known(metrics)
        more = chosen_measures(model, given, metrics, num_importance_samples)
        measures = [name for name in metrics if name in FIDELITY] if metrics is not None else list(FIDELITY)
        results = {}
        if measures:
            require_pictures(model.image_shape, "evaluate")
            chosen = split or "train"
            results |= _of_samples(model, given, extractor, measures, chosen, seed, checkpoint, num_samples, batch_size)
        if "likelihood" in more:
            results |= likelihood(model, given, split or "test", num_importance_samples, seed)
        if "probe" in more:
            results |= probe(model, given, split or "test")
        if "disentanglement" in more and isinstance(given, FactorData):
            results |= disentanglement(model, given, seed)
    for name, value in results.items():
        print(f"{name}: {value:.6g}")
    if out is not None:
        parent_made(Path(out)).write_text(json.dumps(results, indent=2) + "\n")


def require_known(metrics: list[str] | None) -> None:
    """Refuse measures that there are not.

    Raises:
        ValueError: If there is one, or none at all.
    """
    if metrics is not None and (not metrics or not set(metrics) <= {*FIDELITY, *MEASURES}):
        raise ValueError(f"metrics: got {metrics!r}, allowed is a list of {', '.join([*FIDELITY, *MEASURES])}")


def choose_data(data: ImageData | str | None, model: Any, checkpoint: Mapping[str, Any], verb: str) -> ImageData:
    """The data to compare with, made for the model's shapes where the command line names a folder only."""
    if data is None:
        if "datamodule_hyper_parameters" not in checkpoint:
            raise ValueError(
                "data: the checkpoint names no data set of this package; give --data, a data set or folder"
            )
        return rebuild(checkpoint["datamodule_hyper_parameters"])
    if not isinstance(data, str):
        return data
    if not Path(data).is_dir():
        raise ValueError(f"data: {data!r} is neither a folder nor one of {', '.join(classes_for('data'))}")
    shape = require_pictures(model.image_shape, verb)
    if not hasattr(model, "translate"):
        return ImageFolder(data, size=shape[-1], channels=shape[0])
    unpaired = any((Path(data) / f"{split}A").is_dir() for split in ("train", "val", "test"))
    kind = UnalignedFolders if unpaired else AlignedFolder
    return kind(data, size=shape[-1], source_channels=model.source_shape[0], target_channels=shape[0])


def _of_samples(
    model: Any,
    data: ImageData,
    extractor: FeatureExtractor | None,
    measures: list[str],
    split: str,
    seed: int,
    checkpoint: Mapping[str, Any],
    num_samples: int | None,
    batch_size: int,
) -> dict[str, float]:
    from pl_genmodels.callbacks.fidelity import fidelity_from_checkpoint
    from pl_genmodels.metrics import evaluate as compare
    from pl_genmodels.metrics import real_state

    if isinstance(data, PairData):
        raise ValueError(f"data: got {type(data).__name__}, which holds pairs, for a model that translates nothing")
    extractor = extractor or _extractor_of(fidelity_from_checkpoint(checkpoint))
    images, known = data.evaluation_loader(split), data.fingerprint
    state = real_state(images, extractor, measures, split=split, seed=seed, fingerprint=known, device=model.device)
    options: dict[str, Any] = {"num_samples": num_samples, "split": split, "seed": seed, "batch_size": batch_size}
    return compare(model, state, extractor, measures, **options)


def _of_translations(
    model: Any,
    data: ImageData,
    extractor: FeatureExtractor | None,
    metrics: list[str] | None,
    split: str,
    seed: int,
    checkpoint: Mapping[str, Any],
) -> dict[str, float]:
    from pl_genmodels.callbacks.translation_quality import domains_of, quality_from_checkpoint, readers_for
    from pl_genmodels.metrics import TranslationMetrics

    if not isinstance(data, PairData):
        raise ValueError(f"data: got {type(data).__name__}, allowed for translations are data of two domains")
    for domain in ("source", "target"):
        wanted, got = getattr(model, f"{domain}_shape"), getattr(data, f"{domain}_shape")
        if wanted[0] != got[0]:
            raise ValueError(f"data: the {domain} has {got[0]} channels, the {domain} of the model has {wanted[0]}")
    if len(model.image_shape) == 3:
        extractor = extractor or _extractor_of(quality_from_checkpoint(checkpoint))
    measure = TranslationMetrics(extractor, metrics or ["fid", "kid"], data.paired, readers_for(data), seed)
    return measure(model, data.evaluation_loader(split), domains_of(data, split), split)


def _extractor_of(protocol: Mapping[str, Any] | None) -> FeatureExtractor:
    """The network by which a run was judged, or that of the literature."""
    from pl_genmodels.metrics import InceptionV3

    spec = protocol and protocol["extractor"]
    return build(spec, FeatureExtractor) if spec else InceptionV3()


def require_pictures(shape: ImageShape | None, verb: str) -> ImageShape:
    """The shape of pictures.

    Raises:
        ValueError: If it is another.
    """
    if shape is None or len(shape) != 3:
        raise ValueError(f"{verb}: the model makes samples of shape {shape}, allowed are pictures")
    return shape


def parent_made(path: Path) -> Path:
    """The path, with the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
