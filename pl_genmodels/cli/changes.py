"""The command that shows pictures otherwise: under another condition, from another side, or with what others have."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.cli.editing import filled, grid, read_images, require_png
from pl_genmodels.cli.evaluation import parent_made, require_pictures
from pl_genmodels.cli.representation import can_change, tells_decoder, verbs_of
from pl_genmodels.layers import Labels
from pl_genmodels.models.conditions import asked_of, numbers_of, read_off, rows_of


def change(
    ckpt_path: str,
    input: str,
    out: str = "changes.png",
    label: int | str | None = None,
    attributes: int | str | None = None,
    code: float | str | None = None,
    pose: int | str | None = None,
    like: str | None = None,
    together: bool = False,
    seed: int = 0,
) -> None:
    """Show pictures as they would be otherwise: people at other ages or from another side, digits in a given style.

    A row of the picture that is written begins with an input, or with `together` with all of one person's. With `like`
    the first row shows those pictures.

    Args:
        ckpt_path: Checkpoint of a model with a condition, of one that turns people (DRGAN), or that exchanges codes of
            two pictures (GeneGAN, MathieuDisentangling).
        input: A picture, or a folder of pictures; others than the model's size are resized.
        out: A .png file.
        label: Of a model that is conditional on labels: `3`, `0..9` or `1,4,7`; by default all.
        attributes: Of a model that is conditional on properties: a 1 or 0 for each with commas between them, `0..1` for
            both.
        code: Of a model with codes: a number for each with commas between them, such as `3,_,-2..2:9`, where `_` is as
            in the picture.
        pose: Of a model that turns people: `2`, `0..4` or `0,4`; by default all.
        like: A picture or a folder, each of which gives what it has, such as an object (GeneGAN) or all that its label
            says (MathieuDisentangling).
        together: Whether the pictures of a folder, and of each folder in it, are of one person and are seen together
            (DRGAN).
        seed: Of noise, and of latents from which is searched where the model has no encoder.
    """
    from pl_genmodels.checkpoints import load

    require_png(out)
    model = load(ckpt_path)
    if not can_change(model):
        raise ValueError(
            f"change: the checkpoint is of a {type(model).__name__}, which knows no conditions, poses or codes to "
            f"exchange; allowed for it are {verbs_of(model)}"
        )
    require_pictures(model.image_shape, "change")
    asked = {"label": label, "attributes": attributes, "code": code}
    wishes = {entry: None if text is None else str(text) for entry, text in asked.items()}
    _require_able(model, pose, like, together, [entry for entry, text in wishes.items() if text is not None])
    image, names = read_images(input, model.image_shape)
    torch.manual_seed(seed)
    if hasattr(model, "rotate"):
        rows = _turned(model, image, names if together else None, pose, seed)
    elif like is not None:
        rows = _exchanged(model, image, read_images(like, model.image_shape)[0])
    else:
        rows = torch.cat([image[:, None], _told(model, image, asked_of(model, **wishes), seed)], 1)
    grid(rows.flatten(0, 1), rows.shape[1]).save(parent_made(Path(out)))
    print(out)


def _require_able(model: Any, pose: Any, like: str | None, together: bool, told: list[str]) -> None:
    """Refuse wishes that a model cannot fulfil.

    Raises:
        ValueError: For these.
    """
    kind = type(model).__name__
    turns, swaps = hasattr(model, "rotate"), hasattr(model, "swap")
    given = {"pose": pose is not None, "together": together}
    for name in (name for name, there in given.items() if there and not turns):
        raise ValueError(f"{name}: given, but a {kind} turns nobody; allowed are models that do, such as DRGAN")
    if like is not None and not swaps:
        raise ValueError(
            f"like: got {like!r}, but a {kind} takes nothing from other pictures; allowed are models that do, such as "
            "GeneGAN and MathieuDisentangling"
        )
    if like is not None and told:
        raise ValueError(f"like: got it with {told[0]}, allowed is one of them")
    if told and (turns or not (hasattr(model, "edits") or tells_decoder(model))):
        raise ValueError(f"{told[0]}: given, but a {kind} takes {'pose' if turns else 'like'} instead")
    if swaps and like is None and not tells_decoder(model):
        raise ValueError(f"like: not given, but a {kind} needs pictures of what its inputs are to have")


def _turned(model: Any, image: Tensor, names: list[str] | None, pose: int | str | None, seed: int) -> Tensor:
    """People in the poses asked for, behind the pictures of them, (B, n + R, C, H, W).

    Args:
        model: That turns people.
        image: (N, C, H, W).
        names: Of the files, where those of a folder are of one person.
        pose: As `change` takes it.
        seed: Of the noise.
    """
    poses = [float(one) for one in range(model.num_poses)]
    if pose is not None:
        poses = [number for entry in str(pose).split(",") for number in numbers_of("pose", entry.strip())]
    if not all(one in range(model.num_poses) for one in poses):
        raise ValueError(f"pose: got {pose}, allowed are 0 to {model.num_poses - 1}")
    places = range(len(image))
    folders = [[place] for place in places]
    if names is not None:
        by_folder = sorted(places, key=lambda place: str(Path(names[place]).parent))
        folders = [list(group) for _, group in groupby(by_folder, lambda place: Path(names[place]).parent)]
    most, rows = max(map(len, folders)), []
    for folder in folders:
        given = image[folder]
        turned = torch.cat([model.rotate(given[None], int(one), seed).cpu() for one in poses])
        rows.append(torch.cat([filled(given, most), turned]))
    return torch.stack(rows)


def _exchanged(model: Any, image: Tensor, others: Tensor) -> Tensor:
    """Pictures with what each of others has, below these, (1 + B, 1 + R, C, H, W)."""
    made = model.swap(image.repeat_interleave(len(others), 0), others.repeat(len(image), 1, 1, 1)).cpu()
    rows = torch.cat([image[:, None], made.unflatten(0, (len(image), len(others)))], 1)
    return torch.cat([torch.cat([torch.ones_like(image[:1]), others])[None], rows])


def _told(model: Any, image: Tensor, wish: str | None, seed: int) -> Tensor:
    """Pictures under each condition asked for, (B, R, C, H, W)."""
    values = model.condition.all_of_one() if wish is None else rows_of(model.condition, wish)
    image = image.to(model.device)
    if hasattr(model, "edits"):
        return model.edits(image, values).cpu()
    own, latents = _located(model, image, seed)
    rows = values.to(model.device).repeat(len(image), *[1] * (values.ndim - 1))  # (B R, ...)
    if own is not None and values.is_floating_point():  # codes that are left open are those of the picture
        rows = torch.where(rows.isnan(), own.repeat_interleave(len(values), 0), rows)
    made = model.decode(latents.repeat_interleave(len(values), 0), **{model.condition.entry: rows})
    return made.cpu().unflatten(0, (len(image), len(values)))


def _located(model: Any, image: Tensor, seed: int) -> tuple[Tensor | None, Tensor]:
    """Conditions, as far as they are known, and latents of pictures: read and encoded, or searched.

    Raises:
        ValueError: For a model that cannot say which properties a picture has, and needs to.
    """
    from pl_genmodels.editing import LatentSpace, project
    from pl_genmodels.editing.projection import best_of

    entry = model.condition.entry
    own = read_off(model, image)
    if hasattr(model, "encode"):
        return own, LatentSpace(model, **({} if own is None else {entry: own})).encode(image)
    if own is not None:
        found = [project(model, image[[place]], seed=seed, **{entry: one}) for place, one in enumerate(own)]
        return own, torch.cat([one.latents for one in found])
    if not isinstance(model.condition, Labels):
        raise ValueError(
            f"change: a {type(model).__name__} does not say which {entry} a picture has, and has no encoder; allowed "
            "are models with one, such as IcGAN"
        )
    labels = range(model.condition.num_classes)
    return None, best_of([project(model, image, seed=seed, label=one) for one in labels]).latents
