"""Commands that move through the latents of a model."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pl_genmodels.cli.building import build, chosen_device
from pl_genmodels.cli.evaluation import choose_data, parent_made, require_pictures
from pl_genmodels.cli.representation import verbs_of
from pl_genmodels.cli.translation import names_below
from pl_genmodels.data import ImageData
from pl_genmodels.data.pictures import fit, opened, to_float, to_mode, to_tensor
from pl_genmodels.editing import LatentSpace, project
from pl_genmodels.editing.latent_space import has_latents
from pl_genmodels.metrics import FeatureExtractor


def interpolate(
    ckpt_path: str,
    out: str = "interpolation.png",
    num_paths: int = 8,
    num_steps: int = 10,
    seed: int = 0,
    path: str = "slerp",
    between: str | None = None,
    label: int | None = None,
    device: str = "auto",
) -> None:
    """Walk between latents of a checkpoint.

    Args:
        ckpt_path: Checkpoint of a model with latents.
        out: A .png file for one row a path, or a .gif file that walks all paths.
        num_paths: Number of paths, each from one latent to the next.
        num_steps: Samples on each path.
        seed: Of the latents.
        path: `slerp` (great circles) or `lerp` (straight lines).
        between: Instead of the first ones: numbers of samples of the seed, from 0 on, as in `3,17,5`; or a picture or
            folder, whose latents are encoded, or searched where the model has no encoder.
        label: Of a model that is conditional on labels: the class of all samples.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    from pl_genmodels.editing import walk

    space = latent_space("interpolate", ckpt_path, label, device)
    if num_paths < 1:
        raise ValueError(f"num_paths: got {num_paths}, allowed is 1 or more")
    ends = space.draw(num_paths + 1, seed=seed) if between is None else latents_of(space, "between", between, seed)
    if len(ends) < 2:
        raise ValueError(f"between: got {between!r}, allowed are 2 samples or pictures or more")
    frames = walk(space.model, ends, num_steps, path=path, **space.condition)  # (paths, steps, C, H, W)
    target = parent_made(Path(out))
    if target.suffix == ".gif":
        pictures = [grid(frame[None], 1, 2) for frame in frames.flatten(0, 1)]
        pictures[0].save(target, save_all=True, append_images=pictures[1:], duration=80, loop=0)
    elif target.suffix == ".png":
        grid(frames.flatten(0, 1), num_steps).save(target)
    else:
        raise ValueError(f"out: got {out!r}, allowed are files ending in .png or .gif")
    print(target)


def arithmetic(
    ckpt_path: str,
    a: str,
    b: str,
    c: str,
    out: str = "arithmetic.png",
    seed: int = 0,
    spread: float = 0.25,
    label: int | None = None,
    device: str = "auto",
) -> None:
    """Show what mean a - mean b + mean c of latents looks like.

    The picture has a row for each of a, b and c: the image of the mean, then those of the latents; then a row with the
    result and neighbours of it.

    Args:
        ckpt_path: Checkpoint of a model with latents.
        a: Numbers of samples of the seed, from 0 on, as in `3,17,5`, or a picture or folder; see `interpolate`.
        b: The same of what is taken away.
        c: The same of what the difference is added to.
        out: A .png file.
        seed: Of the samples.
        spread: Neighbours differ by at most this in each coordinate.
        label: Of a model that is conditional on labels: the class of all samples.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    from pl_genmodels.editing import arithmetic as combined
    from pl_genmodels.editing import around

    require_png(out)
    space = latent_space("arithmetic", ckpt_path, label, device)
    groups = [latents_of(space, name, text, seed) for name, text in (("a", a), ("b", b), ("c", c))]
    columns = max(9, *(len(group) + 1 for group in groups))
    rows = [torch.cat([group.mean(0, keepdim=True), group]) for group in groups]
    rows.append(around(combined(*groups), columns - 1, spread, seed))
    images = space.decode(torch.cat(rows)).split([len(row) for row in rows])
    grid(torch.cat([filled(row, columns) for row in images]), columns).save(parent_made(Path(out)))
    print(out)


def neighbours(
    ckpt_path: str,
    out: str = "neighbours.png",
    num_samples: int = 8,
    num_neighbours: int = 5,
    data: ImageData | str | None = None,
    extractor: FeatureExtractor | None = None,
    split: str = "train",
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Put samples beside the real images that are nearest to them, in pixels and in features.

    The picture has a row for each sample: the sample, its neighbours in pixels, then those in features.

    Args:
        ckpt_path: Checkpoint of a model that makes samples.
        out: A .png file.
        num_samples: How many.
        num_neighbours: Of each, in each of the two spaces.
        data: A data set of this package, or a folder; by default the data of the training run.
        extractor: Network that turns images into features; by default that of the run, and none without one.
        split: Real images to look through: train, val or test.
        seed: Of the samples.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    from pl_genmodels.callbacks.fidelity import fidelity_from_checkpoint
    from pl_genmodels.checkpoints import load, read_checkpoint
    from pl_genmodels.editing import nearest_neighbours
    from pl_genmodels.metrics.fidelity import to_uint8

    require_png(out)
    model, checkpoint = load(ckpt_path).to(chosen_device(device)), read_checkpoint(ckpt_path, map_location="meta")
    if not hasattr(model, "sample"):
        raise ValueError(
            f"neighbours: the checkpoint is of a {type(model).__name__}, which makes no samples; "
            f"allowed for it are {verbs_of(model)}"
        )
    require_pictures(model.image_shape, "neighbours")
    real = choose_data(data, model, checkpoint, "neighbours")
    real.prepare_data()
    run = fidelity_from_checkpoint(checkpoint)
    network = extractor or (build(run["extractor"], FeatureExtractor) if run else None)
    most = len(real.load(split))  # type: ignore[arg-type]
    if not 1 <= num_neighbours <= most:
        raise ValueError(f"num_neighbours: got {num_neighbours}, allowed is 1 to {most}, the number of real images")
    samples = model.sample(num_samples, seed=seed)
    rows = [samples[:, None].cpu()]
    spaces: dict[str, Any] = {"pixels": None}
    if network is not None:
        spaces[network.name] = lambda images: network(to_uint8(images.to(model.device)))[0]
    for name, features in spaces.items():
        images = (batch["image"] for batch in real.evaluation_loader(split))
        images = (to_float(image) if image.dtype == torch.uint8 else image for image in images)
        found = nearest_neighbours(samples, images, num_neighbours, features)
        rows.append(found.images)
        print(f"mean distance to the nearest in {name}: {found.distances[:, 0].mean():.4g}")
    whole = torch.cat(rows, 1)
    grid(whole.flatten(0, 1), whole.shape[1]).save(parent_made(Path(out)))
    print(out)


def project_pictures(
    ckpt_path: str,
    input: str,
    out: str = "projection.png",
    num_starts: int = 8,
    num_steps: int = 200,
    start: str | None = None,
    seed: int = 0,
    label: int | None = None,
    device: str = "auto",
) -> None:
    """Find the latents whose images are nearest to pictures.

    Args:
        ckpt_path: Checkpoint of a model with latents.
        input: A picture, or a folder of pictures; others than the model's size are resized.
        out: A .png file, in which each picture stands to the left of the nearest image, or a .npz file with `latents`
            (N, latent_dim), `errors` (mean squared ones, in [-1, 1]) and `files`.
        num_starts: Random latents from which each picture is searched.
        num_steps: Steps of the search from each.
        start: random, encoder, or both; by default both where the model has an encoder.
        seed: Of the random latents.
        label: Of a model that is conditional on labels: the class of all pictures.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    import numpy as np

    if Path(out).suffix not in (".png", ".npz"):
        raise ValueError(f"out: got {out!r}, allowed are files ending in .png or .npz")
    space = latent_space("project", ckpt_path, label, device)
    image, names = read_images(input, space.model.image_shape)
    options: dict[str, Any] = {"num_starts": num_starts, "num_steps": num_steps, "start": start, "seed": seed}
    found = project(space.model, image, **options, **space.condition)
    if out.endswith(".png"):
        grid(torch.stack([image, found.images.cpu()], 1).flatten(0, 1), 8).save(parent_made(Path(out)))
    else:
        latents, errors = found.latents.cpu().numpy(), found.losses.cpu().numpy()
        np.savez_compressed(parent_made(Path(out)), latents=latents, errors=errors, files=np.array(names))
    print(f"mean squared error {float(found.losses.mean()):.4g} in {out}")


def latent_space(verb: str, ckpt_path: str, label: int | None = None, device: str = "cpu") -> LatentSpace:
    """The latents of a checkpoint's model of pictures; see `latent_space_of`."""
    from pl_genmodels.checkpoints import load

    return latent_space_of(load(ckpt_path).to(chosen_device(device)), verb, label)


def latent_space_of(model: Any, verb: str, label: int | None = None) -> LatentSpace:
    """The latents of a model of pictures.

    Raises:
        ValueError: For a model without latents, without pictures or without labels.
    """
    if not has_latents(model):
        raise ValueError(
            f"{verb}: the checkpoint is of a {type(model).__name__}, which has no latents; allowed for it are "
            f"{verbs_of(model)}"
        )
    require_pictures(model.image_shape, verb)
    if label is None:
        return LatentSpace(model)
    classes = classes_of(model)
    if classes is None:
        raise ValueError(f"label: got {label}, but a {type(model).__name__} has no labels; leave it out")
    if label not in classes:
        raise ValueError(f"label: got {label}, allowed are 0 to {len(classes) - 1}")
    return LatentSpace(model, label=label)


def classes_of(model: Any) -> range | None:
    """Labels that a model's `decode` can be told, or None."""
    number = getattr(getattr(model, "condition", None), "num_classes", getattr(model, "num_classes", None))
    return None if number is None or "label" not in inspect.signature(model.decode).parameters else range(number)


def latents_of(space: LatentSpace, argument: str, text: str, seed: int) -> Tensor:
    """Latents of samples by their numbers, or of pictures, (n, latent_dim).

    Raises:
        ValueError: For what is neither.
    """
    if re.fullmatch(r"\d+(,\d+)*", text):
        return torch.cat([space.draw(1, seed=seed, first=int(number)) for number in text.split(",")])
    if not Path(text).exists():
        raise ValueError(
            f"{argument}: got {text!r}, allowed are numbers of samples such as 3,17,5, or a picture or folder"
        )
    image, _ = read_images(text, space.model.image_shape)
    return space.encode(image) if space.has_encoder else project(space.model, image, **space.condition).latents


def read_images(path: str, shape: tuple[int, ...]) -> tuple[Tensor, list[str]]:
    """A picture, or those of a folder, in the model's size, and their names; what is resized is said.

    Args:
        path: Of a picture or folder.
        shape: (C, H, W).

    Returns:
        In [-1, 1], (N, C, H, W), and names.
    """
    names = names_below(path)
    root, (channels, height, width), pictures = Path(path), shape, []
    for name in names:
        file = root / name if root.is_dir() else root
        with opened(file) as picture:
            if picture.size != (width, height):
                given = f"{picture.height}x{picture.width}"
                print(f"{file} has {given} pixels (height x width), resized to {height}x{width}", file=sys.stderr)
            pictures.append(to_tensor(fit(to_mode(picture, channels), height)))
    return to_float(torch.stack(pictures)), names


def require_png(out: str) -> None:
    """Refuse other targets.

    Raises:
        ValueError: For another ending.
    """
    if Path(out).suffix != ".png":
        raise ValueError(f"out: got {out!r}, allowed is a .png file")


def filled(images: Tensor, number: int) -> Tensor:
    """Images, and white ones up to a number."""
    return torch.cat([images, images.new_ones(number - len(images), *images.shape[1:])])


def grid(images: Tensor, columns: int, larger: int = 1) -> Image.Image:
    """Pictures row by row, small ones enlarged."""
    from pl_genmodels.callbacks.sample_grid import grid_picture

    return grid_picture(images, columns, larger * max(1, 64 // images.shape[-1]))
