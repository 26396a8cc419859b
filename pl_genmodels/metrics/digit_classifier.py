"""A small classifier of handwritten digits: features for judging digits without any download."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.metrics.cache import cache_folder, load_cached, save_cached
from pl_genmodels.metrics.features import FeatureExtractor
from pl_genmodels.metrics.processes import first_process_first

SIDE = 16
NUM_CLASSES = 10


class DigitClassifier(FeatureExtractor):
    """A convolutional network trained in seconds on scikit-learn's 8 x 8 digits, then kept in a file.

    Takes images of any size from 8 x 8 on, grey or colour; they are made grey and brought to 16 x 16. Its distances are
    comparable with each other, not with those of Inception. Training is repeatable: fixed seed, one thread.

    Args:
        cache_dir: Folder of the trained weights; by default the user's cache.
    """

    NUM_FEATURES = 64
    FILE = "digits-64-v1.pt"  # raise the version whenever the network or its training changes

    def __init__(self, cache_dir: str | None = None) -> None:
        super().__init__(self.NUM_FEATURES)
        self.cache_dir = cache_dir

    @property
    def name(self) -> str:
        """`digits-64`."""
        return "digits-64"

    def build(self) -> nn.Module:
        """Read the trained weights, or train them if the file is missing or damaged."""
        network = make_network()
        path = cache_folder(self.cache_dir) / self.FILE
        weights = load_cached(path)
        try:
            network.load_state_dict(weights)
        except (TypeError, RuntimeError):  # nothing there, or something else
            images, labels, _, _ = digits()
            network = train(images, labels)
            save_cached(network.state_dict(), path)
        return network.to(memory_format=torch.channels_last)  # twice as fast on a CPU

    def extract(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Outputs of the last hidden layer, (B, 64), and logits, (B, 10)."""
        features = network[:-1](preprocess(images))  # type: ignore[index]
        return features, network[-1](features)  # type: ignore[index]


def make_network(colour: bool = False) -> nn.Sequential:
    """The untrained network, for (B, 1, 16, 16) in [-1, 1], or with twice the filters for (B, 3, 16, 16)."""
    inputs, width = (3, 32) if colour else (1, 16)
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * width * (SIDE // 4) ** 2, DigitClassifier.NUM_FEATURES),
        nn.LeakyReLU(0.2),
        nn.Linear(DigitClassifier.NUM_FEATURES, NUM_CLASSES),
    ).float()


def preprocess(images: Tensor, colour: bool = False) -> Tensor:
    """Bring uint8 images, (B, C, H, W), to grey float32 in [-1, 1], (B, 1, 16, 16), or to RGB, (B, 3, 16, 16).

    Raises:
        ValueError: If they are smaller than 8 x 8.
    """
    if min(images.shape[-2:]) < 8:
        raise ValueError(f"images: got {images.shape[-2]} x {images.shape[-1]} pixels, allowed is 8 x 8 or more")
    values = images.float() / 127.5 - 1
    values = values.expand(-1, 3, -1, -1) if colour else values.mean(1, keepdim=True)
    return F.interpolate(values, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The 1,797 digits: uint8 images (N, 1, 8, 8) and labels (N,) to train on, then the held-out fifth likewise."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.from_numpy(data.images).float().mul(255 / 16).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(data.target).long()
    held_out = torch.arange(len(labels)) % 5 == 0
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


def train(
    images: Tensor, labels: Tensor, epochs: int = 15, batch_size: int = 64, seed: int = 0, colour: bool = False
) -> nn.Sequential:
    """Train the network with Adam and one cycle of the learning rate; repeatable on one machine.

    Args:
        images: uint8, (N, C, H, W).
        labels: (N,).
        epochs: Passes over the images.
        batch_size: Images a step.
        seed: Of the weights and of the order; the caller's random numbers stay untouched.
        colour: Whether the network sees colours.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order would give other weights
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.default_generator.manual_seed(seed)
            network, inputs = make_network(colour), preprocess(images, colour)
            optimizer = torch.optim.Adam(network.parameters())
            steps = epochs * math.ceil(len(labels) / batch_size)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
            for _ in range(epochs):
                for index in torch.randperm(len(labels)).split(batch_size):
                    optimizer.zero_grad()
                    F.cross_entropy(network(inputs[index]), labels[index]).backward()
                    optimizer.step()
                    schedule.step()
    finally:
        torch.set_num_threads(threads)
    return network


class DigitReader:
    """Reads digits in colours of any kind; trained on labelled pictures of the domain, then kept in a file.

    A digit may be brighter or darker than what is behind it, or of another hue alone, which the grey of
    `DigitClassifier` does not show.

    Args:
        images: uint8, (N, C, H, W), to train on if there is no file.
        labels: (N,).
        name: Of the pictures, for the file; None keeps nothing.
        cache_dir: Folder of the file; by default the user's cache.
    """

    EPOCHS = 8

    def __init__(self, images: Tensor, labels: Tensor, name: str | None = None, cache_dir: str | None = None) -> None:
        with torch.inference_mode(False), first_process_first():
            path = None if name is None else cache_folder(cache_dir) / f"reader-v1-{name}.pt"
            weights: Any = None if path is None else load_cached(path)
            network = make_network(colour=True)
            try:
                network.load_state_dict(weights)
            except (TypeError, RuntimeError):  # nothing there, or something else
                network = train(images, labels, self.EPOCHS, colour=True)
                if path is not None:
                    save_cached(network.state_dict(), path)
        self.network = network.requires_grad_(False).eval()

    def __call__(self, images: Tensor) -> Tensor:
        """Digits (B,) of uint8 images (B, C, H, W)."""
        return self.network(preprocess(images, colour=True)).argmax(1)
