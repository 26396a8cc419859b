"""Commands that change a picture by what is painted on it or pasted into it, and keep its details."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pl_genmodels.cli.editing import grid, latent_space, require_png
from pl_genmodels.cli.evaluation import parent_made
from pl_genmodels.cli.translation import picture, to_bytes
from pl_genmodels.data.pictures import fit, opened, to_float, to_mode, to_tensor


def edit(
    ckpt_path: str,
    input: str,
    colour: str | None = None,
    mask: str | None = None,
    sketch: str | None = None,
    sketch_mask: str | None = None,
    region: str | None = None,
    shift: str = "0,0",
    out: str = "edited.png",
    path: str | None = None,
    smoothness_weight: float | None = None,
    num_candidates: int = 8,
    num_steps: int = 25,
    path_steps: int = 8,
    transfer: str = "motion",
    seed: int = 0,
    label: int | None = None,
    device: str = "auto",
) -> None:
    """Edit a picture by colours, strokes or a moved patch, so that it stays one that the model could make.

    The picture's nearest latent is searched, then the edited one; what happens on the way from one to the other is done
    to the picture in its full resolution, to its central square where it is not square.

    Args:
        ckpt_path: Checkpoint of a model with latents.
        input: A picture; it and all others of any size, of whose central square the model sees a small copy.
        colour: The picture with paint on it.
        mask: Picture that is white where there is paint; by default where `colour` differs from the input.
        sketch: Picture of strokes, white on black.
        sketch_mask: Picture that is white where strokes are compared; by default around them.
        region: Instead of these, a patch to be moved: top,left,bottom,right in pixels of the model's size.
        shift: Pixels of the model's size by which it is moved, down,right.
        out: A .png file, of the input's size.
        path: A .png file of the model's images from the input to the edit, beside the input.
        smoothness_weight: Holds the rest of the picture; by default 0.3, or 0.03 for strokes alone.
        num_candidates: Latents from which is searched.
        num_steps: Steps of the search from each.
        path_steps: Images between which the motion is followed.
        transfer: How the edit reaches the picture: `motion` moves and recolours it as the model's images (iGAN);
            `error` takes the edited image, and where it differs little from the one before, what the model could not
            make of the picture (IAN).
        seed: Of the candidates.
        label: Of a model that is conditional on labels: the class of the picture.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    from pl_genmodels.editing import carry_over, grey_of, morph, project, warped
    from pl_genmodels.editing import edit as search
    from pl_genmodels.editing.originals import TRANSFERS

    if transfer not in TRANSFERS:
        raise ValueError(f"transfer: got {transfer!r}, allowed are {', '.join(TRANSFERS)}")
    for target in (out, *([] if path is None else [path])):
        require_png(target)
    space = latent_space("edit", ckpt_path, label, device)
    shape = space.model.image_shape
    whole = _full(input, shape[0])
    image = _small(input, shape)
    painted: dict[str, Any] = {}
    if region is not None:
        if colour is not None or sketch is not None:
            raise ValueError("region: got it with colour or sketch, allowed is one way of editing at a time")
        top, left, bottom, right = _numbers("region", region, 4)
        down, aside = _numbers("shift", shift, 2)
        moved, where = warped(image, (top, left, bottom, right), (down, aside))
        painted = {"colour": moved, "colour_mask": where, "sketch": grey_of(moved), "sketch_mask": where}
    elif colour is None and sketch is None:
        raise ValueError("colour: got nothing to edit by, allowed are colour, sketch, both, or region")
    if colour is not None:
        painted["colour"] = _small(colour, shape)
        differs = (painted["colour"] - image).abs().amax(1) > 0.1  # a tenth of white, above what resizing changes
        painted["colour_mask"] = differs.float() if mask is None else _grey(mask, shape)
    if sketch is not None:
        painted["sketch"] = _grey(sketch, shape)
        painted["sketch_mask"] = None if sketch_mask is None else _grey(sketch_mask, shape)
    before = project(space.model, image, **space.condition).latents
    after = search(
        space.model,
        before,
        **painted,
        smoothness_weight=smoothness_weight,
        num_candidates=num_candidates,
        num_steps=num_steps,
        seed=seed,
        **space.condition,
    )
    images = morph(space.model, before, after.latents, path_steps, **space.condition).cpu()
    edited = carry_over(to_float(to_tensor(whole))[None], images, transfer)[0]
    picture(to_bytes(edited)).save(parent_made(Path(out)))
    if path is not None:
        grid(torch.cat([image, images[0]]), path_steps + 1).save(parent_made(Path(path)))
    print(out)


def blend(
    foreground: str,
    background: str,
    mask: str,
    out: str = "blended.png",
    ckpt_path: str | None = None,
    colour_weight: float = 1.0,
    num_starts: int = 8,
    num_steps: int = 200,
    label: int | None = None,
) -> None:
    """Paste a part of one picture into another without a seam, in full resolution.

    Gradients are those of the pictures; colours those that a model gives to a small composite of them, a GPGAN or any
    model with latents, and without a model those of Poisson blending.

    Args:
        foreground: A picture, of which a part is wanted.
        background: A picture of the same size.
        mask: A picture of the same size that is white where the foreground is wanted.
        out: A .png file.
        ckpt_path: Checkpoint of a GPGAN or of a model with latents.
        colour_weight: Of the colours against the gradients.
        num_starts: Of the search, where the model has latents: random latents from which it begins.
        num_steps: Of the search, where the model has latents.
        label: Of a model that is conditional on labels: the class of the picture.
    """
    from pl_genmodels.checkpoints import load
    from pl_genmodels.editing.blending import blend as blended

    require_png(out)
    model, channels = None, 3
    search: dict[str, Any] = {}
    if ckpt_path is not None:
        model = load(ckpt_path)
        if not hasattr(model, "translate"):
            space = latent_space("blend", ckpt_path, label)
            model, search = space.model, {"num_starts": num_starts, "num_steps": num_steps, **space.condition}
        channels = model.image_shape[0]
    front, back = (_full(path, channels) for path in (foreground, background))
    where = _full(mask, 1)
    for name, part in (("foreground", front), ("mask", where)):
        if part.size != back.size:
            raise ValueError(
                f"{name}: got {part.height}x{part.width} pixels (height x width), allowed are those of the background, "
                f"{back.height}x{back.width}"
            )
    first, second, third = (to_float(to_tensor(part))[None] for part in (front, back, where))
    done = blended(first, second, (third[:, 0] + 1) / 2, model, colour_weight=colour_weight, **search)
    picture(to_bytes(done[0])).save(parent_made(Path(out)))
    print(out)


def _full(path: str, channels: int) -> Image.Image:
    with opened(path) as file:
        return to_mode(file, channels)


def _small(path: str, shape: tuple[int, ...]) -> Tensor:
    """A picture as the model sees it, in [-1, 1], (1, C, H, W)."""
    return to_float(to_tensor(fit(_full(path, shape[0]), shape[1])))[None]


def _grey(path: str, shape: tuple[int, ...]) -> Tensor:
    """A mask or a sketch, in [0, 1], (1, H, W)."""
    return (_small(path, (1, *shape[1:]))[:, 0] + 1) / 2


def _numbers(argument: str, text: str, number: int) -> list[int]:
    """Whole numbers of a text, with commas between them.

    Raises:
        ValueError: If it is not so many.
    """
    if not re.fullmatch(rf"-?\d+(,-?\d+){{{number - 1}}}", text):
        raise ValueError(f"{argument}: got {text!r}, allowed are {number} whole numbers with commas between them")
    return [int(part) for part in text.split(",")]
