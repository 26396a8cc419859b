"""Commands that need a checkpoint and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pl_genmodels.catalogue import listing
from pl_genmodels.cli.building import chosen_device
from pl_genmodels.cli.changes import change
from pl_genmodels.cli.completion import complete
from pl_genmodels.cli.editing import arithmetic, interpolate, neighbours, project_pictures
from pl_genmodels.cli.errors import Parser
from pl_genmodels.cli.evaluation import evaluate, parent_made, require_pictures
from pl_genmodels.cli.exploring import explore
from pl_genmodels.cli.export import export
from pl_genmodels.cli.filling import anogan, inpaint
from pl_genmodels.cli.manipulation import blend, edit
from pl_genmodels.cli.representation import encode, reconstruct, traverse, verbs_of
from pl_genmodels.cli.tags import tags
from pl_genmodels.cli.translation import translate
from pl_genmodels.models.base import SamplingModule
from pl_genmodels.models.conditions import asked_of, condition_grid, rows_of


def sample(
    ckpt_path: str,
    num_samples: int | None = None,
    out: str = "samples.png",
    seed: int = 0,
    columns: int = 8,
    label: int | str | None = None,
    attributes: int | str | None = None,
    code: float | str | None = None,
    device: str = "auto",
) -> None:
    """Draw samples from a checkpoint.

    Several labels, attribute vectors or codes give a row of the grid each, in which a column has the same latent.

    Args:
        ckpt_path: Checkpoint of the model.
        num_samples: How many; 64 by default, or a row of the grid for each of several labels, attributes or codes.
        out: A .png file for one grid, a .npz file for an array `samples` (uint8, or float32 for points), or a folder
            for one PNG each.
        seed: Sample i of a seed is always the same.
        columns: Pictures in a row of the grid.
        label: Of a model that is conditional on labels: `3`, `0..9` or `1,4,7`; by default they take turns.
        attributes: Of a model that is conditional on properties: a 1 or 0 for each with commas between them, `0..1` for
            both.
        code: Of a model with codes: a number for each with commas between them, such as `3,_,-2..2:9`; `_` is drawn,
            `0..9` is each whole number, `-2..2:9` is nine numbers.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    from pl_genmodels.checkpoints import load

    if columns < 1:
        raise ValueError(f"columns: got {columns}, allowed is 1 or more")
    if not out:
        raise ValueError("out: got '', allowed are a .png file, a .npz file or a folder")
    model = load(ckpt_path).to(chosen_device(device))
    if not isinstance(model, SamplingModule):
        raise ValueError(
            f"sample: the checkpoint is of a {type(model).__name__}, which needs an input to work on; allowed for it "
            f"are {verbs_of(model)}"
        )
    asked = {"label": label, "attributes": attributes, "code": code}
    wish = asked_of(model, **{entry: None if text is None else str(text) for entry, text in asked.items()})
    if wish is None:
        samples = model.sample(64 if num_samples is None else num_samples, seed=seed)
    else:
        samples, columns = _asked_for(model, wish, num_samples, columns, seed)
    _write(samples, Path(out), columns)


def _asked_for(model: Any, wish: str, num_samples: int | None, columns: int, seed: int) -> tuple[Tensor, int]:
    """Samples of a condition, or the same latents of several ones; and pictures in a row."""
    rows = rows_of(model.condition, wish)
    if len(rows) == 1:
        return condition_grid(model, rows, 64 if num_samples is None else num_samples, seed), columns
    if num_samples is None:
        return condition_grid(model, rows, columns, seed), columns
    if num_samples < 1 or num_samples % len(rows):
        raise ValueError(
            f"num_samples: got {num_samples}, allowed with {len(rows)} of {model.condition.entry} are multiples of it"
        )
    each = num_samples // len(rows)
    return condition_grid(model, rows, each, seed), each


def list_systems() -> None:
    """Print the catalogue: every system, its paper, what is new in it, its config."""
    print(listing())


VERBS: dict[str, Callable[..., None]] = {
    "list": list_systems,
    "sample": sample,
    "interpolate": interpolate,
    "arithmetic": arithmetic,
    "neighbours": neighbours,
    "project": project_pictures,
    "edit": edit,
    "change": change,
    "inpaint": inpaint,
    "anogan": anogan,
    "blend": blend,
    "complete": complete,
    "translate": translate,
    "encode": encode,
    "reconstruct": reconstruct,
    "traverse": traverse,
    "explore": explore,
    "tags": tags,
    "evaluate": evaluate,
    "export": export,
}


def run_verb(name: str, args: Sequence[str]) -> None:
    """Parse a command's options and run it."""
    from pl_genmodels import data, metrics  # noqa: F401  (short names)

    function = VERBS[name]
    parser = Parser(prog=f"pl_genmodels {name}", description=str(function.__doc__).splitlines()[0])
    parser.add_function_arguments(function)
    for action in parser._actions:
        if getattr(action, "_typehint", None) is bool:  # `--flag` alone means true
            action.nargs, action.const = "?", True
    options = parser.instantiate_classes(parser.parse_args(list(args)))
    function(**options)


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
        grid.save(parent_made(out))
    elif out.suffix == ".npz":
        array = (to_uint8(samples) if pictures else samples).cpu().numpy()
        np.savez_compressed(parent_made(out), samples=array)
    elif out.suffix:
        raise ValueError(f"out: got {str(out)!r}, allowed are a .png file, a .npz file or a folder")
    else:
        require_pictures(tuple(samples.shape[1:]), "out")
        out.mkdir(parents=True, exist_ok=True)
        for index, pixels in enumerate(to_uint8(samples).permute(0, 2, 3, 1).cpu().numpy()):  # (H, W, C)
            Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(out / f"{index:06d}.png")
    print(out)
