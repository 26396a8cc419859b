"""Commands that need a checkpoint and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from torch import Tensor

from pl_genmodels.catalogue import listing
from pl_genmodels.cli.errors import Parser, classes_for
from pl_genmodels.data import ImageData
from pl_genmodels.metrics import FeatureExtractor
from pl_genmodels.models.base import SamplingModule
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.types import ImageShape


def sample(ckpt_path: str, num_samples: int = 64, out: str = "samples.png", seed: int = 0, columns: int = 8) -> None:
    """Draw samples from a checkpoint.

    Args:
        ckpt_path: Checkpoint of the model.
        num_samples: How many.
        out: A .png file for one grid, a .npz file for an array `samples` (uint8, or float32 for points), or a folder
            for one PNG each.
        seed: Sample i of a seed is always the same.
        columns: Pictures in a row of the grid.
    """
    from pl_genmodels.checkpoints import load

    model = load(ckpt_path)
    if not isinstance(model, SamplingModule):
        raise ValueError(f"sample: the checkpoint is of a {type(model).__name__}, which needs an input to work on")
    _write(model.sample(num_samples, seed=seed), Path(out), columns)


def interpolate(
    ckpt_path: str,
    out: str = "interpolation.png",
    num_paths: int = 8,
    num_steps: int = 10,
    seed: int = 0,
    path: str = "slerp",
) -> None:
    """Walk between latents of a checkpoint.

    Args:
        ckpt_path: Checkpoint of a model with latents.
        out: A .png file for one row a path, or a .gif file that walks all paths.
        num_paths: Number of paths, each from one latent to the next.
        num_steps: Samples on each path.
        seed: Of the latents.
        path: `slerp` (great circles) or `lerp` (straight lines).
    """
    from pl_genmodels.callbacks.sample_grid import grid_picture
    from pl_genmodels.checkpoints import load
    from pl_genmodels.editing import interpolate as walk

    model = load(ckpt_path)
    if not isinstance(model, LatentGAN):
        raise ValueError(f"interpolate: the checkpoint is of a {type(model).__name__}, allowed are models with latents")
    _require_pictures(model.image_shape, "interpolate")
    frames = walk(model, num_paths, num_steps, seed=seed, path=path)  # (paths, steps, C, H, W)
    target = _parent_made(Path(out))
    scale = max(1, 64 // frames.shape[-1])
    if target.suffix == ".gif":
        pictures = [grid_picture(frame[None], 1, 2 * scale) for frame in frames.flatten(0, 1)]
        pictures[0].save(target, save_all=True, append_images=pictures[1:], duration=80, loop=0)
    elif target.suffix == ".png":
        grid_picture(frames.flatten(0, 1), num_steps, scale).save(target)
    else:
        raise ValueError(f"out: got {out!r}, allowed are files ending in .png or .gif")
    print(target)


def evaluate(
    ckpt_path: str,
    data: ImageData | str | None = None,
    extractor: FeatureExtractor | None = None,
    metrics: list[str] | None = None,
    num_samples: int | None = None,
    split: str = "train",
    seed: int = 0,
    batch_size: int = 256,
    out: str | None = None,
) -> None:
    """Compare samples of a checkpoint with real images.

    Args:
        ckpt_path: Checkpoint of the model.
        data: A data set of this package, or a folder of images; by default the data of the training run.
        extractor: Network that turns images into features; by default that of the run's Fidelity, else InceptionV3.
        metrics: Some of fid, kid, isc (inception score), prc (precision and recall); all by default.
        num_samples: How many samples; as many as there are real images by default.
        split: Real images to compare with: train, val or test.
        seed: Of the samples.
        batch_size: Samples drawn at a time.
        out: A .json file for the results, besides printing them.
    """
    import json

    from pl_genmodels import data as sets
    from pl_genmodels.callbacks.fidelity import fidelity_from_checkpoint
    from pl_genmodels.checkpoints import load, read_checkpoint
    from pl_genmodels.metrics import InceptionV3, real_state
    from pl_genmodels.metrics import evaluate as compare

    model = load(ckpt_path)
    checkpoint = read_checkpoint(ckpt_path, map_location="meta")
    shape = _require_pictures(model.image_shape, "evaluate")
    if data is None:
        if "datamodule_hyper_parameters" not in checkpoint:
            raise ValueError(
                "data: the checkpoint names no data set of this package; give --data, a data set or folder"
            )
        data = sets.rebuild(checkpoint["datamodule_hyper_parameters"])
    elif isinstance(data, str):
        if not Path(data).is_dir():
            raise ValueError(f"data: {data!r} is neither a folder nor one of {', '.join(classes_for('data'))}")
        data = sets.ImageFolder(data, size=shape[-1], channels=shape[0])
    if extractor is None:
        protocol = fidelity_from_checkpoint(checkpoint)
        extractor = InceptionV3() if protocol is None else _build(protocol["extractor"], FeatureExtractor)
    measures = metrics or ["fid", "kid", "isc", "prc"]
    data.prepare_data()
    data.setup("fit" if split == "train" else "validate" if split == "val" else "test")
    images = data.evaluation_loader(split)
    state = real_state(
        images, extractor, measures, split=split, seed=seed, fingerprint=data.fingerprint, device=model.device
    )
    results = compare(
        model, state, extractor, measures, num_samples=num_samples, split=split, seed=seed, batch_size=batch_size
    )
    for name, value in results.items():
        print(f"{name}: {value:.6g}")
    if out is not None:
        _parent_made(Path(out)).write_text(json.dumps(results, indent=2) + "\n")


def list_systems() -> None:
    """Print the catalogue: every system, its paper, what is new in it, its config."""
    print(listing())


VERBS: dict[str, Callable[..., None]] = {
    "list": list_systems,
    "sample": sample,
    "interpolate": interpolate,
    "evaluate": evaluate,
}


def run_verb(name: str, args: Sequence[str]) -> None:
    """Parse a command's options and run it."""
    from pl_genmodels import data, metrics  # noqa: F401  (short names)

    function = VERBS[name]
    parser = Parser(prog=f"pl_genmodels {name}", description=str(function.__doc__).splitlines()[0])
    parser.add_function_arguments(function)
    options = parser.instantiate_classes(parser.parse_args(list(args)))
    function(**options)


def _build(spec: Any, kind: type) -> Any:
    """An object from its plain form, if it is of that kind and its module is known already."""
    module = str(spec.get("class_path", "")).rpartition(".")[0]
    if module not in sys.modules:
        raise ValueError(f"class_path: the checkpoint names {spec.get('class_path')!r}, which is not imported")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--object", type=kind)
    return parser.instantiate_classes(parser.parse_object({"object": spec})).object


def _require_pictures(shape: ImageShape | None, verb: str) -> ImageShape:
    if shape is None or len(shape) != 3:
        raise ValueError(f"{verb}: the model makes samples of shape {shape}, allowed are pictures")
    return shape


def _parent_made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write(samples: Tensor, out: Path, columns: int) -> None:
    """Write samples as one grid, an array, or a folder of pictures, by the name of the target."""
    import numpy as np
    from PIL import Image

    from pl_genmodels.callbacks.sample_grid import grid_picture, scatter_picture
    from pl_genmodels.metrics.fidelity import to_uint8

    pictures = samples.ndim == 4
    if out.suffix == ".png":
        scale = max(1, 64 // samples.shape[-1])
        grid = grid_picture(samples, columns, scale) if pictures else scatter_picture(samples, None)
        grid.save(_parent_made(out))
    elif out.suffix == ".npz":
        array = (to_uint8(samples) if pictures else samples).cpu().numpy()
        np.savez_compressed(_parent_made(out), samples=array)
    elif out.suffix:
        raise ValueError(f"out: got {str(out)!r}, allowed are a .png file, a .npz file or a folder")
    else:
        _require_pictures(tuple(samples.shape[1:]), "out")
        out.mkdir(parents=True, exist_ok=True)
        for index, pixels in enumerate(to_uint8(samples).permute(0, 2, 3, 1).cpu().numpy()):  # (H, W, C)
            Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(out / f"{index:06d}.png")
    print(out)
