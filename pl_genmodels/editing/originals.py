"""Edits of a model's small picture carried over to the original, of which it shows the middle."""

from __future__ import annotations

from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from pl_genmodels.editing.blending import resized
from pl_genmodels.editing.manipulation import transfer

TRANSFERS = ("motion", "error")
BLUR = 0.7  # the authors' deviation of the blur of M, in pixels of the model's picture


def middle(whole: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The largest central part of pictures whose sides have a model's ratio, a view of them.

    Args:
        whole: (..., H', W').
        shape: Of the model's pictures, (C, H, W).
    """
    height, width = whole.shape[-2:]
    tall = max(1, min(height, round(width * shape[1] / shape[2])))
    wide = max(1, min(width, round(height * shape[2] / shape[1])))
    top, left = round((height - tall) * 0.5), round((width - wide) * 0.5)
    return whole[..., top : top + tall, left : left + wide]


def transfer_error(original: Tensor, before: Tensor, after: Tensor) -> Tensor:
    r"""Keep what a model could not make of a picture wherever an edit changes little; Brock et al. 2017.

    $y = \hat x' + (1 - M) (x - \hat x)$, with $\hat x$ and $\hat x'$ the model's pictures before and after the edit,
    and M the mean over colours of $|\hat x' - \hat x|$, at most 1, blurred. Where nothing changes this is x, and where
    all does what the model made. The authors' code also weighs the change itself by M.

    Args:
        original: x, in [-1, 1], (B, C, H', W'), of any size, to which the others are brought.
        before: In [-1, 1], (B, C, H, W).
        after: (B, C, H, W).

    Returns:
        (B, C, H', W').

    Raises:
        ValueError: If they do not belong together.
    """
    if before.ndim != 4 or before.shape != after.shape:
        raise ValueError(f"after: got shape {tuple(after.shape)}, allowed is that of before, {tuple(before.shape)}")
    if original.ndim != 4 or original.shape[:2] != before.shape[:2]:
        raise ValueError(
            f"original: got shape {tuple(original.shape)}, allowed is ({len(before)}, {before.shape[1]}, H, W)"
        )
    change = after - before
    reach = min(3, *(side - 1 for side in change.shape[2:]))  # four deviations; a mirrored border has no more
    mask = gaussian_blur(change.abs().mean(1, keepdim=True).clamp(max=1), [2 * reach + 1] * 2, [BLUR] * 2)
    change, mask, before = (resized(part, tuple(original.shape[2:])) for part in (change, mask, before))
    return (original + change - mask * (original - before)).clamp(-1, 1)


def carry_over(whole: Tensor, path_images: Tensor, how: str = "motion") -> Tensor:
    """Pictures in their own resolution, edited in the middle, which is what a model saw of them.

    Args:
        whole: In [-1, 1], (B, C, H', W').
        path_images: Of the model, from before the edit to after it, (B, num_steps, C, H, W); see `morph`.
        how: motion for `transfer`, error for `transfer_error` of the path's ends.

    Returns:
        (B, C, H', W'), unchanged outside of the middle.

    Raises:
        ValueError: For another way, or if they do not belong together.
    """
    if how not in TRANSFERS:
        raise ValueError(f"transfer: got {how!r}, allowed are {', '.join(TRANSFERS)}")
    edited = whole.clone()
    part = middle(edited, tuple(path_images.shape[2:]))
    if how == "motion":
        part.copy_(transfer(part, path_images))
    else:
        part.copy_(transfer_error(part, path_images[:, 0], path_images[:, -1]))
    return edited
