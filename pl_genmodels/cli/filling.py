"""Commands that search a model's latents for a picture: fill its holes, or say how strange it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pl_genmodels.cli.building import chosen_device
from pl_genmodels.cli.completion import read_mask
from pl_genmodels.cli.editing import classes_of, grid, latent_space, latent_space_of, read_images, require_png
from pl_genmodels.cli.evaluation import parent_made


def inpaint(
    ckpt_path: str,
    input: str,
    mask: str = "top",
    out: str = "inpainting.png",
    perceptual_weight: float = 0.003,
    prior_weight: float = 0.0,
    window: int | None = None,
    num_starts: int = 16,
    num_steps: int = 200,
    seed: int = 0,
    label: int | None = None,
    device: str = "auto",
) -> None:
    """Fill holes in pictures with what a model with latents knows, or a generator that was made for it.

    The picture has four images for each: what is known of it, the filled one, what the model made, and the whole.

    Args:
        ckpt_path: Checkpoint of a model with latents, which are searched, or of one that fills holes by itself, which
            passes over the options of a search.
        input: A picture, or a folder of pictures; others than the model's size are resized.
        mask: Which pixels are known: top, bottom, left or right for a half, or a picture of the model's size, white
            where they are.
        out: A .png file.
        perceptual_weight: Of the discriminator's term.
        prior_weight: Of how improbable a latent is, for models such as VAEs; 0.02 suits digits of 8x8 pixels, more
            suits larger pictures, of which more pixels count.
        window: Known pixels count by the share of what is missing in a window of this side, an odd number; by default
            one that reaches from the farthest known pixel to the hole, and 7 at least.
        num_starts: Random latents from which each picture is searched.
        num_steps: Steps of the search from each.
        seed: Of the random latents.
        label: Of a model that is conditional on labels: the class of all pictures; by default all classes are tried.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    from pl_genmodels.checkpoints import load
    from pl_genmodels.editing import inpaint as search

    require_png(out)
    model = load(ckpt_path).to(chosen_device(device))
    space = None if hasattr(model, "make") else latent_space_of(model, "inpaint", label)
    known = read_mask(mask, *model.image_shape[1:])
    image, _ = read_images(input, model.image_shape)
    if space is None:
        filled, made = model.fill(image, known), model.make(image, known)
    else:
        options: dict[str, Any] = {"window": window, "num_starts": num_starts, "num_steps": num_steps, "seed": seed}
        options |= {"perceptual_weight": perceptual_weight, "prior_weight": prior_weight}
        labels = classes_of(model) if label is None else None
        found = search(model, image, known, labels=labels, **options, **space.condition)
        filled, made = found.images, found.generated
    shown = [torch.where(known, image, 0.0), filled.cpu(), made.cpu(), image]
    grid(torch.stack(shown, 1).flatten(0, 1), 8).save(parent_made(Path(out)))
    print(out)


def anogan(
    ckpt_path: str,
    input: str,
    out: str = "anomalies.png",
    discrimination_weight: float = 0.1,
    num_starts: int = 4,
    num_steps: int = 200,
    seed: int = 0,
    label: int | None = None,
    device: str = "auto",
) -> None:
    """Say how far pictures are from all that a model makes, the strangest first.

    The picture has three images for each: it, the nearest that the model makes, and the difference.

    Args:
        ckpt_path: Checkpoint of a model with latents.
        input: A picture, or a folder of pictures; others than the model's size are resized.
        out: A .png file.
        discrimination_weight: Share of the discriminator's layer in the score, in [0, 1].
        num_starts: Random latents from which each picture is searched.
        num_steps: Steps of the search from each.
        seed: Of the random latents.
        label: Of a model that is conditional on labels: the class of all pictures.
        device: cpu, cuda, or auto for cuda where there is one.
    """
    from pl_genmodels.editing import anomaly_scores

    require_png(out)
    space = latent_space("anogan", ckpt_path, label, device)
    image, names = read_images(input, space.model.image_shape)
    found = anomaly_scores(
        space.model,
        image,
        discrimination_weight=discrimination_weight,
        num_starts=num_starts,
        num_steps=num_steps,
        seed=seed,
        **space.condition,
    )
    order = found.scores.argsort(descending=True, stable=True).cpu()
    for place in order.tolist():
        print(f"{float(found.scores[place]):.6g}\t{names[place]}")
    shown = torch.stack([image, found.images.cpu(), found.residuals.cpu() - 1], 1)[order]
    grid(shown.flatten(0, 1), 9).save(parent_made(Path(out)))
    print(out)
