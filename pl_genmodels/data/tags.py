"""Tags of pictures: vectors of words, each with the features of a picture that it was given to."""

from __future__ import annotations

import functools
import os
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.data.base import ImageData
from pl_genmodels.data.loader import TensorSet
from pl_genmodels.data.pictures import to_float
from pl_genmodels.data.seeds import stable_seed
from pl_genmodels.types import Batch

COLOURS = {
    ("red", "scarlet", "crimson"): (230, 40, 40),
    ("green", "emerald", "lime"): (40, 210, 60),
    ("blue", "navy", "azure"): (60, 80, 250),
    ("yellow", "golden", "amber"): (240, 220, 40),
}
SHAPES = (("square", "box", "block"), ("disc", "ball", "dot"), ("cross", "plus", "star"))
SIDE = 16
ARM = 1  # half the width of a cross's arms, in pixels


class TagSet(TensorSet):
    """Pairs of a picture and a word, of which the features and the vectors are held once.

    Args:
        features: Of the pictures, (N, K).
        pairs: A picture and one of its words, int64 (M, 2).
        vectors: Of the words, (V, n).
        name: What error messages call the data set.
    """

    def __init__(self, features: Tensor, pairs: Tensor, vectors: Tensor, name: str) -> None:
        super().__init__({"picture": pairs[:, 0].contiguous(), "word": pairs[:, 1].contiguous()}, name)
        self.features, self.vectors = features, vectors

    def __getitem__(self, index: int) -> Batch:
        return {key: value[0] for key, value in self.gather(torch.tensor([index])).items()}

    def gather(self, indices: Tensor) -> Batch:
        """Batch of the pairs with these indices, int64 (B,)."""
        pairs = super().gather(indices)
        word = pairs["word"]
        return {"image": self.vectors[word], "features": self.features[pairs["picture"]], "word": word}


class TagData(ImageData):
    """Pairs of a picture's features and one of its tags, as many a picture as it has tags.

    Batches have `image`, the word's vector, float32 (B, n); `features`, float32 (B, K); `word`, its number, (B,).

    Args:
        **kwargs: Of `ImageData` but those for pictures and labels.
    """

    grey_levels = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(flip=False, binarize="none", dequantize=False, **kwargs)

    @property
    @abstractmethod
    def words(self) -> list[str]:
        """The vocabulary, V."""

    @property
    @abstractmethod
    def word_vectors(self) -> Tensor:
        """Vectors of the words, float32 (V, n)."""

    @abstractmethod
    def tagged(self, split: str) -> tuple[Tensor, Tensor]:
        """Features of a split's pictures, float32 (N, K), and pairs of a picture and one of its words, int64 (M, 2)."""

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """Shape of the pictures that `features_of` takes.

        Raises:
            ValueError: Where features were computed elsewhere.
        """
        raise self._without_pictures()

    def features_of(self, images: Tensor) -> Tensor:
        """Features of pictures, uint8 (B, *picture_shape) to (B, K).

        Raises:
            ValueError: Where features were computed elsewhere.
        """
        raise self._without_pictures()

    def _without_pictures(self) -> ValueError:
        return ValueError(f"input: got pictures, but features of {type(self).__name__} come from its file alone")

    def load(self, split: str) -> TagSet:
        """Pairs of one split.

        Args:
            split: "train", "val" or "test".

        Returns:
            M pairs: `image` float32 (n,), `features` float32 (K,), `word` int64.
        """
        return TagSet(*self.tagged(split), self.word_vectors, f"{type(self).__name__} {split}")


class TaggedShapes(TagData):
    """Squares, discs and crosses in four colours on black, 16x16, rendered; each has three synonyms for tags.

    12 kinds and 36 words, whose vectors have random directions and one length, so that nothing but the pictures says
    which words belong together. Features are means and maxima over a picture of two layers of random convolutions, the
    same on every machine, which stand for the network that is trained on other pictures; they are standardised by the
    training pictures. `val` and `test` have a quarter as many pictures as `train`.

    Args:
        num_pictures: Training pictures, all kinds alike.
        word_dim: Length of a word's vector.
        **kwargs: Of `TagData`; `seed` also decides sizes and places.

    Raises:
        ValueError: For fewer than 48 pictures, or vectors of fewer than 2 numbers.
    """

    NUM_FEATURES = 128

    def __init__(self, num_pictures: int = 1200, word_dim: int = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_pictures < 48:
            raise ValueError(f"num_pictures: got {num_pictures}, allowed is 48 or more")
        if word_dim < 2:
            raise ValueError(f"word_dim: got {word_dim}, allowed is 2 or more")
        self.num_pictures, self.image_shape = num_pictures, (word_dim,)
        self.save_hyperparameters()

    @property
    def words(self) -> list[str]:
        """A colour and a shape each: three for each kind, one after the other."""
        pairs = [(colours, shapes) for colours in COLOURS for shapes in SHAPES]
        return [f"{colour} {shape}" for pair in pairs for colour, shape in zip(*pair, strict=True)]

    @property
    def word_vectors(self) -> Tensor:
        """Random directions; numbers are as large as those of features are, 1 in the mean square."""
        generator = torch.Generator().manual_seed(stable_seed("words", *self.image_shape))
        directions = F.normalize(torch.randn(len(self.words), *self.image_shape, generator=generator), dim=1)
        return directions * self.image_shape[0] ** 0.5

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """16x16 in colour."""
        return (3, SIDE, SIDE)

    def pictures(self, split: str) -> tuple[Tensor, Tensor]:
        """Pictures of a split, uint8 (N, 3, 16, 16), and their kinds, three times the colour plus the shape, (N,)."""
        number = self.num_pictures if split == "train" else self.num_pictures // 4
        generator = torch.Generator().manual_seed(stable_seed("TaggedShapes", split, self.seed))
        kinds = torch.arange(number) % (len(COLOURS) * len(SHAPES))
        half = torch.randint(3, 6, (number,), generator=generator)
        room = SIDE - 2 * half
        places = (torch.rand(number, 2, generator=generator) * room[:, None]).floor().long() + half[:, None]
        return render_shapes(kinds, half, places), kinds

    def tagged(self, split: str) -> tuple[Tensor, Tensor]:
        """Features of the pictures, and the three synonyms of each."""
        images, kinds = self.pictures(split)
        words = 3 * kinds[:, None] + torch.arange(3)
        pictures = torch.arange(len(kinds))[:, None].expand_as(words)
        return self.features_of(images), torch.stack([pictures, words], 2).flatten(0, 1)

    def features_of(self, images: Tensor) -> Tensor:
        """Standardised features, uint8 (B, 3, 16, 16) to (B, 128)."""
        mean, deviation = self._scale
        return (random_features(images) - mean) / deviation

    @functools.cached_property
    def _scale(self) -> tuple[Tensor, Tensor]:
        features = random_features(self.pictures("train")[0])
        return features.mean(0), features.std(0).clamp(min=1e-6)


def render_shapes(kinds: Tensor, half: Tensor, places: Tensor) -> Tensor:
    """Squares, discs and crosses.

    Args:
        kinds: Three times the colour plus the shape, int64 (B,).
        half: Half their sides in pixels, (B,).
        places: Row and column of the centre, (B, 2).

    Returns:
        uint8 (B, 3, 16, 16).
    """
    pixels = torch.arange(SIDE)
    down, right = ((pixels - place[:, None]).abs() for place in places.unbind(1))
    down, right = down[:, :, None], right[:, None, :]
    half, shape = half[:, None, None], (kinds % len(SHAPES))[:, None, None]
    square = torch.maximum(down, right) <= half
    disc = down.square() + right.square() <= half.square()
    cross = square & (torch.minimum(down, right) <= ARM)
    inside = torch.where(shape == 0, square, torch.where(shape == 1, disc, cross))
    colours = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)[kinds // len(SHAPES)]
    return inside[:, None] * colours[:, :, None, None]


@functools.cache
def _filters() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(stable_seed("random features"))
    first, second = torch.randn(32, 3, 5, 5, generator=generator), torch.randn(64, 32, 3, 3, generator=generator)
    return first / 75**0.5, second / 288**0.5


def random_features(images: Tensor) -> Tensor:
    """Means and maxima over a picture of two layers of random convolutions, uint8 (B, 3, H, W) to (B, 128)."""
    first, second = _filters()
    maps = F.relu(F.conv2d(F.relu(F.conv2d(to_float(images) + 1, first)), second))
    return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)


class TaggedFeatures(TagData):
    """Features and tags from a file: those of any network, words of any vocabulary.

    Args:
        path: A .npz file: `features`, float (N, K); `tags`, (M, 2), the number of a picture and that of one of its
            words; `words`, strings (V,); `vectors`, float (V, n). Nothing pickled in it is read.
        val_fraction: Share of the pictures, the last ones, that are kept from training: half are `val`, half `test`.
        word_dim: n.
        **kwargs: Of `TagData`.

    Raises:
        ValueError: If the share is out of range, or the file holds something else.
    """

    def __init__(self, path: str, val_fraction: float = 0.1, word_dim: int = 200, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < val_fraction < 1:
            raise ValueError(f"val_fraction: got {val_fraction}, allowed is more than 0 and less than 1")
        self.path, self.val_fraction, self.image_shape = os.fspath(path), val_fraction, (word_dim,)
        self.save_hyperparameters()

    @functools.cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in ("features", "tags", "words", "vectors")}
        except (OSError, KeyError, ValueError, EOFError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"path: got {self.path!r}, allowed is a .npz file of features and tags ({reason})"
            ) from error
        pictures, tags, words, vectors = arrays.values()
        sound = pictures.ndim == 2 and tags.ndim == 2 and tags.shape[1] == 2 and words.ndim == 1
        sound = sound and vectors.shape == (len(words), *self.image_shape)
        if not sound or tags.min() < 0 or (tags.max(0) >= (len(pictures), len(words))).any():
            shapes = {name: array.shape for name, array in arrays.items()}
            raise ValueError(
                f"path: {self.path!r} has {shapes}, allowed are features (N, K), tags (M, 2) below N and V, words (V,) "
                f"and vectors (V, {self.image_shape[0]})"
            )
        return arrays

    @property
    def words(self) -> list[str]:
        """As in the file."""
        return self._arrays["words"].tolist()

    @property
    def word_vectors(self) -> Tensor:
        """As in the file."""
        return torch.from_numpy(self._arrays["vectors"]).float()

    def tagged(self, split: str) -> tuple[Tensor, Tensor]:
        """Features of the split's pictures, and their words; pictures without any are left in."""
        features, pairs = (torch.from_numpy(self._arrays[name]) for name in ("features", "tags"))
        kept = max(2, round(self.val_fraction * len(features)))
        first, middle, end = len(features) - kept, len(features) - kept // 2, len(features)
        start, stop = {"train": (0, first), "val": (first, middle), "test": (middle, end)}[split]
        chosen = pairs[(pairs[:, 0] >= start) & (pairs[:, 0] < stop)].long()
        return features[start:stop].float(), chosen - torch.tensor([start, 0])
