"""The command that completes pictures of which a part is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pl_genmodels.callbacks.completions import completion_picture
from pl_genmodels.cli.building import chosen_device
from pl_genmodels.cli.evaluation import parent_made
from pl_genmodels.cli.translation import names_below, output_names, picture, to_bytes
from pl_genmodels.data.pictures import opened, to_float, to_mode, to_tensor
from pl_genmodels.models.autoregression import AutoregressiveModule
from pl_genmodels.models.known_pixels import HALVES, known_half


def complete(
    ckpt_path: str,
    input: str,
    mask: str = "top",
    out: str = "completions.png",
    num_completions: int = 6,
    label: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Complete a picture, or all pictures of a folder, of which some pixels are known.

    Pixels are drawn from the top left on, each given the known and drawn ones before it.

    Args:
        ckpt_path: Checkpoint of a model that draws pixel by pixel.
        input: A picture of the model's size, or a folder of such pictures and sub-folders.
        mask: Which pixels are known: top, bottom, left or right for a half, or a picture of the same size, white where
            they are.
        out: A .png file for one row a picture (what is known, then the completions), or a folder for one PNG each.
        num_completions: Completions of each picture.
        label: Class of the pictures, where the model has classes; by default completions cycle through all.
        seed: Of the completions.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    from pl_genmodels.checkpoints import load

    if Path(out).suffix not in ("", ".png"):
        raise ValueError(f"out: got {out!r}, allowed are a .png file or a folder")
    model = load(ckpt_path)
    if not isinstance(model, AutoregressiveModule):
        raise ValueError(
            f"complete: the checkpoint is of a {type(model).__name__}, allowed are models that draw pixel by pixel"
        )
    model.to(chosen_device(device))
    channels, height, width = model.network.image_shape
    names = names_below(input)
    root = Path(input) if Path(input).is_dir() else Path(input).parent
    pictures = [read_picture(root / name, channels, (height, width), "input") for name in names]
    image = to_float(torch.stack(pictures))
    known = read_mask(mask, height, width)
    labels = None if label is None else torch.full((len(image),), label)
    completions = model.complete(image, known, num_completions, seed=seed, label=labels).cpu()
    if out.endswith(".png"):
        completion_picture(image, known, completions).save(parent_made(Path(out)))
    else:
        write_each(names, completions, Path(out))
    print(out)


def read_mask(mask: str, height: int, width: int) -> Tensor:
    """Known pixels, booleans (H, W), of a half by its name or of a picture that is white there.

    Raises:
        ValueError: For what is neither, or a picture of another size.
    """
    if mask in HALVES:
        return known_half(mask, height, width)
    if not Path(mask).is_file():
        raise ValueError(f"mask: got {mask!r}, allowed are {', '.join(HALVES)} or the file of a picture")
    return read_picture(Path(mask), 1, (height, width), "mask")[0] > 127


def read_picture(path: Path, channels: int, size: tuple[int, int], argument: str) -> Tensor:
    """Pixels of a picture, uint8 (C, H, W).

    Raises:
        ValueError: If it has another size.
    """
    with opened(path) as file:
        pixels: Any = to_tensor(to_mode(file, channels))
    if tuple(pixels.shape[1:]) != size:
        raise ValueError(
            f"{argument}: {path} has {pixels.shape[1]}x{pixels.shape[2]} pixels (height x width), allowed are those of "
            f"the model, {size[0]}x{size[1]}"
        )
    return pixels


def write_each(names: list[str], completions: Tensor, folder: Path) -> None:
    """One PNG for each completion, (B, n, C, H, W), named after its picture and numbered."""
    targets = output_names(names)
    for name, several in zip(names, to_bytes(completions), strict=True):
        for index, pixels in enumerate(several):
            target = folder / targets[name]
            target = parent_made(target.with_name(f"{target.stem}_{index}.png"))
            done: Image.Image = picture(pixels)
            done.save(target)
