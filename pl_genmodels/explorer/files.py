"""What the page shows and lets one download, as addresses that hold the data themselves."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pl_genmodels.explorer.session import Session

SMALLEST = 64  # pixels: smaller pictures are enlarged when several of them stand side by side


def png_of(image: Tensor) -> str:
    """A picture, in [-1, 1], (C, H, W), as the address of a PNG file."""
    pixels = (image.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def row_of(images: list[Tensor]) -> Tensor:
    """Pictures side by side, small ones enlarged, (C, H, N W)."""
    scale = max(1, -(-SMALLEST // images[0].shape[-1]))
    return torch.cat(images, 2).repeat_interleave(scale, 1).repeat_interleave(scale, 2)


def latents_of(session: Session) -> str:
    """Latents, and the condition under its name, as the address of an .npz file."""
    file, condition = io.BytesIO(), session.explorer.condition
    arrays: dict[str, Any] = {"latents": session.now.latents.cpu().numpy()}
    if condition is not None and session.now.values is not None:
        arrays[condition.entry] = session.now.values.numpy()
    np.savez_compressed(file, **arrays)
    return "data:application/octet-stream;base64," + base64.b64encode(file.getvalue()).decode()


def shown(session: Session, turn: int) -> dict[str, Any]:
    """All that `studio.js` shows.

    Args:
        session: Of the visitor.
        turn: Number of what is shown.
    """
    wishes = session.wishes
    rows, columns = wishes.colour_mask.nonzero(as_tuple=True)
    channels = wishes.colour.shape[0]
    colours = (wishes.colour[:, rows, columns] * 127.5 + 127.5).round().clamp(0, 255).byte()
    colours = colours.expand(3 if channels == 1 else -1, -1)
    painted = [
        [x, y, f"#{r:02x}{g:02x}{b:02x}"]
        for x, y, (r, g, b) in zip(columns.tolist(), rows.tolist(), colours.T.tolist(), strict=True)
    ]
    strip = [place.image for place in session.strip]
    return {
        "turn": turn,
        "before": png_of(session.before.image),
        "now": png_of(session.now.image),
        "painted": painted,
        "sketched": wishes.strokes.nonzero().flip(1).tolist(),
        "strip": [png_of(image) for image in strip],
        "files": {
            "now.png": png_of(session.now.image),
            "before_now.png": png_of(row_of([session.before.image, session.now.image])),
            "path.png": png_of(row_of(strip)) if strip else "",
            "edited.png": "" if session.edited is None else png_of(session.edited),
            "latents.npz": latents_of(session),
        },
    }
