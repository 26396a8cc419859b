"""A small classifier of handwritten digits: features for judging digits without any download."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.metrics.cache import cache_folder, load_cached, save_cached
from pl_genmodels.metrics.features import FeatureExtractor

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


def make_network() -> nn.Sequential:
    """The untrained network, for (B, 1, 16, 16) in [-1, 1]."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (SIDE // 4) ** 2, DigitClassifier.NUM_FEATURES),
        nn.LeakyReLU(0.2),
        nn.Linear(DigitClassifier.NUM_FEATURES, NUM_CLASSES),
    ).float()


def preprocess(images: Tensor) -> Tensor:
    """Bring uint8 images, (B, C, H, W), to grey float32 in [-1, 1], (B, 1, 16, 16).

    Raises:
        ValueError: If they are smaller than 8 x 8.
    """
    if min(images.shape[-2:]) < 8:
        raise ValueError(f"images: got {images.shape[-2]} x {images.shape[-1]} pixels, allowed is 8 x 8 or more")
    grey = images.float().mean(1, keepdim=True) / 127.5 - 1
    return F.interpolate(grey, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The 1,797 digits: uint8 images (N, 1, 8, 8) and labels (N,) to train on, then the held-out fifth likewise."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.from_numpy(data.images).float().mul(255 / 16).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(data.target).long()
    held_out = torch.arange(len(labels)) % 5 == 0
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


def train(images: Tensor, labels: Tensor, epochs: int = 15, batch_size: int = 64, seed: int = 0) -> nn.Sequential:
    """Train the network with Adam and one cycle of the learning rate; repeatable on one machine.

    Args:
        images: uint8, (N, 1, H, W).
        labels: (N,).
        epochs: Passes over the images.
        batch_size: Images a step.
        seed: Of the weights and of the order; the caller's random numbers stay untouched.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order would give other weights
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.default_generator.manual_seed(seed)
            network, inputs = make_network(), preprocess(images)
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
