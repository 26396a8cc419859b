"""Commands of models with an encoder: codes of images to a file, and images through their codes and back."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import torch

from pl_genmodels.cli.building import chosen_device
from pl_genmodels.cli.evaluation import choose_data, parent_made, require_pictures
from pl_genmodels.cli.measures import codes_of
from pl_genmodels.cli.translation import names_below
from pl_genmodels.data import ImageData, ImageFolder
from pl_genmodels.data.base import SPLITS
from pl_genmodels.editing.latent_space import has_latents
from pl_genmodels.models.latent_grids import given_label


def encode(
    ckpt_path: str,
    out: str = "codes.npz",
    input: str | None = None,
    data: ImageData | str | None = None,
    split: str = "test",
    batch_size: int = 256,
    device: str = "auto",
) -> None:
    """Write the codes of images: posterior means, or coordinates along the components.

    Args:
        ckpt_path: Checkpoint of a model with an encoder.
        out: A .npz file with `codes`, float32 (N, latent_dim), and `label`, `factors` and `files` where there are some.
        input: A picture, or a folder of pictures; they are resized to what the model was trained on.
        data: Instead of an input: a data set of this package, or a folder; by default the data of the training run.
        split: Of a data set: train, val or test.
        batch_size: Images encoded at a time.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    import numpy as np

    target = Path(out)
    if target.suffix != ".npz":
        raise ValueError(f"out: got {out!r}, allowed is a .npz file")
    model, images, part = _model_and_images("encode", ckpt_path, input, data, split, batch_size, device)
    codes, entries = codes_of(model, images, images.evaluation_loader(part))
    arrays: dict[str, Any] = {"codes": codes.numpy(), **{key: value.numpy() for key, value in entries.items()}}
    if isinstance(images, ImageFolder) and images.val_fraction == 0:
        arrays["files"] = np.array(images.files)
    np.savez_compressed(parent_made(target), **arrays)
    print(f"{len(codes)} codes of {codes.shape[1]} numbers in {target}")


def reconstruct(
    ckpt_path: str,
    out: str = "reconstructions.png",
    input: str | None = None,
    data: ImageData | str | None = None,
    split: str = "test",
    num_images: int = 32,
    columns: int = 4,
    device: str = "auto",
) -> None:
    """Put images beside what is left of them after the way through their codes and back.

    Args:
        ckpt_path: Checkpoint of a model with an encoder, or whose discriminator has one.
        out: A .png file, in which each image stands to the left of its reconstruction.
        input: A picture, or a folder of pictures; they are resized to what the model was trained on.
        data: Instead of an input: a data set of this package, or a folder; by default the data of the training run.
        split: Of a data set: train, val or test.
        num_images: How many, evenly taken.
        columns: Pairs in a row.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    from pl_genmodels.callbacks.fixed_images import spread_batch
    from pl_genmodels.callbacks.sample_grid import grid_picture

    for name, value in (("num_images", num_images), ("columns", columns)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, allowed is 1 or more")
    if Path(out).suffix != ".png":
        raise ValueError(f"out: got {out!r}, allowed is a .png file")
    model, images, part = _model_and_images("reconstruct", ckpt_path, input, data, split, num_images, device)
    require_pictures(model.image_shape, "reconstruct")
    batch = {key: value.to(model.device) for key, value in spread_batch(images, part, num_images).items()}
    with torch.no_grad():
        back = model.reconstruct(batch["image"], **given_label(model.reconstruct, model, batch))
    pairs = torch.stack([batch["image"].cpu(), back.float().cpu()], 1).flatten(0, 1)  # (2 N, C, H, W)
    grid_picture(pairs, 2 * columns, max(1, 64 // pairs.shape[-1])).save(parent_made(Path(out)))
    print(out)


def traverse(
    ckpt_path: str,
    out: str = "traversals.png",
    num_steps: int = 10,
    num_dims: int = 10,
    span: float = 2.0,
    input: str | None = None,
) -> None:
    """Show what each coordinate of a latent does: a row is one, from low to high, with all others as they are.

    Args:
        ckpt_path: Checkpoint of a model with latents.
        out: A .png file.
        num_steps: Pictures in a row.
        num_dims: Rows: the first coordinates, at most all.
        span: Values reach so many standard deviations to each side of the prior's mean.
        input: A picture whose code the others are as in; by default they are in the middle of the prior.
    """
    from pl_genmodels.callbacks.latent_pictures import tiled
    from pl_genmodels.checkpoints import load, read_checkpoint
    from pl_genmodels.models.latent_grids import decoded, latent_quantiles, traversals

    for name, value in (("num_steps", num_steps), ("num_dims", num_dims), ("span", span)):
        if value <= 0:
            raise ValueError(f"{name}: got {value}, allowed is more than 0")
    if Path(out).suffix != ".png":
        raise ValueError(f"out: got {out!r}, allowed is a .png file")
    model = load(ckpt_path)
    if not (hasattr(model, "draw_latents") and hasattr(model, "decode")):
        raise ValueError(
            f"traverse: the checkpoint is of a {type(model).__name__}, allowed are models that draw latents"
        )
    require_pictures(model.image_shape, "traverse")
    start, label = latent_quantiles(model, torch.tensor([0.5]))[0], None
    if input is not None:
        require_encoder(model, "input")
        images = _pictures(input, model, read_checkpoint(ckpt_path, map_location="meta"))
        codes, entries = codes_of(model, images, images.evaluation_loader("train"))
        start, label = codes[0], entries["label"][0] if "label" in entries else None
    latents = traversals(model, start, num_steps, num_dims, span).flatten(0, 1)
    tiled(decoded(model, latents, label), num_steps).save(parent_made(Path(out)))
    print(out)


def _model_and_images(
    verb: str,
    ckpt_path: str,
    input: str | None,
    data: ImageData | str | None,
    split: str,
    batch_size: int,
    device: str,
) -> tuple[Any, ImageData, str]:
    """The model, the images that it is to encode, and which split of these.

    Raises:
        ValueError: For a model without encoder, or two kinds of images.
    """
    from pl_genmodels.checkpoints import load, read_checkpoint

    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size}, allowed is 1 or more")
    if split not in SPLITS:
        raise ValueError(f"split: got {split!r}, allowed are {', '.join(SPLITS)}")
    if input is not None and data is not None:
        raise ValueError("input: allowed is either --input or --data, one of them")
    model = load(ckpt_path)
    require_encoder(model, verb)
    checkpoint = read_checkpoint(ckpt_path, map_location="meta")
    if input is not None:
        images: ImageData = _pictures(input, model, checkpoint)
        split = "train"  # all of them: nothing is held out
    else:
        images = choose_data(data, model, checkpoint, verb)
        if tuple(images.image_shape) != tuple(model.image_shape):
            raise ValueError(
                f"data: images have shape {tuple(images.image_shape)}, the model was trained on "
                f"{tuple(model.image_shape)}"
            )
        images.prepare_data()
    images.batch_size = batch_size
    return model.to(chosen_device(device)), images, split


def _pictures(input: str, model: Any, checkpoint: dict[str, Any]) -> ImageFolder:
    """A picture or a folder, made black and white as the images of the training run were."""
    shape = require_pictures(model.image_shape, "input")
    names = names_below(input)
    trained = checkpoint.get("datamodule_hyper_parameters", {})
    binarize = trained.get("binarize", "none")
    root = input if Path(input).is_dir() else str(Path(input).parent)
    folder = ImageFolder(root, size=shape[-1], channels=shape[0], val_fraction=0, in_memory=False, binarize=binarize)
    folder.files = names  # of one picture, only that
    return folder


def require_encoder(model: Any, verb: str) -> None:
    """Refuse models without an encoder, and say what they can do.

    Raises:
        ValueError: For a model without `encode`.
    """
    needed = {"reconstruct": ("reconstruct",), "encode": ("encode", "represent")}.get(verb, ("encode",))
    if any(hasattr(model, name) for name in needed) and not (verb == "reconstruct" and hasattr(model, "translate")):
        return
    raise ValueError(
        f"{verb}: the checkpoint is of a {type(model).__name__}, which has no encoder; allowed for it are "
        f"{verbs_of(model)}"
    )


def verbs_of(model: Any) -> str:
    """Commands that a model has, for those that it has not."""
    able = ["translate"] if hasattr(model, "translate") else ["sample"]
    able += ["complete"] if hasattr(model, "complete") else []
    able += ["encode"] if hasattr(model, "encode") or hasattr(model, "represent") else []
    able += ["reconstruct"] if hasattr(model, "reconstruct") and not hasattr(model, "translate") else []
    able += ["change"] if can_change(model) else []
    if hasattr(model, "draw_latents") and hasattr(model, "decode"):
        able += ["interpolate", "arithmetic", "project", "inpaint", "anogan", "traverse", "explore"]
    able += ["neighbours"] if hasattr(model, "sample") else []
    able += ["tags"] if hasattr(model, "tags") else []
    if len(model.image_shape) != 3:  # points and vectors are no pictures
        able = [name for name in able if name in ("sample", "encode", "translate", "tags")]
    able += ["evaluate"] + (["export"] if hasattr(model, "sampler") or hasattr(model, "translate") else [])
    return f"{', '.join(able[:-1])} and {able[-1]}"


def can_change(model: Any) -> bool:
    """Whether a model shows given pictures under other conditions, in other poses, or with what others have."""
    return any(hasattr(model, name) for name in ("edits", "swap", "rotate")) or tells_decoder(model)


def tells_decoder(model: Any) -> bool:
    """Whether a model's latents are decoded under a condition."""
    condition = getattr(model, "condition", None)
    return condition is not None and has_latents(model) and condition.entry in signature(model.decode).parameters
