"""The command that finds words for pictures."""

from __future__ import annotations

from pathlib import Path

import torch

from pl_genmodels.cli.completion import read_picture
from pl_genmodels.cli.translation import names_below
from pl_genmodels.data import rebuild
from pl_genmodels.data.base import SPLITS
from pl_genmodels.data.tags import TagData


def tags(
    ckpt_path: str,
    input: str | None = None,
    split: str = "test",
    num_tags: int = 3,
    num_samples: int = 100,
    num_nearest: int = 3,
    seed: int = 0,
) -> None:
    """Print the words that a model of tags has for pictures, one picture a line.

    Each of some generated vectors votes for the words that are nearest to it. Of the training run's own pictures, which
    have true tags, it also says how often one of these is among the words.

    Args:
        ckpt_path: Checkpoint of a model of tags.
        input: A picture, or a folder of pictures, of the size of the training run's; by default these themselves.
        split: Of the training run's pictures: train, val or test.
        num_tags: Words a picture.
        num_samples: Generated vectors a picture.
        num_nearest: Words that each of these votes for; the paper has 20 in a vocabulary of 247,465.
        seed: Of the generated vectors.
    """
    from pl_genmodels.checkpoints import load, read_checkpoint

    if split not in SPLITS:
        raise ValueError(f"split: got {split!r}, allowed are {', '.join(SPLITS)}")
    model = load(ckpt_path)
    if not hasattr(model, "tags"):
        raise ValueError(f"tags: the checkpoint is of a {type(model).__name__}, allowed are models of tags: CGANTags")
    trained = read_checkpoint(ckpt_path, map_location="meta").get("datamodule_hyper_parameters", {})
    data = rebuild(trained)
    if not isinstance(data, TagData):
        raise ValueError(f"tags: the checkpoint's data are {type(data).__name__}, allowed are data with words")
    if input is None:
        features, pairs = data.tagged(split)
        names = [f"{split} {number}" for number in range(len(features))]
    else:
        names = names_below(input)
        root = Path(input) if Path(input).is_dir() else Path(input).parent
        channels, *size = data.picture_shape
        pictures = [read_picture(root / name, channels, (size[0], size[1]), "input") for name in names]
        features = data.features_of(torch.stack(pictures))
    vote = {"num_samples": num_samples, "num_nearest": num_nearest, "seed": seed}
    found = model.tags(features, data.word_vectors, num_tags, **vote).cpu()
    for name, words in zip(names, found.tolist(), strict=True):
        print(f"{name}\t{', '.join(data.words[word] for word in words)}")
    if input is None:
        print(f"a true tag among {num_tags}: {share_with_a_true_tag(found, pairs):.3f}")


def share_with_a_true_tag(found: torch.Tensor, pairs: torch.Tensor) -> float:
    """Share of pictures one of whose words, (N, T), is among their true ones, pairs (M, 2) of picture and word."""
    picture, word = pairs.unbind(1)
    right = torch.zeros(len(found), dtype=torch.bool)
    right[picture[(found[picture] == word[:, None]).any(1)]] = True
    return right[picture.unique()].float().mean().item()
