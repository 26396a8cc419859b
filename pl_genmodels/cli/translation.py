"""Commands that work on pictures: translate a folder, and write a generator in a format that others read."""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from pl_genmodels.cli.building import build, chosen_device
from pl_genmodels.data.folder import find_pictures
from pl_genmodels.data.pairs import check_direction
from pl_genmodels.data.pictures import opened, to_float, to_mode, to_tensor
from pl_genmodels.editing.tiles import by_tiles, check_tiles

Item = TypeVar("Item")
Result = TypeVar("Result")
TINY = 32  # sides below which a network may have more stages than a picture has pixels
Picture = tuple[str, Tensor]
"""Name below the folder, and uint8 pixels (C, H, W)."""


def translate(
    input: str,
    out: str,
    ckpt_path: str | None = None,
    weights: str | None = None,
    arch: str | None = None,
    direction: str = "AtoB",
    side_by_side: bool = False,
    batch_size: int = 8,
    tile: int = 0,
    overlap: int = 64,
    dropout: float | None = None,
    seed: int = 0,
    num_threads: int | None = None,
    device: str = "auto",
) -> None:
    """Translate a picture, or all pictures of a folder, of any size.

    Args:
        input: A picture, or a folder of pictures and sub-folders.
        out: Folder for the translations, PNG files of the same names.
        ckpt_path: Checkpoint of a translation model.
        weights: Instead of a checkpoint: a generator of the CycleGAN and pix2pix project, .pth or .safetensors, or one
            that `export` wrote as safetensors.
        arch: Architecture of that project's `weights`: resnet_6blocks, resnet_9blocks, unet_128 or unet_256; by default
            what fits.
        direction: AtoB, or BtoA where the model has learnt the way back.
        side_by_side: Whether to put each picture to the left of its translation.
        batch_size: Pictures of one size, or tiles, that are translated at a time.
        tile: Height and width of the tiles that larger pictures are cut into; 0 translates each as a whole.
        overlap: Pixels that neighbouring tiles share, where one passes into the other.
        dropout: Of `weights`: the network's noise; by default 0.5 in U-Nets and 0 in ResNets, as in that project.
        seed: Of the noise, where the model has some.
        num_threads: Threads that read and write pictures meanwhile; as many as there are cores by default, up to 16.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    check_tiles(tile, overlap)
    num_threads = min(os.cpu_count() or 1, 16) if num_threads is None else num_threads
    for name, value in (("batch_size", batch_size), ("num_threads", num_threads)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, allowed is 1 or more")
    names = names_below(input)
    convert, channels = translator(ckpt_path, weights, arch, check_direction(direction), dropout, device)
    torch.manual_seed(seed)
    root = Path(input) if Path(input).is_dir() else Path(input).parent
    targets = output_names(names)
    if not out:
        raise ValueError("out: got '', allowed is a folder")
    if Path(out).resolve() == root.resolve():
        raise ValueError(f"out: got {out!r}, the folder of the input, allowed is another one")

    def read(name: str) -> Picture:
        with opened(root / name) as picture:
            return name, to_tensor(to_mode(picture, channels))

    def write(done: tuple[Picture, Tensor]) -> None:
        (name, source), pixels = done
        target = Path(out) / targets[name]
        target.parent.mkdir(parents=True, exist_ok=True)
        picture(beside(source, pixels) if side_by_side else pixels).save(target)

    def whole(batch: list[Picture]) -> Tensor:
        images = to_float(torch.stack([pixels for _, pixels in batch]))
        if not tile or max(images.shape[-2:]) <= tile:
            try:
                return convert(images)
            except (ValueError, RuntimeError) as error:
                if min(images.shape[-2:]) >= TINY:
                    raise
                size = f"{images.shape[2]}x{images.shape[3]}"
                raise ValueError(
                    f"input: {batch[0][0]} has {size} pixels (height x width), fewer than the network can halve"
                ) from error
        return torch.stack([by_tiles(convert, image, tile, overlap, batch_size) for image in images])

    with ThreadPoolExecutor(num_threads) as threads:
        pictures = ahead(threads, read, names, 2 * batch_size)
        done = (
            (one, pixels)
            for batch in batches(pictures, batch_size)
            for one, pixels in zip(batch, to_bytes(whole(batch)), strict=True)
        )
        for _ in ahead(threads, write, done, 2 * batch_size):
            pass
    print(f"{len(names)} picture{'s' * (len(names) != 1)} in {out}")


def names_below(path: str) -> list[str]:
    """Names of the pictures that a path stands for.

    Raises:
        FileNotFoundError: If there is nothing, or a folder without pictures.
    """
    if Path(path).is_file():
        return [Path(path).name]
    if not Path(path).exists():
        raise FileNotFoundError(f"input: there is no picture or folder {path!r}")
    return find_pictures(path)


def output_names(names: list[str]) -> dict[str, str]:
    """Names of the PNG files that translations are written to: the same but for the ending, if that leaves no two."""
    stems = [name.rpartition(".")[0] or name for name in names]
    return {name: f"{stem if stems.count(stem) == 1 else name}.png" for name, stem in zip(names, stems, strict=True)}


def translator(
    ckpt_path: str | None, weights: str | None, arch: str | None, direction: str, dropout: float | None, device: str
) -> tuple[Callable[[Tensor], Tensor], int]:
    """What translates float pictures (B, C, H, W), and the channels that it takes.

    Raises:
        ValueError: If not exactly one of checkpoint and weights is given, the model does not translate pictures, or not
            in this direction.
    """
    require_one(ckpt_path, weights)
    device = chosen_device(device)
    if weights is not None:
        if direction != "AtoB":
            raise ValueError(f"direction: got {direction!r}, but --weights hold one generator, allowed is AtoB")
        network = network_from(weights, arch, dropout).eval().to(device)

        def run(images: Tensor) -> Tensor:
            with torch.inference_mode():
                return network(images.to(device)).cpu()

        return run, network.source_shape[0]
    for name, value in (("arch", arch), ("dropout", dropout)):
        if value is not None:
            raise ValueError(f"{name}: got {value!r}, which belongs to --weights; a checkpoint knows its own")
    from pl_genmodels.checkpoints import load

    model = load(str(ckpt_path))
    require_translation(model, "translate")
    if direction not in model.directions:
        model.translate(torch.empty(0), direction)  # which says what it has learnt
    shape = model.source_shape if direction == "AtoB" else model.target_shape
    if len(shape) != 3:
        raise ValueError(f"translate: the model translates samples of shape {shape}, allowed are pictures")
    model.to(device)
    return lambda images: model.translate(images, direction).cpu(), shape[0]


def require_one(ckpt_path: str | None, weights: str | None) -> None:
    """Whether there is exactly one place to take a generator from.

    Raises:
        ValueError: If there are none or two.
    """
    if (ckpt_path is None) == (weights is None):
        raise ValueError("ckpt_path: allowed is either --ckpt_path or --weights, one of them")


def network_from(path: str, arch: str | None, dropout: float | None) -> Any:
    """Network from a file of weights: of the CycleGAN and pix2pix project, or as `export` writes safetensors.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it holds anything but tensors, or the weights of another architecture.
    """
    from pl_genmodels.networks.official import from_official

    if not Path(path).is_file():
        raise FileNotFoundError(f"weights: there is no file {path}")
    told: dict[str, str] = {}
    try:
        if path.endswith(".safetensors"):
            from safetensors import safe_open

            with safe_open(path, "pt") as file:
                told, state = file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"weights: {path} is damaged, or holds more than tensors, and was not loaded") from error
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"weights: {path} is no state dict of one network; a checkpoint goes to --ckpt_path")
    if "network" not in told:
        return from_official(state, arch, dropout)
    for name, value in (("arch", arch), ("dropout", dropout)):
        if value is not None:
            raise ValueError(f"{name}: got {value!r}, but {path} says itself which network it holds")
    return _exported(told, state)


def _exported(told: dict[str, str], state: dict[str, Tensor]) -> Any:
    """Translator with the weights of an export of ours, which tells its class, arguments and shapes."""
    from pl_genmodels.networks import Translator

    spec = json.loads(told["network"])
    if not {"source_shape", "target_shape"} <= told.keys():
        kind = str(spec["class_path"]).rpartition(".")[2]
        raise ValueError(f"weights: the file holds a {kind}, which translates nothing")
    network = build(spec, Callable[[tuple[int, ...], tuple[int, ...]], Translator])
    made = network(*(tuple(json.loads(told[name])) for name in ("source_shape", "target_shape")))
    made.load_state_dict(state)
    return made


def require_translation(model: Any, verb: str) -> None:
    """Refuse models that translate nothing, and say what they can do.

    Raises:
        ValueError: For a model without `translate`.
    """
    if not hasattr(model, "translate"):
        from pl_genmodels.cli.representation import verbs_of  # which is built on this module

        raise ValueError(
            f"{verb}: the checkpoint is of a {type(model).__name__}, which makes samples out of nothing; allowed for "
            f"it are {verbs_of(model)}"
        )


def ahead(
    threads: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], limit: int
) -> Iterator[Result]:
    """Results in order, worked on by threads up to `limit` items ahead of who asks for them."""
    waiting: deque[Any] = deque()
    iterator = iter(items)
    try:
        for item in iterator:
            waiting.append(threads.submit(work, item))
            if len(waiting) > limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for task in waiting:
            task.cancel()


def batches(pictures: Iterable[Picture], batch_size: int) -> Iterator[list[Picture]]:
    """Consecutive pictures of one size, up to `batch_size` of them."""
    for _, run in itertools.groupby(pictures, key=lambda picture: picture[1].shape):
        while batch := list(itertools.islice(run, batch_size)):
            yield batch


def to_bytes(images: Tensor) -> Tensor:
    """Floats in [-1, 1] as uint8, rounded."""
    return (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def beside(source: Tensor, translation: Tensor) -> Tensor:
    """Two pictures (C, H, W) with 1 or 3 channels next to each other, (C, H, 2 W)."""
    channels = max(len(source), len(translation))
    return torch.cat([part.expand(channels, -1, -1) for part in (source, translation)], dim=2)


def picture(pixels: Tensor) -> Image.Image:
    """A picture from uint8 pixels, (1 or 3, H, W)."""
    array = pixels.permute(1, 2, 0).numpy()  # (H, W, C)
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
